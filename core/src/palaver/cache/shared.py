"""The way to the shared store: within a short time, and not at all while it is away."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from palaver.errors import StoreError

if TYPE_CHECKING:
    from palaver.store import Store

__all__ = ["SharedShelves"]

log = logging.getLogger("palaver.cache")

LOOKUP_S = 0.02
"""Time for one lookup, in seconds: beyond, asking a model may be quicker."""
WRITE_S = 1.0
FAILURES = 3
"""So many lookups in a row that failed leave the store alone for a while."""
PAUSE_S = 1.0
MAX_WRITES = 256
"""Situations that wait to be written; beyond, the oldest is left out."""
PREFIX = "cache:"

Change = Callable[[bytes | None], tuple[bytes, float] | None]
"""Takes what the store holds, returns what it shall hold and for how many seconds, or None."""


class SharedShelves:
    """Reads from the store and writes to it in a task of its own.

    Args:
        store: The store; nothing is done with one that nobody shares.
    """

    def __init__(self, store: Store) -> None:
        self.used = store.shared
        self._store = store
        self._failures = 0
        self._closed_until = 0.0
        self._writes: OrderedDict[str, Change | None] = OrderedDict()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        if self.used and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="write the cache")

    async def close(self) -> None:
        """Stop; what was not written yet is only a cache. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=WRITE_S)

    async def get(self, key: str) -> bytes | None:
        """Return what the store holds, or None where it holds nothing or does not answer."""
        now = asyncio.get_running_loop().time()
        if now < self._closed_until:
            return None
        if self._failures >= FAILURES:
            # Only this lookup tries it out; the others wait another while for what it finds.
            self._closed_until = now + PAUSE_S
        try:
            async with asyncio.timeout(LOOKUP_S):
                found = await self._store.get(PREFIX + key)
        except (StoreError, TimeoutError) as err:
            self._failed(err)
            return None
        except Exception:
            log.exception("the store has a bug; the cache goes on without it")
            self._failed(None)
            return None
        self._failures = 0
        self._closed_until = 0.0
        return found

    def change(self, key: str, change: Change) -> None:
        """Change what the store holds, soon."""
        self._put(key, change)

    def delete(self, keys: Sequence[str]) -> None:
        """Let the store forget these, soon."""
        for key in keys:
            self._put(key, None)

    async def flush(self) -> None:
        """Wait until everything is written, or left out."""
        await self._idle.wait()

    def _put(self, key: str, change: Change | None) -> None:
        if not self.used:
            return
        self._writes.pop(key, None)
        self._writes[key] = change
        if len(self._writes) > MAX_WRITES:
            self._writes.popitem(last=False)
        self._idle.clear()
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._writes:
                self._wake.clear()
                self._idle.set()
                await self._wake.wait()
            key, change = self._writes.popitem(last=False)
            if loop.time() < self._closed_until:
                continue  # A cache loses nothing that cannot be made again.
            try:
                async with asyncio.timeout(WRITE_S):
                    await self._write(PREFIX + key, change)
            except (StoreError, TimeoutError) as err:
                self._failed(err)
            except Exception:
                log.exception("a reply could not be written to the store")
                self._failed(None)

    async def _write(self, key: str, change: Change | None) -> None:
        if change is None:
            await self._store.delete([key])
            return
        value = change(await self._store.get(key))
        if value is not None:
            await self._store.put(key, *value)

    def _failed(self, err: Exception | None) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._closed_until = asyncio.get_running_loop().time() + PAUSE_S
            # Not louder: the store tells once when it goes and once when it is back.
            log.debug("the store is left alone for %.0f s: %s", PAUSE_S, err or "a bug")
