"""An engine for tests: raw frames, no conveniences, and every bad habit.

    engine = await FakeEngine.connect("ws://127.0.0.1:8765/v1")
    await engine.start()
    await engine.send({"type": "npc.upsert", "npc": "vlad", "persona": "vampire"})
    done = await engine.say("vlad", "Good evening.", turn="t1")
    assert done["text"] == "..."

Unlike `palaver.client` it sends what it is given, answers nothing, resumes nothing and hides
nothing. It is built on `websockets`, while the server is built on `aiohttp`, so each checks the
other's framing.
"""

from __future__ import annotations

import asyncio
import json
import socket as socket_module
import ssl as ssl_module
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from palaver.messages import PROTOCOL, SUBPROTOCOL, server_message

__all__ = ["FakeEngine"]

WAIT_S = 10.0
"""Longest wait for anything, in seconds; a test that gets there has failed."""


class FakeEngine:
    """One connection to a server.

    Attributes:
        socket: The `websockets` connection, for what has no method here.
        url: Where it is connected.
        log: Every message received, in order.
        session: Id of the session, once `start` or `resume` got one.
        last_seq: The last `seq` received; a gap fails the test that receives it.
    """

    def __init__(self, socket: ClientConnection, url: str) -> None:
        self.socket = socket
        self.url = url
        self.log: list[dict[str, Any]] = []
        self.session = ""
        self.last_seq = 0
        self._family: list[FakeEngine] = [self]

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        subprotocols: Sequence[str] | None = (SUBPROTOCOL,),
        headers: Mapping[str, str] | None = None,
        origin: str | None = None,
        ssl: ssl_module.SSLContext | None = None,
        receive_bytes: int | None = None,
    ) -> Self:
        """Open a connection and send nothing yet.

        Args:
            url: Full address, with its path.
            subprotocols: What to ask for, or None to ask for none.
            headers: More headers.
            origin: The `Origin` header, as a web page would send it.
            ssl: TLS settings for `wss://`.
            receive_bytes: Size of the socket's receive buffer, or None for the system's choice;
                with a small one, an engine that stops reading is noticed soon.

        Raises:
            websockets.exceptions.InvalidStatus: The server refuses; `response` has its answer.
        """
        options: dict[str, Any] = {} if ssl is None else {"ssl": ssl}
        if receive_bytes is not None:
            options["sock"] = await _connected(url, receive_bytes)
        socket = await connect(
            url,
            subprotocols=None if subprotocols is None else [Subprotocol(s) for s in subprotocols],
            additional_headers=headers,
            origin=None if origin is None else Origin(origin),
            compression=None,
            proxy=None,
            ping_interval=None,
            open_timeout=WAIT_S,
            close_timeout=1,
            max_size=None,
            **options,
        )
        return cls(socket, url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def another(self, **options: Any) -> Self:
        """Open another connection to the same server, which knows what this one received.

        Args:
            options: As for `connect`.
        """
        other = await type(self).connect(self.url, **options)
        other.log, other.session, other.last_seq = list(self.log), self.session, self.last_seq
        other._family = self._family
        self._family.append(other)
        return other

    async def start(self, **fields: Any) -> dict[str, Any]:
        """Send `session.start` and return the answer, which must be `session.ready`."""
        await self.send(
            {
                "type": "session.start",
                "protocol": PROTOCOL,
                "client": {"name": "fake engine"},
                "capabilities": ["sentence", "emotion", "action"],
                **fields,
            }
        )
        return await self.expect("session.ready")

    async def resume(self, session: str, last_seq: int, **fields: Any) -> dict[str, Any]:
        """Send `session.resume` and return the answer, whatever it is."""
        await self.send(
            {"type": "session.resume", "session": session, "last_seq": last_seq, **fields}
        )
        self.last_seq = last_seq
        # What the server will send again counts as never received.
        self.log = [message for message in self.log if message.get("seq", 0) <= last_seq]
        return await self.receive()

    async def send(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Send a message as JSON, or a text or binary frame as it is."""
        frame = message if isinstance(message, str | bytes) else json.dumps(message)
        async with asyncio.timeout(WAIT_S):
            await self.socket.send(frame)

    async def receive(self) -> dict[str, Any]:
        """Return the next message; it must be of the protocol, ASCII and small enough.

        Raises:
            AssertionError: It breaks the protocol, or a `seq` is missing or repeated.
            websockets.exceptions.ConnectionClosed: The server has closed.
            TimeoutError: None came within ten seconds.
        """
        async with asyncio.timeout(WAIT_S):
            frame = await self.socket.recv()
        assert isinstance(frame, str), "binary frames are for audio only"
        assert frame.isascii(), frame
        assert len(frame) <= 60_000, "a message has at most 60 kB"
        message: dict[str, Any] = json.loads(frame)
        server_message(message)
        if message["type"] in ("session.ready", "session.reset"):
            self.session, self.last_seq = message["session"], 0
        if message["type"].startswith("turn."):
            assert message["seq"] == self.last_seq + 1, "seq has no gaps and no repeats"
            self.last_seq = message["seq"]
        self.log.append(message)
        return message

    async def expect(self, type: str, **fields: Any) -> dict[str, Any]:
        """Return the next message, which must be of this type and have these fields.

        Raises:
            AssertionError: It is another one.
        """
        message = await self.receive()
        got = {name: message.get(name) for name in fields}
        assert (message["type"], got) == (type, fields), message
        return message

    async def until(self, type: str, **fields: Any) -> dict[str, Any]:
        """Return the next message of this type and with these fields; others are passed over."""
        while True:
            message = await self.receive()
            if message["type"] == type and all(
                message.get(name) == value for name, value in fields.items()
            ):
                return message

    async def say(self, npc: str, text: str, *, turn: str, **fields: Any) -> dict[str, Any]:
        """Start a turn, wait for its end and return `turn.done`; `turn_messages` has the rest.

        Raises:
            AssertionError: The turn was not accepted, or its deltas do not make its text.
        """
        await self.send({"type": "turn.start", "turn": turn, "npc": npc, "text": text, **fields})
        return await self.finish(turn)

    async def finish(self, turn: str) -> dict[str, Any]:
        """Wait for the end of a turn and return `turn.done`.

        Raises:
            AssertionError: The turn was not accepted, or its deltas do not make its text.
        """
        while True:
            message = await self.receive()
            if message.get("turn") != turn:
                continue
            assert message["type"] != "error", message
            if message["type"] == "turn.done":
                assert self.text(turn) == message["text"], "text is the deltas joined"
                return message

    def turn_messages(self, turn: str, type: str | None = None) -> list[dict[str, Any]]:
        """Return what was received of a turn so far, of one type or of all."""
        return [
            message
            for message in self.log
            if message.get("turn") == turn and type in (None, message["type"])
        ]

    def text(self, turn: str) -> str:
        """Return the deltas of a turn so far, joined."""
        return "".join(message["text"] for message in self.turn_messages(turn, "turn.delta"))

    async def ping(self, nonce: str = "sync") -> None:
        """Wait until the server has handled everything so far; what comes meanwhile is logged."""
        await self.send({"type": "ping", "nonce": nonce})
        await self.until("pong", nonce=nonce)

    def stop_reading(self) -> None:
        """Stop taking bytes from the socket, so that the server's buffers fill."""
        self.socket.transport.pause_reading()

    def start_reading(self) -> None:
        """Take bytes again."""
        self.socket.transport.resume_reading()

    def cut(self) -> None:
        """Cut the connection without a word, as a network does."""
        self.socket.transport.abort()

    def cut_all(self) -> None:
        """Cut this connection and all that `another` opened from it."""
        for engine in self._family:
            engine.cut()

    async def closed(self) -> tuple[int | None, str]:
        """Wait until the server closes, and return its close code and reason.

        Messages before it are logged. The code is None where the connection was cut.
        """
        try:
            while True:
                await self.receive()
        except ConnectionClosed as end:
            return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (None, "")

    async def close(self, code: int = 1000) -> None:
        """Close the connection; the session lives on."""
        await self.socket.close(code)


async def _connected(url: str, receive_bytes: int) -> socket_module.socket:
    parts = urlsplit(url)
    sock = socket_module.socket(socket_module.AF_INET)
    # Before connecting, because the window is agreed on then.
    sock.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, receive_bytes)
    sock.setblocking(False)
    async with asyncio.timeout(WAIT_S):
        address = (parts.hostname, parts.port)
        await asyncio.get_running_loop().sock_connect(sock, address)
    return sock
