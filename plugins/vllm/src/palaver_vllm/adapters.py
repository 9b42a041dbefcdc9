"""Which adapters a server has, and how it gets the others without a player noticing.

vLLM reads an adapter inside the engine's loop, so every stream of that server stands still while
it loads one. It also never tells what is in its slots: unloading drops only a name. So Palaver
keeps its own books, and loads when nobody is speaking.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

from palaver.errors import BackendError
from palaver.world.manifest import AdapterManifest

__all__ = ["Activity", "AdapterLoader", "Residency"]

log = logging.getLogger("palaver.vllm")

QUIET_S = 0.1
"""A server without a stream for so long is idle, in seconds."""
BACK_OFF_S = 5.0
"""Wait after a failed load, in seconds; doubled with every further failure."""
MAX_BACK_OFF_S = 300.0
MAX_WANTED = 256


class Activity:
    """What one server is doing for us now.

    Attributes:
        streams: Streams in flight.
        adapters: Streams in flight by adapter.
    """

    def __init__(self) -> None:
        self.streams = 0
        self.adapters: Counter[str] = Counter()
        self._idle, self._busy = asyncio.Event(), asyncio.Event()
        self._idle.set()

    def enter(self, adapter: str | None) -> None:
        """Note that a stream begins."""
        self.streams += 1
        self._idle.clear()
        self._busy.set()
        if adapter is not None:
            self.adapters[adapter] += 1

    def leave(self, adapter: str | None) -> None:
        """Note that a stream is over."""
        self.streams -= 1
        if not self.streams:
            self._busy.clear()
            self._idle.set()
        if adapter is not None:
            self.adapters[adapter] -= 1
            if not self.adapters[adapter]:
                del self.adapters[adapter]

    async def quiet(self, max_s: float) -> None:
        """Wait for a moment without streams, but not longer than this, in seconds."""
        try:
            async with asyncio.timeout(max_s):
                while True:
                    await self._idle.wait()
                    try:
                        async with asyncio.timeout(QUIET_S):
                            await self._busy.wait()
                    except TimeoutError:
                        return
        except TimeoutError:
            return


class Residency:
    """What we believe a server has loaded.

    Args:
        slots: How many adapters it can use at the same time, or None if that is not known.
    """

    def __init__(self, slots: int | None) -> None:
        self._slots = slots
        # In the order of their last use, the latest last: vLLM's own caches work like that.
        self._loaded: dict[str, None] = {}

    @property
    def loaded(self) -> list[str]:
        """Adapters that can be asked for, the one used last at the end."""
        return list(self._loaded)

    def has(self, name: str) -> bool:
        """Whether an adapter can be asked for."""
        return name in self._loaded

    def warm(self, name: str) -> bool:
        """Whether it was used so recently that it is still in a slot."""
        if name not in self._loaded:
            return False
        return self._slots is None or name in self.loaded[-self._slots :]

    def use(self, name: str) -> None:
        """Note that an adapter is used or was loaded."""
        self._loaded.pop(name, None)
        self._loaded[name] = None

    def replace(self, names: list[str]) -> None:
        """Take over what the server says; the order of those we knew stays."""
        known = [name for name in self._loaded if name in names]
        self._loaded = dict.fromkeys([*(n for n in names if n not in known), *known])

    def forget(self) -> None:
        """Nothing is known any more: the server was started again."""
        self._loaded.clear()

    def has_slot(self, name: str, activity: Activity) -> bool:
        """Whether a stream with this adapter could begin at once."""
        in_use = activity.adapters
        return self._slots is None or name in in_use or len(in_use) < self._slots


@dataclass(slots=True)
class _Failure:
    reason: str
    count: int
    retry_at: float


class AdapterLoader:
    """Loads adapters on one server, one at a time, when it is idle.

    Args:
        residency: Where a loaded adapter is noted.
        activity: Tells when the server is idle.
        load: Loads an adapter; raises `BackendError`.
        wait_s: Longest wait for an idle moment, in seconds.
        report: Tells whoever runs Palaver.

    Attributes:
        loaded: Adapters that were loaded so far.
        failed: Loads that failed so far.
        seconds: Time that the loads took that did not, in seconds.
    """

    def __init__(
        self,
        residency: Residency,
        activity: Activity,
        load: Callable[[AdapterManifest], Awaitable[None]],
        *,
        wait_s: float,
        report: Callable[[str], None],
    ) -> None:
        self._residency, self._activity, self._load = residency, activity, load
        self._wait_s, self._report = wait_s, report
        self._wanted: dict[str, AdapterManifest] = {}
        self._failures: dict[str, _Failure] = {}
        self._task: asyncio.Task[None] | None = None
        self.loaded = self.failed = 0
        self.seconds = 0.0

    def want(self, manifest: AdapterManifest) -> str | None:
        """Ask for an adapter to be loaded at the next idle moment.

        Returns:
            Why it failed the last time, if it did and it is too early to try again.
        """
        loop = asyncio.get_running_loop()
        failure = self._failures.get(manifest.id)
        if failure is not None and loop.time() < failure.retry_at:
            return failure.reason
        if len(self._wanted) < MAX_WANTED:
            self._wanted[manifest.id] = manifest
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run(), name="load adapters")
        return None

    async def idle(self) -> None:
        """Wait until nothing more is to be loaded."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Stop; safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while self._wanted:
            await self._activity.quiet(self._wait_s)
            name, manifest = next(iter(self._wanted.items()))
            try:
                if not self._residency.has(name):
                    begun = perf_counter()
                    await self._load(manifest)
                    self.loaded += 1
                    self.seconds += perf_counter() - begun
            except BackendError as err:
                self._failed(name, err.reason)
            except Exception as err:
                log.exception("loading adapter %s has a bug", name)
                self._failed(name, f"a bug: {type(err).__name__}")
            else:
                self._failures.pop(name, None)
                self._residency.use(name)
            finally:
                self._wanted.pop(name, None)

    def _failed(self, name: str, reason: str) -> None:
        self.failed += 1
        before = self._failures.get(name)
        count = before.count + 1 if before else 1
        wait_s = min(BACK_OFF_S * 2 ** (count - 1), MAX_BACK_OFF_S)
        at = asyncio.get_running_loop().time() + wait_s
        self._failures[name] = _Failure(reason, count, at)
        if before is None or before.reason != reason:
            self._report(f"adapter {name} could not be loaded: {reason}")
