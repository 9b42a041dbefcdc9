"""Keeps one session connected: dials, greets, reads, writes, and begins again after a cut."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl as ssl_module
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from palaver._version import __version__
from palaver.client.ending import Ended, Gap, explain
from palaver.client.outbox import Outbox, encode
from palaver.errors import ConnectionLost, ServerError
from palaver.messages import (
    SERVER_MESSAGES,
    SUBPROTOCOL,
    Error,
    Pong,
    SessionReady,
    SessionReset,
    SessionResumed,
)

__all__ = ["Link", "Target"]

PING_S = 15.0
"""A ping goes out after this long without a message; the protocol asks for one every 30 s."""
PONG_S = 10.0
"""Time for its answer; then the connection counts as dead."""
RETRY_BASE_S = 0.25
RETRY_CAP_S = 10.0
"""Full jitter: the n-th attempt comes after 0 to min(cap, base * 2**n) seconds."""
STABLE_S = 5.0
"""A connection that lived this long starts the attempts from the beginning."""
CLOSE_S = 2.0
MAX_MESSAGE_BYTES = 1_000_000
"""Far above what the protocol allows; only a bound on what a broken server can make us hold."""

_log = logging.getLogger("palaver.client")


@dataclass(frozen=True, slots=True)
class Target:
    """What to connect to, and as what.

    Attributes:
        url: `ws://` or `wss://` address with its path.
        ssl: TLS settings, or None for the usual ones.
        start: The `session.start` message.
        reconnect: Whether to connect again after a cut.
        timeout_s: Limit of an attempt to connect, and of sending one message.
    """

    url: str
    ssl: ssl_module.SSLContext | None
    start: dict[str, Any]
    reconnect: bool
    timeout_s: float


class Receiver(Protocol):
    """Who gets what comes in; the client."""

    def on_turn(self, message: Any) -> None:
        """A `turn.*` message, each once and in order."""

    def on_error(self, message: Error) -> None:
        """An `error`."""

    def on_reset(self, limits_bytes: int) -> None:
        """A new session has taken the old one's place."""

    def on_lost(self, error: ServerError) -> None:
        """There will be no further connection."""


class _Dial(websockets_connect):
    """Connects, and follows no redirects: the token is for this address only."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Take a redirect for the refusal that it is."""
        return exc


class Link:
    """The connection of one client.

    Args:
        target: What to connect to.
        outbox: What to send.
        receiver: Who gets what comes in.

    Attributes:
        ready: The session as the server opened it, or None before.
        last_seq: The last `seq` that was received.
        connected: Set while there is a connection.
        problem: Why there is none, or None.
        save: The memory branch the session is on, or None for the game's last one.
    """

    def __init__(self, target: Target, outbox: Outbox, receiver: Receiver) -> None:
        self.ready: SessionReady | None = None
        self.last_seq = 0
        self.connected = asyncio.Event()
        self.problem: ServerError | None = None
        self.save: str | None = target.start.get("save")
        self._target, self._outbox, self._receiver = target, outbox, receiver
        self._socket: ClientConnection | None = None
        self._closing = False

    async def run(self, opened: Callable[[], None]) -> None:
        """Stay connected until there is no hope; then tell the receiver.

        Args:
            opened: Called whenever the session is there.
        """
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            since = loop.time()
            try:
                socket = await self._open()
                self.problem = None
                self.connected.set()
                opened()
                await self._serve(socket)
            except Ended as fatal:
                self.problem = fatal.error
                if self._closing:
                    return
                if fatal.last or self.ready is None or not self._target.reconnect:
                    self._receiver.on_lost(fatal.error)
                    return
            except Exception as error:
                _log.exception("a bug in the client ended its session")
                self._receiver.on_lost(ConnectionLost(f"a bug in the client: {error!r}"))
                return
            finally:
                self.connected.clear()
            attempt = 0 if loop.time() - since > STABLE_S else attempt + 1
            delay_s = random.uniform(0, min(RETRY_CAP_S, RETRY_BASE_S * 2**attempt))
            _log.info("%s; connecting again in %.1f s", self.problem, delay_s)
            await asyncio.sleep(delay_s)

    async def close(self) -> None:
        """End the session now, within two seconds."""
        self._closing = True
        socket, self._socket = self._socket, None
        if socket is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                if self.connected.is_set():
                    await socket.send(encode({"type": "session.end"}))
                await socket.close(1000)
        except (TimeoutError, OSError, WebSocketException):
            socket.transport.abort()

    async def _open(self) -> ClientConnection:
        """Connect and open or resume the session, within one limit."""
        target = self._target
        # Without TLS settings of one's own the key must be absent, so that wss:// has the usual.
        tls: dict[str, Any] = {} if target.ssl is None else {"ssl": target.ssl}
        socket: ClientConnection | None = None
        try:
            async with asyncio.timeout(target.timeout_s):
                socket = await _Dial(
                    target.url,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    proxy=None,
                    user_agent_header=f"palaver/{__version__}",
                    open_timeout=None,
                    # The protocol has pings of its own, which a busy server answers too.
                    ping_interval=None,
                    close_timeout=CLOSE_S,
                    max_size=MAX_MESSAGE_BYTES,
                    **tls,
                )
                await self._greet(socket)
                return socket
        except (OSError, WebSocketException, TimeoutError, Ended) as error:
            if socket is not None:
                socket.transport.abort()
            raise explain(error, target.url) from error
        except BaseException:
            # Cancelled in the middle: nobody else knows of this connection.
            if socket is not None:
                socket.transport.abort()
            raise

    async def _greet(self, socket: ClientConnection) -> None:
        if socket.subprotocol != SUBPROTOCOL:
            raise Ended(ConnectionLost(f"{self._target.url} is no Palaver server"), last=True)
        start = self._target.start
        if self.ready is not None:
            start = {
                **start,
                "type": "session.resume",
                "session": self.ready.session,
                "last_seq": self.last_seq,
            }
            if self.save is not None:
                # Not `save.mark`, which would fork the branch once more.
                start["save"] = self.save
        await socket.send(encode(start))
        _, answer = _parse(await socket.recv())
        if isinstance(answer, Error):
            error = ServerError(answer.code, answer.message, retryable=answer.retryable)
            raise Ended(error, last=not answer.retryable)
        if isinstance(answer, SessionResumed):
            self._outbox.reconnected()
        elif isinstance(answer, SessionReady):
            again = self.ready is not None
            self.ready, self.last_seq = answer, 0
            if again:
                reason = answer.reason if isinstance(answer, SessionReset) else "a new session"
                _log.warning("session reset (%s); telling the server everything again", reason)
                self._receiver.on_reset(answer.limits.message_bytes)
            else:
                self._outbox.reconnected()
        else:
            raise Ended(ConnectionLost("the server does not follow the protocol"), last=True)
        self._socket = socket

    async def _serve(self, socket: ClientConnection) -> None:
        """Read and write until the connection ends."""
        failures: list[Exception] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(socket))
                tasks.create_task(self._write(socket))
        except* (OSError, WebSocketException, TimeoutError, Gap) as group:
            failures.extend(group.exceptions)
        finally:
            socket.transport.abort()
        # Reading and writing often fail together; the first says why.
        raise explain(failures[0], self._target.url) from failures[0]

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            async with asyncio.timeout(PING_S + PONG_S):
                frame = await socket.recv()
            seq, message = _parse(frame)
            if seq is not None:
                if seq <= self.last_seq:
                    continue
                if seq > self.last_seq + 1:
                    raise Gap(f"message {self.last_seq + 1} is missing")
                # Counted even where nobody understands it: a newer server has more types.
                self.last_seq = seq
                if message is not None:
                    self._receiver.on_turn(message)
            elif isinstance(message, Pong):
                self._outbox.pong(message.nonce)
            elif isinstance(message, Error):
                self._receiver.on_error(message)

    async def _write(self, socket: ClientConnection) -> None:
        pace = _Pace(self.ready.limits.messages_per_s if self.ready else 1)
        while True:
            frame = self._outbox.next()
            if frame is None:
                try:
                    async with asyncio.timeout(PING_S):
                        await self._outbox.changed.wait()
                    continue
                except TimeoutError:
                    frame = self._outbox.ping()
            await pace.next()
            async with asyncio.timeout(self._target.timeout_s):
                await socket.send(frame)


class _Pace:
    """Keeps to the rate that the server allows, so that it need not refuse anything.

    Args:
        per_s: Messages per second, on average; so many may also be sent at once.
    """

    def __init__(self, per_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._per_s = per_s
        self._left = max(1.0, per_s)
        self._at = self._loop.time()

    async def next(self) -> None:
        """Wait until the next message may be sent."""
        while True:
            now = self._loop.time()
            gained = (now - self._at) * self._per_s
            self._left, self._at = min(max(1.0, self._per_s), self._left + gained), now
            if self._left >= 1:
                self._left -= 1
                return
            await asyncio.sleep((1 - self._left) / self._per_s)


def _parse(frame: str | bytes) -> tuple[int | None, Any]:
    """Return `seq` and message of a frame; None where it has none, or is not understood."""
    if isinstance(frame, bytes):
        return None, None
    seq = None
    try:
        data = json.loads(frame)
        kind = data["type"]
        if kind.startswith("turn.") and isinstance(data.get("seq"), int):
            seq = data["seq"]
        model = SERVER_MESSAGES.get(kind)
        return seq, None if model is None else model.model_validate(data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        _log.warning("ignored a message that is not of the protocol: %s", error)
        return seq, None
