"""What plugins do when a turn or session is over: in the background, bounded, and owned."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from functools import partial
from typing import Any

from palaver.hookcalls import HookCall, failed

__all__ = ["Background"]

log = logging.getLogger("palaver.plugins")

LIMIT_S = 10.0
"""Time for one plugin, in seconds."""
MAX_TASKS = 1_000
"""Plugins at work at once; beyond, the oldest is cancelled."""
GRACE_S = 2.0
"""Time for plugins that are at work when Palaver stops, in seconds."""
CLOSE_S = 1.0
"""Time for them to give up then, in seconds."""


class Background:
    """The plugins that are told of something and may take their time over it."""

    def __init__(self) -> None:
        # A dict keeps the order: the oldest comes first.
        self._tasks: dict[asyncio.Task[None], None] = {}

    def tell(self, call: HookCall, **arguments: Any) -> None:
        """Call a plugin soon; if it returns an awaitable, that runs in the background.

        Not at once: what is on its way to a client goes out first.
        """
        asyncio.get_running_loop().call_soon(partial(self._call, call, **arguments))

    def _call(self, call: HookCall, **arguments: Any) -> None:
        try:
            result = call(**arguments)
        except Exception:
            failed(call, log.warning)
            return
        if result is not None and inspect.isawaitable(result):
            self._spawn(call, result)

    async def close(self) -> None:
        """Let what still runs come to its end, but not for long; safe to call twice."""
        await asyncio.sleep(0)  # What was told just now begins.
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=GRACE_S)
        for task in self._tasks:
            log.warning("a plugin was cancelled, because Palaver stops")
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=CLOSE_S)

    def _spawn(self, call: HookCall, work: Awaitable[Any]) -> None:
        if len(self._tasks) >= MAX_TASKS:
            oldest = next(iter(self._tasks))
            log.warning("plugins fall behind; the oldest of them was cancelled")
            oldest.cancel()
            del self._tasks[oldest]
        task = asyncio.get_running_loop().create_task(_run(call, work))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))


async def _run(call: HookCall, work: Awaitable[Any]) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            await work
    except TimeoutError:
        log.warning("plugin %s took longer than %.0f s in %s", call.plugin, LIMIT_S, call.hook)
    except Exception:
        failed(call, log.warning)
