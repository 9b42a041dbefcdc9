"""One session in a gateway elsewhere, over one WebSocket that is made anew after a cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from palaver.errors import ProtocolError
from palaver.messages import LimitsInfo
from palaver_luanti.batch import Batch
from palaver_luanti.dial import Gateway, cut_off
from palaver_luanti.mailbox import Mailbox
from palaver_luanti.upstream import AWAY, away, gone

__all__ = ["RemoteLine"]

log = logging.getLogger("palaver.luanti")

TELL_S = 5.0
"""Time for the gateway to have handled messages, in seconds."""
OWN_SHARE = 0.9
"""Share of the gateway's rate that is used: it counts pings too, and by a clock of its own."""
PING_S = 15.0
"""The gateway is asked for a sign of life so often, and has as long for it."""
RETRY_S = 0.1
RETRY_CAP_S = 1.0
"""The n-th attempt after a cut comes after up to `min(cap, base * 2**n)`: nobody waits so long."""
REPEATS = 2
"""How often messages are sent again after cuts, lest it is they that cut the connection."""
END_S = 3.0
_TURN = '{"type":"turn.'


class RemoteLine:
    """A session of a gateway.

    Args:
        gateway: The gateway.
        start: The `session.start`.
        mailbox: Where its messages go.
    """

    receipts = 1
    """The ping behind each batch."""

    def __init__(self, gateway: Gateway, start: Mapping[str, Any], mailbox: Mailbox) -> None:
        self.messages_per_s = 1.0
        self._gateway = gateway
        self._start = start
        self._mailbox = mailbox
        self._limits: LimitsInfo | None = None
        self._session = ""
        self._socket: ClientConnection | None = None
        self._batches: dict[int, Batch] = {}
        self._away: ProtocolError | None = None
        self._closing = False
        self._heard_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the session.

        Raises:
            ProtocolError: The gateway is away, or refuses.
        """
        try:
            socket, ready = await self._gateway.greet(self._start)
        except ProtocolError as err:
            if err.code == AWAY:
                self._gateway.reach.lost(err.message)
            raise
        try:
            self._session = str(ready["session"])
            self._limits = LimitsInfo.model_validate(ready["limits"])
        except (KeyError, ValueError) as err:
            socket.transport.abort()
            raise away(f"{self._gateway.url} does not follow the protocol: {err}") from err
        self.messages_per_s = self._limits.messages_per_s * OWN_SHARE
        self._socket = socket
        self._task = asyncio.create_task(self._run(socket), name="a mod's line to the gateway")
        self._task.add_done_callback(self._look)

    async def tell(self, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        """Have messages handled."""
        if self._mailbox.over is not None:
            raise self._mailbox.over.with_traceback(None)
        if self._away is not None:
            raise self._away.with_traceback(None)
        assert self._limits is not None
        batch = Batch(messages, self._limits.message_bytes)
        self._batches[batch.number] = batch
        try:
            if self._socket is not None:  # Else it is sent with the others, after the cut.
                await self._send(self._socket, batch)
            await asyncio.wait({batch.done}, timeout=TELL_S)
            if not batch.done.done():
                raise away(f"{self._gateway.url} does not answer within {TELL_S:g} s")
            batch.done.result()
        finally:
            del self._batches[batch.number]
        return batch.answers()

    async def close(self) -> None:
        """End the session with its turns."""
        self._closing = True
        self._end(gone("the session has ended"))
        socket, self._socket = self._socket, None
        if socket is not None:
            await cut_off(socket, {"type": "session.end"})
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=END_S)

    async def _run(self, socket: ClientConnection | None) -> None:
        while socket is not None:
            try:
                await self._serve(socket)
            except (OSError, WebSocketException) as err:
                if self._closing or self._mailbox.over is not None:
                    return
                log.info("the connection to %s ended: %s", self._gateway.url, err)
            finally:
                self._socket = None
                socket.transport.abort()
            socket = await self._resume()

    async def _serve(self, socket: ClientConnection) -> None:
        """Read until the connection ends."""
        self._heard_at = asyncio.get_running_loop().time()
        alive = asyncio.create_task(self._keep_alive(socket), name="keep a line alive")
        try:
            while True:
                frame = await socket.recv()
                self._heard_at = asyncio.get_running_loop().time()
                if isinstance(frame, str):
                    try:
                        self._take(frame)
                    except (ValueError, RecursionError, msgspec.DecodeError) as err:
                        log.warning("ignored a message that is not of the protocol: %s", err)
        finally:
            alive.cancel()
            await asyncio.wait({alive}, timeout=END_S)

    def _take(self, frame: str) -> None:
        if frame.startswith(_TURN):
            self._turn(frame)
            return
        message = json.loads(frame)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "error":
            number, place = Batch.place(message.get("re"))
            batch = self._batches.get(number)
            if batch is None:
                log.warning("%s says: %s", self._gateway.url, message.get("message"))
            else:
                batch.refuse(place, message)
        elif kind == "pong":
            batch = self._batches.get(Batch.place(message.get("nonce"))[0])
            if batch is not None:
                batch.confirm()
        elif isinstance(kind, str) and kind.startswith("turn."):
            self._turn(frame)

    def _turn(self, frame: str) -> None:
        before = self._mailbox.seq
        self._mailbox.push(frame)
        if self._mailbox.seq > before + 1:
            self._end(gone("messages of the session were lost"))
            raise OSError("messages are missing")

    async def _keep_alive(self, socket: ClientConnection) -> None:
        """Ping, and cut a connection on which nothing comes any more."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_S)
            if loop.time() - self._heard_at > PING_S * 2:
                socket.transport.abort()
                return
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                async with asyncio.timeout(PING_S):
                    await socket.send('{"type":"ping"}')

    async def _send(self, socket: ClientConnection, batch: Batch) -> None:
        """Send messages; where the connection is cut they are sent again on the next one."""
        try:
            async with asyncio.timeout(TELL_S):
                for frame in batch.frames():
                    await socket.send(frame)
        except TimeoutError:
            socket.transport.abort()
        except (OSError, WebSocketException):
            pass

    async def _resume(self) -> ClientConnection | None:
        """Connect again and go on; None where the session is over."""
        assert self._limits is not None
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.resume_ms / 1000
        attempt = 0
        while True:
            try:
                socket, answer = await self._gateway.greet(
                    {
                        **self._start,
                        "type": "session.resume",
                        "session": self._session,
                        "last_seq": self._mailbox.seq,
                    }
                )
            except ProtocolError as err:
                problem = err if err.code == AWAY else gone(err.message)
            else:
                if answer.get("type") == "session.resumed":
                    await self._go_on(socket)
                    return socket
                await cut_off(socket, {"type": "session.end"})
                problem = gone(str(answer.get("reason", "the gateway has lost the session")))
            if problem.code != AWAY or loop.time() > until:
                self._end(problem if problem.code != AWAY else gone(problem.message))
                return None
            attempt += 1
            if attempt > 1 or _nobody_there(problem):
                self._gateway.reach.lost(problem.message)
                self._pause(problem)
            await asyncio.sleep(random.uniform(0, min(RETRY_CAP_S, RETRY_S * 2**attempt)))

    async def _go_on(self, socket: ClientConnection) -> None:
        """Take a new connection, and send again what may be lost."""
        self._pause(None)
        self._socket = socket
        for batch in list(self._batches.values()):
            batch.sent += 1
            if batch.sent > REPEATS:
                batch.fail(away("the connection was cut again and again"))
            else:
                await self._send(socket, batch)

    def _pause(self, problem: ProtocolError | None) -> None:
        self._away = problem
        self._mailbox.pause(problem)
        if problem is not None:
            for batch in self._batches.values():
                batch.fail(problem)

    def _end(self, problem: ProtocolError) -> None:
        self._mailbox.fail(problem)
        for batch in self._batches.values():
            batch.fail(problem)

    def _look(self, task: asyncio.Task[None]) -> None:
        """End a session whose line has a bug, rather than let its mod wait."""
        if not task.cancelled() and task.exception() is not None:
            log.error("a line ended with a bug", exc_info=task.exception())
            self._end(gone("an error in the bridge; its log says more"))


def _nobody_there(problem: ProtocolError) -> bool:
    """Say whether a failed attempt is proof enough: not where a connection was only cut again."""
    cause = problem.__cause__
    cut = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
    return isinstance(cause, OSError) and not isinstance(cause, cut)
