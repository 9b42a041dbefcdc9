"""The sums of the day on disk, so that a restart does not reset a day's ceilings.

One file in the data folder: a first line with the day, then a line for each sum that has changed,
of which the last one counts. So a second's writing takes as long as what happened in it, however
many players the day has seen; from time to time the file is written anew, in slices, and moved into
its place. What a crash can lose is what was spent in the last second.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import get_args

from palaver.spend.sums import MAX_SUMS, Kind, Sum, Sums

__all__ = ["FILE", "Book", "read_book"]

log = logging.getLogger("palaver.spend")

FILE = "spend.json"
"""Name of the file in the data folder."""
WRITE_S = 1.0
"""Shortest time between two writes, in seconds."""
SLICE = 250
"""Sums that are turned into text at a time; nobody else's turn is held up for longer."""
MAX_MORE = 5_000
"""Lines beyond as many again as there were sums, after which the file is written anew."""
MAX_FILE_BYTES = 64_000_000
_EPOCH = date(1970, 1, 1)


def read_book(folder: Path) -> tuple[date, dict[Kind, dict[str, dict[str, float]]]] | None:
    """Read what was spent on the day that was last written down.

    Args:
        folder: The data folder.

    Returns:
        The day (UTC), and by kind and name `spent` and `unpushed` in US dollars; None where
        nothing was written or it cannot be read.
    """
    file = folder / FILE
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES:,} bytes")
        head, *lines = file.read_text("utf-8").split("\n")
        data = json.loads(head)
        day = date.fromisoformat(data["day"])
        found: dict[Kind, dict[str, dict[str, float]]] = {kind: {} for kind in get_args(Kind)}
        for kind, names in found.items():
            for name, entry in data["sums"].get(kind, {}).items():
                names[name] = _entry(entry["spent"], entry["unpushed"])
        # The last line ends with a line break, unless the process died while it wrote it.
        for line in lines[:-1]:
            kind, name, spent, unpushed = json.loads(line)
            names = found[kind]
            names.pop(name, None)  # the most recent come last
            names[name] = _entry(spent, unpushed)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
        log.error("%s cannot be read (%s); what was spent today counts from 0 again", file, err)
        return None
    return day, {kind: names for kind, names in found.items() if names}


def _entry(spent: float, unpushed: float) -> dict[str, float]:
    return {"spent": max(0.0, float(spent)), "unpushed": max(0.0, float(unpushed))}


class Book:
    """Writes sums down and reads them again.

    Args:
        folder: The data folder.
        sums: The sums.
    """

    def __init__(self, folder: Path, sums: Sums) -> None:
        self._folder = folder
        self._sums = sums
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._changed: dict[Sum, None] = {}
        self._day: int | None = None  # of the file, once it was written anew
        self._lines = self._most_lines = 0
        self._complained = False

    async def start(self) -> None:
        """Read what was spent today, and begin to write."""
        known = await asyncio.to_thread(read_book, self._folder)
        if known is not None and known[0] == _EPOCH + timedelta(days=self._sums.day):
            for kind, names in known[1].items():
                for name, entry in list(names.items())[-MAX_SUMS:]:
                    one = self._sums.get(kind, name)
                    one.spent += entry["spent"]
                    one.unpushed += entry["unpushed"]
        self._task = asyncio.get_running_loop().create_task(self._run(), name="write the spend")

    async def close(self) -> None:
        """Write what is not written yet; safe to call twice."""
        task, self._task = self._task, None
        if task is None:
            return
        # Not cancelled: two threads must never write the file at once.
        self._stop.set()
        self._wake.set()
        await task

    def changed(self, sums: Iterable[Sum]) -> None:
        """Write these soon."""
        self._changed.update(dict.fromkeys(sums))
        self._wake.set()

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self._write()
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_S):
                    await self._stop.wait()
        await self._write()

    async def _write(self) -> None:
        today = self._sums.day
        changed = [one for one in self._changed if one.day == today]
        self._changed.clear()
        if not changed:
            return
        file = self._folder / FILE
        try:
            if self._day == today and self._lines + len(changed) <= self._most_lines:
                for text in _slices(changed):
                    await asyncio.to_thread(_append, file, text)
                self._lines += len(changed)
            else:
                await self._write_anew(file, today)
        except OSError as err:
            self._changed = dict.fromkeys(changed) | self._changed
            self._day = None  # half a line may be in it
            if not self._complained:
                self._complained = True
                log.error(
                    "%s cannot be written (%s); a restart would forget what was spent today",
                    file,
                    err.strerror,
                )

    async def _write_anew(self, file: Path, today: int) -> None:
        sums = [one for one in self._sums.of_today() if one.spent]
        head = {
            "day": (_EPOCH + timedelta(days=today)).isoformat(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "sums": {},
        }
        beside = file.with_suffix(".new")
        await asyncio.to_thread(beside.write_text, json.dumps(head) + "\n", "utf-8")
        for text in _slices(sums):
            await asyncio.to_thread(_append, beside, text)
        await asyncio.to_thread(beside.replace, file)
        self._day, self._lines = today, len(sums)
        self._most_lines = 2 * len(sums) + MAX_MORE


def _slices(sums: list[Sum]) -> Iterator[str]:
    """Yield lines for sums, some at a time."""
    for start in range(0, len(sums), SLICE):
        yield "".join(
            f"{json.dumps([one.kind, one.name, round(one.spent, 9), round(one.unpushed, 9)])}\n"
            for one in sums[start : start + SLICE]
        )


def _append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
