"""The bounded queue of one connection.

Messages are put in with a plain call and sent by one task, so that a client that does not read
holds up nobody. When too much waits, the client is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Outbox"]


class Outbox:
    """What waits to be sent on one connection.

    Args:
        ws: The connection.
        limit_bytes: How much may wait.
        abort: Cuts the connection.

    Attributes:
        overflowed: Whether more waited than may; the connection is of no use any more.
        replaced: Whether its session goes on over another connection.
    """

    def __init__(
        self, ws: web.WebSocketResponse, limit_bytes: int, abort: Callable[[], None]
    ) -> None:
        self.overflowed = False
        self.replaced = False
        self._ws = ws
        self._limit = limit_bytes
        self._abort = abort
        self._sending = False
        self._frames: deque[str] = deque()
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._closing = False

    def push(self, frame: str) -> None:
        """Put a message in; the frame is ASCII, so its length is its size in bytes."""
        if self._closing:
            return
        self._bytes += len(frame)
        if self._bytes > self._limit:
            self.overflowed = True
            self._stop()
            return
        self._frames.append(frame)
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def replay(self, frames: Iterable[str]) -> None:
        """Put in what a resumed session missed; it is bounded already, and its client innocent."""
        for frame in frames:
            self._limit += len(frame)
            self.push(frame)

    def replace(self) -> None:
        """Drop what waits and end: the session goes on over another connection."""
        self.replaced = True
        self._stop()

    def _stop(self) -> None:
        self._frames.clear()
        self.close()
        if self._sending:
            # The client takes nothing, so a send would wait for ever, and a close be never read.
            self._abort()

    def close(self) -> None:
        """Send what waits and then end; nothing more is taken."""
        self._closing = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def run(self) -> None:
        """Send what is put in until it is closed or overflows.

        Raises:
            ConnectionError: The connection is gone.
        """
        frames, send = self._frames, self._ws.send_str
        while True:
            while frames:
                frame = frames.popleft()
                self._sending = True
                await send(frame)
                self._sending = False
                self._bytes -= len(frame)
            if self._closing:
                return
            self._waiter = self._loop.create_future()
            await self._waiter
