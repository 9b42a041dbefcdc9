"""All signals, by what they measure and of whom, and the file that outlives a restart."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palaver.quality.signal import Signal

__all__ = ["SIGNALS", "Alert", "Key", "SignalState", "Signals"]

log = logging.getLogger("palaver.quality")

SIGNALS = ("repetition", "skip", "refusal", "error", "judge")
VERSION = 1
MAX_FILE_BYTES = 1_000_000

Key = tuple[str, str, str]
"""Signal, scope (`tier` or `backend`) and name."""


@dataclass(frozen=True, slots=True)
class SignalState:
    """One signal as it is now.

    Attributes:
        signal: `repetition`, `skip`, `refusal` or `error`, a share of turns from 0 to 1; or
            `judge`, the mean score from 1 to 5.
        scope: `tier` or `backend`.
        name: Name of the tier or backend.
        recent: Its average over some hundred turns.
        baseline: Its long-time average; None before there are enough samples.
        samples: How many there were.
        alert: Whether it is worse than its baseline.
    """

    signal: str
    scope: str
    name: str
    recent: float
    baseline: float | None
    samples: int
    alert: bool


@dataclass(frozen=True, slots=True)
class Alert:
    """A signal that became worse.

    Attributes:
        signal: Which one; see `SignalState`.
        scope: `tier` or `backend`.
        name: Name of the tier or backend.
        now: What it is of late.
        baseline: What it was.
        since: When it began, in seconds since 1970.
    """

    signal: str
    scope: str
    name: str
    now: float
    baseline: float
    since: float


class Signals:
    """The signals of a gateway.

    Args:
        worse_by: Share of the baseline by which one must be worse for an alert.
        least_samples: Samples before one has a baseline.
        file: Where baselines are kept, or None.
    """

    def __init__(self, worse_by: float, least_samples: int, file: Path | None = None) -> None:
        self._worse_by, self._least, self._file = worse_by, least_samples, file
        self._signals: dict[Key, Signal] = {}
        self.alerts: dict[Key, Alert] = {}
        self.raised = 0
        self.changed = False

    def add(self, signal: str, scope: str, name: str, value: float) -> None:
        """Take one number of a signal, and tell the log when its alert begins or ends."""
        key = (signal, scope, name)
        one = self._signals.get(key)
        if one is None:
            one = self._signals[key] = self._make(signal)
        self.changed = True
        if not one.add(value):
            return
        now, baseline = one.difference
        if one.alert:
            self.raised += 1
            self.alerts[key] = Alert(*key, now, baseline, time.time())
            log.warning(
                "quality: %s of the %s %s is worse than it was: %s, usually %s",
                signal,
                scope,
                name,
                _words(signal, now),
                _words(signal, baseline),
            )
        else:
            self.alerts.pop(key, None)
            log.info("quality: %s of the %s %s is as usual again", signal, scope, name)

    def states(self) -> Iterator[SignalState]:
        """Yield every signal that has a sample."""
        for (signal, scope, name), one in self._signals.items():
            yield SignalState(
                signal,
                scope,
                name,
                one.recent[0],
                one.baseline if one.known else None,
                one.samples,
                one.alert,
            )

    def load(self) -> None:
        """Take over what an earlier run knew; blocks. A file that cannot be read is left out."""
        if self._file is None or not self._file.exists():
            return
        try:
            if self._file.stat().st_size > MAX_FILE_BYTES:
                raise ValueError("it is too large")
            data = json.loads(self._file.read_text(encoding="utf-8"))
            if not isinstance(data, dict) or data.get("version") != VERSION:
                raise ValueError("it is of another version")
            for entry in data["signals"]:
                self._restore(entry)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            log.warning(
                "%s cannot be used (%s); quality baselines begin anew", self._file.name, err
            )

    def text(self) -> str:
        """Return what is to be written; afterwards nothing is marked as changed."""
        self.changed = False
        signals = [
            {"key": list(key), "since": alert.since if (alert := self.alerts.get(key)) else None}
            | one.state()
            for key, one in self._signals.items()
        ]
        return json.dumps({"version": VERSION, "signals": signals}, separators=(",", ":"))

    def write(self, text: str) -> None:
        """Write the file, whole or not at all; blocks. What goes wrong is logged."""
        if self._file is None:
            return
        scratch = self._file.with_name(f"{self._file.name}.{os.getpid()}.new")
        try:
            scratch.write_text(text, encoding="utf-8")
            scratch.replace(self._file)
        except OSError as err:
            log.warning("quality baselines cannot be kept: %s; make the folder writable", err)

    def _restore(self, entry: dict[str, Any]) -> None:
        signal, scope, name = map(str, entry["key"])
        if signal not in SIGNALS or scope not in ("tier", "backend"):
            return
        one = self._make(signal)
        one.restore(entry)
        key = (signal, scope, name)
        self._signals[key] = one
        if one.alert:
            now, baseline = one.difference
            since = entry.get("since")
            at = float(since) if isinstance(since, int | float) else time.time()
            self.alerts[key] = Alert(*key, now, baseline, at)

    def _make(self, signal: str) -> Signal:
        return Signal(self._worse_by, self._least, higher_is_better=signal == "judge")


def _words(signal: str, value: float) -> str:
    return f"a score of {value:.2f}" if signal == "judge" else f"{value:.1%} of turns"
