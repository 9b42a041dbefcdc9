"""The sums of the day on disk, so that a restart does not reset a day's ceilings.

One small JSON file in the data folder, written in a thread and moved into its place. What a crash
can lose is what was spent in the last second.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from palaver.spend.sums import MAX_SUMS, Kind, Sums

__all__ = ["FILE", "Book", "read_book"]

log = logging.getLogger("palaver.spend")

FILE = "spend.json"
"""Name of the file in the data folder."""
WRITE_S = 1.0
"""Shortest time between two writes, in seconds."""
MAX_FILE_BYTES = 20_000_000
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
        data = json.loads(file.read_text("utf-8"))
        day = date.fromisoformat(data["day"])
        found: dict[Kind, dict[str, dict[str, float]]] = {}
        for kind in get_args(Kind):
            for name, entry in data["sums"].get(kind, {}).items():
                spent, unpushed = (max(0.0, float(entry[key])) for key in ("spent", "unpushed"))
                found.setdefault(kind, {})[name] = {"spent": spent, "unpushed": unpushed}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
        log.error("%s cannot be read (%s); what was spent today counts from 0 again", file, err)
        return None
    return day, found


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
        self._dirty = False
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

    def changed(self) -> None:
        """Write soon."""
        self._dirty = True
        self._wake.set()

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._wake.wait()
            self._wake.clear()
            if self._dirty:
                await self._write()
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_S):
                    await self._stop.wait()
        if self._dirty:
            await self._write()

    async def _write(self) -> None:
        data = self._data()
        self._dirty = False
        try:
            await asyncio.to_thread(_replace, self._folder / FILE, data)
        except OSError as err:
            self._dirty = True
            if not self._complained:
                self._complained = True
                log.error(
                    "%s cannot be written (%s); a restart would forget what was spent today",
                    self._folder / FILE,
                    err.strerror,
                )

    def _data(self) -> dict[str, Any]:
        sums: dict[str, dict[str, dict[str, float]]] = {}
        for one in self._sums.of_today():
            if one.spent:
                entry = {"spent": round(one.spent, 9), "unpushed": round(one.unpushed, 9)}
                sums.setdefault(one.kind, {})[one.name] = entry
        return {
            "day": (_EPOCH + timedelta(days=self._sums.day)).isoformat(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "sums": sums,
        }


def _replace(file: Path, data: dict[str, Any]) -> None:
    beside = file.with_suffix(".new")
    with beside.open("w", encoding="utf-8") as out:
        json.dump(data, out)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)
