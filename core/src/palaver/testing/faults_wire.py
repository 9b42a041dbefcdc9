"""What the misbehaving server reads and writes: HTTP/1.1 and server-sent events, by hand.

Nothing here insists on being right: an `Exchange` sends what it is told to, in any order.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from palaver.testing.faults import FaultServer

__all__ = ["MODELS", "Asked", "Exchange", "read_request"]

MODELS = "lists its models"
"""What is done by default when somebody asks which models there are."""


@dataclass(eq=False, slots=True)
class Asked:
    """One request.

    Attributes:
        method: HTTP method.
        path: Path.
        headers: Its headers, names in lower case.
        body: Its JSON, or an empty dict where there is none.
        text: What the server says where it speaks.
        outcome: `running`; `whole` (the script was played to its end); `cut` (the script broke
            the connection); `closed` (the peer did).
        ended: Set when it is over.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    text: str = ""
    outcome: Literal["running", "whole", "cut", "closed"] = "running"
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def prompt(self) -> str:
        """Its system message, or what stands first."""
        messages = self.body.get("messages") or [{}]
        return str(messages[0].get("content", ""))

    @property
    def tokens(self) -> list[str]:
        """The words of its text, each with the space before it."""
        return re.findall(r"\s*\S+", self.text)

    def end(self, outcome: Literal["whole", "cut", "closed"]) -> None:
        """Note that it is over."""
        self.outcome = outcome
        self.ended.set()


async def read_request(reader: asyncio.StreamReader, begun: bytes = b"") -> Asked | None:
    """Read one request, or return None where the peer has closed instead.

    Args:
        reader: Where it comes from.
        begun: What was read of it already.
    """
    try:
        head = begun + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, json.loads(body) if body else {})


class Exchange:
    """One request, and the means to answer it well or badly.

    Every method that writes waits until the peer has taken what was written. When the peer closes
    the connection, whatever waits is cancelled.

    Args:
        asked: The request.
        writer: The connection.
        server: Whose it is.

    Attributes:
        asked: The request.
        server: The server, for its model and delays.
        was_cut: Whether the connection was broken on purpose.
        may_go_on: Whether the connection can be used for another request afterwards.
    """

    def __init__(self, asked: Asked, writer: asyncio.StreamWriter, server: FaultServer) -> None:
        self.asked, self.server = asked, server
        self.was_cut = False
        self.may_go_on = True
        self._writer = writer
        self._chunked = False
        self._sent = 0

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def drip(self, data: bytes) -> None:
        """Send bytes one by one, with the server's `drip_s` between them."""
        for byte in data:
            await self.raw(bytes([byte]))
            await asyncio.sleep(self.server.drip_s)

    async def hang(self) -> None:
        """Do nothing until the peer gives up."""
        await asyncio.Event().wait()

    def cut(self) -> None:
        """Break the connection (RST), without sending what is still to be sent."""
        self.was_cut = True
        sock = self._writer.get_extra_info("socket")
        # Linger for no time at all: the peer gets a reset, not the end of a stream.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection (FIN) after what was sent, whether or not that is a whole answer."""
        self.was_cut = True
        await self._writer.drain()
        self._writer.close()

    def head(
        self, status: int = 200, kind: str = "text/event-stream", headers: Sequence[str] = ()
    ) -> bytes:
        """Return the head of an answer whose body comes in chunks.

        Args:
            status: HTTP status.
            kind: Its `Content-Type`.
            headers: Further lines.
        """
        self._chunked = True
        return _head(status, kind, ["Transfer-Encoding: chunked", *headers])

    async def json(self, status: int, body: Any, headers: Sequence[str] = ()) -> None:
        """Send a whole answer.

        Args:
            status: HTTP status.
            body: What to send as JSON.
            headers: Further header lines.
        """
        data = json.dumps(body).encode()
        length = f"Content-Length: {len(data)}"
        await self.raw(_head(status, "application/json", [length, *headers]) + data)

    async def error(self, status: int, headers: Sequence[str] = ()) -> None:
        """Answer with a status and an error as OpenAI words it, in words nobody should hear."""
        await self.json(status, {"error": error_of(status)}, headers)

    def frame(self, data: bytes) -> bytes:
        """Return bytes as the next chunk of the body."""
        return b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data

    def event_of(self, text: str) -> bytes:
        """Return the event of one token, framed."""
        return self.frame(b"data: " + self._chunk({"content": text}, None) + b"\n\n")

    async def begin(self) -> None:
        """Send the head of a stream and the event that every stream begins with."""
        self.may_go_on = False
        opening = b"data: " + self._chunk({"role": "assistant", "content": ""}, None) + b"\n\n"
        await self.raw(self.head() + self.frame(opening))

    async def token(self, text: str) -> None:
        """Send one token, after the time that tokens take here."""
        wait_s = self.server.token_s if self._sent else self.server.first_s
        # Even no time at all is one round of the loop, so that tokens are pieces of their own.
        await asyncio.sleep(wait_s)
        self._sent += 1
        await self.raw(self.event_of(text))

    async def speak(self, tokens: int | None = None) -> None:
        """Send so many tokens of what it has to say, or all of them."""
        for text in self.asked.tokens[:tokens]:
            await self.token(text)

    async def event(self, body: Any) -> None:
        """Send an event with this JSON."""
        await self.raw(self.frame(b"data: " + json.dumps(body).encode() + b"\n\n"))

    async def finish(self, reason: str = "stop", *, done: bool = True) -> None:
        """Send the finish reason, the usage and the end.

        Args:
            reason: The finish reason.
            done: Whether the end is sent too, as a server that is well does.
        """
        await self.raw(self.frame(b"data: " + self._chunk({}, reason) + b"\n\n"))
        usage = {"prompt_tokens": 1, "completion_tokens": self._sent}
        await self.event({"choices": [], "usage": usage})
        if done:
            await self.end(b"data: [DONE]\n\n")

    async def end(self, last: bytes = b"") -> None:
        """End the body as HTTP wants it, after these bytes."""
        self.may_go_on = True
        await self.raw((self.frame(last) if last else b"") + self.frame(b""))

    def _chunk(self, delta: Mapping[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        body = {
            "id": f"chatcmpl-{id(self):x}",
            "object": "chat.completion.chunk",
            "model": self.server.model,
            "choices": [choice],
        }
        return json.dumps(body, ensure_ascii=False).encode()


def error_of(status: int) -> dict[str, Any]:
    """Return an error as OpenAI words it."""
    return {"message": f"GARBAGE from a server: {status}", "type": "server_error", "code": status}


def _head(status: int, kind: str, headers: Sequence[str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {kind}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()
