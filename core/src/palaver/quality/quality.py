"""What is looked at when a turn is over, and when a player says something about it.

All of it runs after the turn, in the background: no player waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from palaver.quality.judge import Judge
from palaver.quality.refusals import is_refusal, refuses
from palaver.quality.repetition import Repetition
from palaver.quality.sample import Sample
from palaver.quality.signals import Alert, Signals, SignalState

if TYPE_CHECKING:
    from palaver.chain.servers import Entry
    from palaver.config.quality import QualitySettings
    from palaver.session_info import SessionInfo
    from palaver.spend.governor import Governor
    from palaver.turn.model import Turn, TurnResult

__all__ = ["Alert", "Quality", "SignalState"]

log = logging.getLogger("palaver.quality")

FILE = "quality.json"
SAVE_S = 60.0
"""Time between two savings of the baselines, in seconds."""
SKIP_S = 60.0
"""Time in which a player may skip a reply; afterwards it counts as heard, in seconds."""
MAX_OPEN = 10_000
"""Replies that may still be skipped."""
OTHER = "other"
LAST_WORDS = "last_words"
_BAD = frozenset({"failed", "died", "late"})


class Quality:
    """The quality signals of a gateway.

    Args:
        settings: `[quality]`.
        tiers: The tiers' names, and whatever else; only those are signals of their own.
        entries: Configured backends by name.
        data_dir: Where baselines are kept over a restart, or None.
        governor: What the judge may cost, or None.
    """

    def __init__(
        self,
        settings: QualitySettings,
        tiers: Mapping[str, object],
        entries: Mapping[str, Entry],
        data_dir: Path | None = None,
        governor: Governor | None = None,
    ) -> None:
        self._watch = settings.watch
        self._tiers = frozenset(tiers)
        self._backends = frozenset((*entries, LAST_WORDS, "cache"))
        file = data_dir / FILE if data_dir is not None else None
        self._signals = Signals(settings.worse_by, settings.least_samples, file)
        self._repetition = Repetition()
        self._sample = Sample(settings.replies_per_s)
        # Session and turn, with the names they count for and when they count as heard.
        self._open: OrderedDict[tuple[str, str], tuple[str, str, float]] = OrderedDict()
        self._saver: asyncio.Task[None] | None = None
        self.judge = Judge(settings, entries, self._judged, governor) if settings.watch else None

    @property
    def alerts(self) -> list[Alert]:
        """The signals that are worse than their baselines now, the oldest first."""
        return sorted(self._signals.alerts.values(), key=lambda alert: alert.since)

    @property
    def raised(self) -> int:
        """Alerts raised since the start."""
        return self._signals.raised

    def states(self) -> Iterator[SignalState]:
        """Yield every signal as it is now."""
        return self._signals.states()

    async def start(self) -> None:
        """Read the baselines, and begin to save them from time to time."""
        if not self._watch:
            return
        await asyncio.to_thread(self._signals.load)
        self._saver = asyncio.create_task(self._save_often(), name="save quality baselines")
        if self.judge is not None:
            self.judge.start()

    async def close(self) -> None:
        """Save the baselines and stop; safe to call twice."""
        saver, self._saver = self._saver, None
        if self.judge is not None:
            await self.judge.close()
        if saver is None:
            return
        saver.cancel()
        await asyncio.wait({saver}, timeout=5)
        await self._save()

    def turn_finished(self, turn: Turn, result: TurnResult) -> None:
        """Take the signals of a turn that is over."""
        if not self._watch:
            return
        tier = turn.tier_name if turn.tier_name in self._tiers else OTHER
        served = self._backend(result.served_by.backend)
        self._errors(tier, turn, result)
        if result.status == "cancelled" or not result.text:
            # Of what was stopped half-way nothing can be said but what failed.
            return
        pair = (turn.game, turn.npc.id, turn.counterpart_key)
        if self._sample.takes(pair):
            self._read(tier, served, pair, result)
        self._settle(monotonic())
        if turn.session is not None:
            self._open[turn.session, turn.id] = (tier, served, monotonic() + SKIP_S)
        if self.judge is not None:
            self.judge.offer(turn, result)

    def _read(
        self, tier: str, served: str, pair: tuple[str, str, str | None], result: TurnResult
    ) -> None:
        self._refusals(tier, served, result)
        if pair[2] is not None:
            repeats = self._repetition.hear(pair, result.text)
            if repeats is not None:
                self._both("repetition", tier, served, float(repeats))

    def feedback(self, turn: str, session: SessionInfo, kind: str) -> None:
        """Take what a player thinks of a reply; only the first word on each counts."""
        if kind != "skip":
            return
        found = self._open.pop((session.id, turn), None)
        if found is not None:
            self._both("skip", found[0], found[1], 1.0)

    def _errors(self, tier: str, turn: Turn, result: TurnResult) -> None:
        bad = False
        for link in result.trail:
            if link.outcome in _BAD:
                bad = True
                self._add("error", "backend", self._backend(link.backend), 1.0)
            elif link.outcome in ("served", "objected", "lost"):
                self._add("error", "backend", self._backend(link.backend), 0.0)
        # A turn that a plugin refused ends in last words on purpose.
        last_words = result.served_by.backend == LAST_WORDS and turn.refused is None
        if result.status != "cancelled":
            self._add("error", "tier", tier, float(bad or last_words))

    def _refusals(self, tier: str, served: str, result: TurnResult) -> None:
        bad = is_refusal(result.text)
        self._add("refusal", "backend", served, float(bad))
        for link in result.trail:
            if link.outcome == "objected":
                refused = refuses(link.reason)
                bad = bad or refused
                self._add("refusal", "backend", self._backend(link.backend), float(refused))
        self._add("refusal", "tier", tier, float(bad))

    def _judged(self, tier: str, backend: str, score: float) -> None:
        self._both("judge", tier if tier in self._tiers else OTHER, self._backend(backend), score)

    def _settle(self, now: float) -> None:
        """Count replies as heard that nobody skipped in time, or that are too many."""
        while self._open:
            tier, served, until = next(iter(self._open.values()))
            if until > now and len(self._open) < MAX_OPEN:
                return
            self._open.popitem(last=False)
            self._both("skip", tier, served, 0.0)

    def _backend(self, name: str) -> str:
        return name if name in self._backends else OTHER

    def _both(self, signal: str, tier: str, backend: str, value: float) -> None:
        self._add(signal, "tier", tier, value)
        self._add(signal, "backend", backend, value)

    def _add(self, signal: str, scope: str, name: str, value: float) -> None:
        self._signals.add(signal, scope, name, value)

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            self._settle(monotonic())
            if self._signals.changed:
                await self._save()

    async def _save(self) -> None:
        await asyncio.to_thread(self._signals.write, self._signals.text())
