"""Starting and stopping what a gateway is made of, each under a time limit.

What cannot start is logged, and everything else goes on without it; what cannot be closed stops
nothing else from being closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palaver.bridge import Bridge
    from palaver.chain.servers import Entry
    from palaver.gateway import Gateway
    from palaver.store import Store

__all__ = ["cancel", "quietly", "start_backend", "start_bridge", "start_store"]

log = logging.getLogger("palaver.gateway")

START_S = 10.0
"""Time for a backend or bridge to get ready, in seconds; afterwards it is used as it is."""
CANCEL_S = 5.0
"""Time for a task to end when it is cancelled, in seconds."""


async def start_backend(entry: Entry) -> None:
    """Let a backend get ready; one that does not is asked all the same."""
    name = entry.backend.name
    try:
        async with asyncio.timeout(START_S):
            await entry.backend.start()
    except TimeoutError:
        log.warning("backend %s was not ready in %.0f s", name, START_S)
    except Exception:
        log.exception("backend %s could not start; it is asked all the same", name)


async def start_store(store: Store) -> None:
    """Let the store get ready."""
    try:
        async with asyncio.timeout(START_S):
            await store.start()
    except Exception:
        log.exception("the store could not start; this gateway shares nothing until it answers")


async def start_bridge(bridge: Bridge, gateway: Gateway) -> None:
    """Let a bridge get ready."""
    try:
        async with asyncio.timeout(START_S):
            await bridge.start(gateway)
    except Exception:
        log.exception("bridge %s could not start; everything else goes on", bridge.name)


async def quietly(close: Callable[[], Awaitable[None]], name: str) -> None:
    """Close something; what goes wrong is logged."""
    try:
        async with asyncio.timeout(START_S):
            await close()
    except Exception:
        log.exception("%s could not be closed", name)


async def cancel(task: asyncio.Task[None]) -> None:
    """End a task."""
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_S)
