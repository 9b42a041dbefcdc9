"""How late the event loop is: what makes every player wait at once."""

from __future__ import annotations

import asyncio
import contextlib
from time import perf_counter

from prometheus_client import CollectorRegistry, Histogram

__all__ = ["LoopLag"]

EVERY_S = 0.5
"""Time between two looks, in seconds."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class LoopLag:
    """Measures how much later than it asked for a task of its own is woken.

    Args:
        registry: Where the histogram is registered.
        every_s: Time between two looks, in seconds.
    """

    def __init__(self, registry: CollectorRegistry, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._lag = Histogram(
            "palaver_event_loop_lag_seconds",
            "How much later than due the server's event loop woke a timer.",
            registry=registry,
            buckets=SECONDS,
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="event loop lag")

    async def close(self) -> None:
        """Stop; safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            begun = perf_counter()
            await asyncio.sleep(self._every_s)
            self._lag.observe(max(0.0, perf_counter() - begun - self._every_s))
