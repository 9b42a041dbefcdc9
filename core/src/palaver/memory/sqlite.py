"""The default memory: a SQLite file, written by a thread of its own, and a cache in front of it.

The event loop never waits for the disk. `remember` puts the exchange into the cache and a queue;
`recall` is answered from the cache, and only the first one of a pair asks the thread, whose queue
keeps the order, so that it sees everything that was remembered before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from palaver.memory import Exchange
from palaver.memory.store import Mark, Pair, Play, Write, pair_of, pairs_of
from palaver.memory.worker import Call, Read, Worker

__all__ = ["SqliteMemory"]

logger = logging.getLogger("palaver.memory")

CACHE_PAIRS = 2_000
CACHE_DEPTH = 20
"""Exchanges that are read and kept for each pair, unless more were asked for."""
LIMIT_S = 5.0
"""How long a recall or a mark may take; then the turn goes on without."""
CLOSE_S = 10.0

Key = tuple[str, str, Pair]


class _Recent:
    """The last exchanges of one pair.

    Attributes:
        items: Oldest first; while `loading`, only what came since the read was queued.
        depth: How many are kept.
        whole: Whether there are no others.
        loading: Whether the thread still reads those before.
    """

    __slots__ = ("depth", "items", "loading", "whole")

    def __init__(self, depth: int) -> None:
        self.items: list[Exchange] = []
        self.depth = depth
        self.whole = False
        self.loading = True

    def append(self, exchange: Exchange) -> None:
        self.items.append(exchange)
        if len(self.items) > self.depth and not self.loading:
            self.trim()

    def fill(self, before: list[Exchange]) -> None:
        self.whole = len(before) < self.depth
        self.items[:0] = before
        self.loading = False
        self.trim()

    def trim(self) -> None:
        if len(self.items) > self.depth:
            del self.items[: len(self.items) - self.depth]
            self.whole = False

    def copy(self) -> _Recent:
        other = _Recent(self.depth)
        other.items, other.whole, other.loading = self.items.copy(), self.whole, self.loading
        return other


class SqliteMemory:
    """Memory in a SQLite file; see `palaver.memory.Memory` for what the methods promise.

    What is written survives the death of the process, and also the machine's, but for the last
    moments before a power cut. A file that can no longer be written (a full disk, a lock that
    stays) is reported once; the memory goes on inside the process, tries again every few seconds,
    and writes then what it has kept meanwhile.

    Args:
        path: The file, made with its folder where it is new; None keeps everything in the process.
        keep: Exchanges kept for each pair of characters and branch of saves; older ones are
            deleted, a tenth of `keep` at a time.
        cache_pairs: Pairs whose last exchanges are held in the process.
        queue_size: Exchanges that may wait to be written; then the oldest waiting one is dropped.
        busy_s: How long to wait for another process that writes the same file, in seconds. One
            game must be served by one process at a time all the same: the other's exchanges are
            not seen in the cache.
        retry_s: How long to leave a file alone that could not be written, in seconds.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        keep: int,
        cache_pairs: int = CACHE_PAIRS,
        queue_size: int = 10_000,
        busy_s: float = 2.0,
        retry_s: float = 10.0,
    ) -> None:
        self._worker = Worker(path, keep=keep, size=queue_size, busy_s=busy_s, retry_s=retry_s)
        self._cache: OrderedDict[Key, _Recent] = OrderedDict()
        self._cache_pairs = cache_pairs
        self._saves: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    async def start(self) -> None:
        """Open the file.

        Raises:
            ConfigError: It cannot be used; it is left as it is.
        """
        if self._thread is not None or self._closed:
            return
        opened: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(
            target=self._worker.run,
            args=(_answer(opened),),
            name="palaver-memory",
            daemon=True,
        )
        self._thread.start()
        try:
            self._saves = await opened
        except BaseException:
            self._closed = True
            raise

    async def close(self) -> None:
        """Write what is pending and close the file; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._thread is None:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._worker.stop(_answer(done))
        try:
            async with asyncio.timeout(CLOSE_S):
                await done
        except TimeoutError:
            logger.error("the memory did not close in %.0f s: is its disk stuck?", CLOSE_S)
        self._cache.clear()

    def recall(
        self, game: str, save: str, npc: str, counterpart: str | None, limit: int
    ) -> Sequence[Exchange] | Awaitable[Sequence[Exchange]]:
        """Return what these two heard of each other, oldest first, at most `limit`.

        Returns at once what is in the cache, which is any pair that was recalled before.
        """
        if limit <= 0:
            return ()
        key = (game, save, pair_of(npc, counterpart))
        recent = self._cache.get(key)
        if recent is None or recent.loading or (recent.depth < limit and not recent.whole):
            return self._load(key, limit)
        self._cache.move_to_end(key)
        return recent.items[-limit:]

    def remember(
        self, game: str, save: str, exchange: Exchange, audience: Sequence[str] = ()
    ) -> None:
        """Keep an exchange: at once in the cache, soon in the file."""
        pairs = pairs_of(exchange, audience)
        for pair in pairs:
            recent = self._cache.get((game, save, pair))
            if recent is not None:
                recent.append(exchange)
        self._worker.put(Write(game, save, exchange, pairs))

    def last_save(self, game: str) -> str | None:
        """Return the save that the game played last, or None for one that is new."""
        return self._saves.get(game)

    def play(self, game: str, save: str) -> None:
        """Keep which save the game plays from now on."""
        if self._saves.get(game) != save and not self._closed:
            self._saves[game] = save
            self._worker.put(Call(Play(game, save), lambda value, error: None))

    def mark(self, game: str, save: str, new_save: str) -> Awaitable[None]:
        """Fork `new_save` off `save`; a branch that had the name is given up."""
        if save == new_save:
            return self._wait(None, "mark a save")
        for key in [key for key in self._cache if key[0] == game and key[1] == new_save]:
            del self._cache[key]
        for key, recent in list(self._cache.items()):
            if key[0] == game and key[1] == save and not recent.loading:
                self._keep((game, new_save, key[2]), recent.copy())
        self._saves[game] = new_save
        return self._wait(self._call(Mark(game, save, new_save)), "mark a save")

    async def flush(self) -> None:
        """Wait until everything is written."""
        await self._wait(self._call(lambda: None), "write")

    def _call(self, what: Mark | Callable[[], None]) -> asyncio.Future[None] | None:
        if self._closed or self._thread is None:
            return None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._worker.put(Call(what, _answer(done)))
        return done

    async def _wait(self, done: asyncio.Future[None] | None, name: str) -> None:
        if done is None:
            return
        try:
            async with asyncio.timeout(LIMIT_S):
                await done
        except TimeoutError:
            logger.warning("the memory took longer than %.0f s to %s", LIMIT_S, name)

    async def _load(self, key: Key, limit: int) -> Sequence[Exchange]:
        if self._closed or self._thread is None:
            return ()
        # A second read of the same pair takes the first one's place in the cache: each entry
        # gathers exactly what was remembered after its own read was queued.
        recent = _Recent(max(limit, CACHE_DEPTH))
        self._keep(key, recent)
        done: asyncio.Future[list[Exchange]] = asyncio.get_running_loop().create_future()
        resolve = _answer(done)

        def loaded(before: list[Exchange] | None, error: BaseException | None) -> None:
            # On the loop even if the turn was cancelled meanwhile, or the entry would never fill.
            if before is not None:
                recent.fill(before)
            elif self._cache.get(key) is recent:
                del self._cache[key]
            resolve(before, error)

        loop = asyncio.get_running_loop()
        self._worker.put(
            Read(
                *key,
                recent.depth,
                lambda before, error: _soon(loop, loaded, before, error),
            )
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                found = await done
        except TimeoutError:
            logger.warning("the memory took longer than %.0f s to recall", LIMIT_S)
            return ()
        return found[-limit:]

    def _keep(self, key: Key, recent: _Recent) -> None:
        self._cache[key] = recent
        self._cache.move_to_end(key)
        if len(self._cache) > self._cache_pairs:
            self._cache.popitem(last=False)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: Any) -> None:
    """Call something on the loop from the thread; a loop that is gone needs no answer."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)


def _answer(future: asyncio.Future[Any]) -> Callable[[Any, BaseException | None], None]:
    """Return a function that gives a future its result, from any thread."""

    def settle(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    loop = future.get_loop()
    return lambda value, error: _soon(loop, settle, value, error)
