"""The way out of one connection: frames go straight into the transport's buffer, which is bounded.

A client that does not read holds up nobody: when more waits than may, it is dropped. aiohttp's own
`send_str` would have to be awaited, so a queue and a task beside it would be needed for each
connection, and a switch to that task for each token. A server's text frame needs no mask and no
state (RFC 6455, section 5.2), and a write of a whole frame is never torn by one of aiohttp's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

__all__ = ["Outbox", "text_frame"]

_FIN_TEXT = 0x81


class Outbox:
    """What is sent on one connection.

    Args:
        transport: The connection's.
        limit_bytes: How much may wait in the transport's buffer.
        ended: Called once, with a close code and a reason, when the connection has to end.
    """

    def __init__(
        self, transport: asyncio.Transport, limit_bytes: int, ended: Callable[[int, str], None]
    ) -> None:
        self._transport = transport
        self._limit = limit_bytes
        self._ended = ended
        self._closed = False

    def push(self, frame: str) -> None:
        """Send a message, which is ASCII; it never waits."""
        transport = self._transport
        if self._closed or transport.is_closing():
            return
        length = len(frame)
        if length < 126:  # `text_frame` is right for every length; most pieces of text are short
            transport.write(bytes((_FIN_TEXT, length)) + frame.encode("ascii"))
        else:
            transport.write(text_frame(frame))
        if transport.get_write_buffer_size() > self._limit:
            self._end(4413, "does not read")

    def replay(self, frames: Iterable[str]) -> None:
        """Send what a resumed session missed; it is bounded already, and its client innocent."""
        for frame in frames:
            self._limit += len(frame)
            self.push(frame)

    def replace(self) -> None:
        """End it: the session goes on over another connection."""
        if not self._closed:
            self._end(4409, "resumed elsewhere")

    def close(self) -> None:
        """Take nothing more; what was sent goes out."""
        self._closed = True

    def _end(self, code: int, reason: str) -> None:
        self._closed = True
        self._ended(code, reason)


def text_frame(text: str) -> bytes:
    """Return a WebSocket text frame as a server sends it.

    Args:
        text: ASCII.
    """
    data = text.encode("ascii")
    length = len(data)
    if length < 126:
        return bytes((_FIN_TEXT, length)) + data
    if length < 65_536:
        return bytes((_FIN_TEXT, 126, length >> 8, length & 0xFF)) + data
    return bytes((_FIN_TEXT, 127)) + length.to_bytes(8, "big") + data
