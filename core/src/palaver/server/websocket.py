"""One WebSocket connection: its first message, reading, and closing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiohttp import WSCloseCode, WSMsgType, web

from palaver import messages as m
from palaver._version import __version__
from palaver.errors import ProtocolError
from palaver.server.frames import check_version, names, parse, to_frame
from palaver.server.handlers import handle
from palaver.server.http import error_response
from palaver.server.outbox import Outbox
from palaver.server.rates import TokenBucket

if TYPE_CHECKING:
    from palaver.gateway import Gateway
    from palaver.server.hub import Hub
    from palaver.server.security import Gate
    from palaver.server.session import Session

__all__ = ["WebSocketEndpoint"]

log = logging.getLogger("palaver.session")

CLOSE_S = 2.0
"""Time for a client to answer a close, and for what waits to be sent, in seconds."""
LEAVE_S = 10.0
"""Time for a connection to end by itself once its client has left, in seconds."""
TOO_LARGE_FACTOR = 4
"""Up to this many times the limit a message is read, so that its sender learns what is wrong."""
CONNECTIONS = 2
"""Connections for each session that may be open, as some have not begun one or are being left."""
SPARE_CONNECTIONS = 16
REFUSALS = 200
"""Messages refused in a row for their rate; then the connection is closed."""


class WebSocketEndpoint:
    """`/v1`: where engines connect.

    Args:
        gateway: What runs turns.
        hub: The sessions.
        gate: Who may connect.
    """

    def __init__(self, gateway: Gateway, hub: Hub, gate: Gate) -> None:
        self._gateway = gateway
        self._hub = hub
        self._gate = gate
        self._limits = gateway.settings.limits
        self._open: set[_Connection] = set()
        self._most = self._limits.sessions * CONNECTIONS + SPARE_CONNECTIONS

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection to its end."""
        ws = web.WebSocketResponse(
            protocols=(m.SUBPROTOCOL,),
            compress=False,
            timeout=CLOSE_S,
            max_msg_size=self._limits.message_bytes * TOO_LARGE_FACTOR,
        )
        if not ws.can_prepare(request).ok:
            hint = "this address takes WebSocket connections; for HTTP there is POST /v1/turns"
            refusal = error_response("bad_message", hint, status=426)
            refusal.headers["Upgrade"] = "websocket"
            return refusal
        if len(self._open) >= self._most:
            hint = f"{self._most} connections are open; try again later, or raise limits.sessions"
            return error_response("overloaded", hint, retryable=True)
        await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws  # It was cut before anything could be said.
        connection = _Connection(ws, transport, self._gateway, self._hub, self._gate)
        self._open.add(connection)
        run = asyncio.create_task(connection.run(), name="serve a client")
        run.add_done_callback(lambda _: self._open.discard(connection))
        try:
            await asyncio.wait({run})
        finally:
            # A client that leaves cancels this handler. Its connection ends by itself, once what
            # it sent last is done; half a save or half an end of a session would be worse.
            _, late = await asyncio.wait({run}, timeout=LEAVE_S)
            if late:
                run.cancel()
        run.result()
        return ws

    async def close(self) -> None:
        """Close every connection, because the server stops."""
        await asyncio.gather(
            *(one.close(WSCloseCode.GOING_AWAY, "the server stops") for one in list(self._open))
        )


class _Connection:
    """One connection from its first message to its close."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        gateway: Gateway,
        hub: Hub,
        gate: Gate,
    ) -> None:
        self._ws = ws
        self._transport = transport
        self._gateway = gateway
        self._hub = hub
        self._gate = gate
        self._limits = gateway.settings.limits
        self._outbox = Outbox(transport, self._limits.send_bytes, self._must_end)
        self._rate = TokenBucket(self._limits.messages_per_s)
        self._refused = 0
        self._session: Session | None = None
        self._closer: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._silence: asyncio.TimerHandle | None = None
        self._ended = False

    async def run(self) -> None:
        """Serve it; returns when it is closed."""
        try:
            code, reason = await self._serve()
            await self.close(code, reason)
        finally:
            if self._session is not None and not self._ended:
                self._hub.detach(self._session, self._outbox)
            if self._silence is not None:
                self._silence.cancel()
            self._outbox.close()
            if self._closer is not None:
                await asyncio.wait({self._closer}, timeout=CLOSE_S * 2)

    async def close(self, code: int, reason: str) -> None:
        """Close with a code, after what was sent; gives up on a client that does not read."""
        self._outbox.close()
        if self._ws.closed:
            return
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(CLOSE_S):
                await self._ws.close(code=code, message=reason.encode()[:120])

    async def _serve(self) -> tuple[int, str]:
        """Read messages until the end; returns code and reason to close with."""
        try:
            # Around all of it: aiohttp's own limit begins anew with each ping.
            async with asyncio.timeout(self._limits.start_ms / 1000):
                data = await self._receive()
        except TimeoutError:
            return 4408, "no session.start in time"
        if data is None:
            return WSCloseCode.OK, ""
        try:
            await self._first(data)
        except ProtocolError as err:
            self._error(err)
            return err.close_code or 4400, err.code
        return await self._read()

    async def _read(self) -> tuple[int, str]:
        self._listen()
        while True:
            data = await self._receive()
            if data is None:
                return WSCloseCode.OK, ""
            self._heard_at = self._loop.time()
            try:
                if await self._one(data):
                    return WSCloseCode.OK, "the session has ended"
            except ProtocolError as err:
                self._error(err)
                if err.close_code is not None:
                    return err.close_code, err.code

    def _listen(self) -> None:
        """Look after the client's silence with one timer, not with a limit on each read."""
        now = self._loop.time()
        until = self._heard_at + self._limits.silence_ms / 1000
        if now < until:
            self._silence = self._loop.call_at(until, self._listen)
        else:
            self._must_end(4408, "silent")

    async def _receive(self) -> str | bytes | None:
        """Return the next message, or None when the connection is over."""
        try:
            message = await self._ws.receive()
        except ConnectionError:  # aiohttp answers pings by itself, also to who has left already
            return None
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            return message.data  # type: ignore[no-any-return]  # str or bytes by its type
        return None

    async def _first(self, data: str | bytes) -> None:
        message = parse(data, self._limits.message_bytes, first=True)
        if isinstance(message, m.SessionResume):
            self._resume(message)
        elif isinstance(message, m.SessionStart):
            principal = self._gate.principal(message.token)
            check_version(message)
            self._session = self._hub.open(message, principal, self._outbox)
            self._outbox.push(self._ready(m.SessionReady))

    def _resume(self, message: m.SessionResume) -> None:
        principal = self._gate.principal(message.token)
        session = self._hub.find(message.session, principal)
        missed = session.missed(message.last_seq) if session is not None else None
        if session is None or missed is None:
            reason = (
                "this server does not know the session"
                if session is None
                else "what came after last_seq is no longer kept"
            )
            self._session = self._hub.open(message, principal, self._outbox)
            self._outbox.push(self._ready(m.SessionReset, reason=reason))
            return
        older = self._hub.attach(session, self._outbox)
        if older is not None:
            older.replace()
        self._session = session
        self._outbox.push(to_frame(m.SessionResumed(session=session.info.id)))
        self._outbox.replay(missed)

    async def _one(self, data: str | bytes) -> bool:
        """Handle one message; returns whether the session has ended."""
        session = self._session
        assert session is not None
        if not self._rate.take():
            self._refused += 1
            re, turn = names(data)
            raise ProtocolError(
                "rate_limited",
                f"more than {self._limits.messages_per_s:g} messages per second; send fewer",
                re=re,
                turn=turn,
                retryable=True,
                close_code=4429 if self._refused > REFUSALS else None,
            )
        self._refused = 0
        message = parse(data, self._limits.message_bytes)
        if isinstance(message, m.SessionStart | m.SessionResume):
            raise ProtocolError(
                "bad_message", "the session is open already; end it first", re=message.id
            )
        if isinstance(message, m.SessionEnd):
            self._ended = True
            await self._hub.end(session)
            return True
        try:
            answer = await handle(session, message)
        except Exception as err:
            raise _about(message, err) from err
        if answer is not None:
            self._outbox.push(answer)
        return False

    def _ready(self, model: type[m.SessionReady], **more: str) -> str:
        session = self._session
        assert session is not None
        limits = self._limits
        ready = model(
            session=session.info.id,
            server=m.ServerInfo(name="palaver", version=__version__),
            capabilities=sorted(session.info.capabilities),
            limits=m.LimitsInfo(
                message_bytes=limits.message_bytes,
                turns=limits.turns,
                queue=limits.queue,
                resume_ms=limits.resume_ms,
                silence_ms=limits.silence_ms,
                messages_per_s=limits.messages_per_s,
            ),
            **more,  # type: ignore[arg-type]  # `reason` of a reset
        )
        return to_frame(ready)

    def _error(self, err: ProtocolError) -> None:
        self._outbox.push(
            to_frame(
                m.Error(
                    code=err.code,  # type: ignore[arg-type]  # a code of the protocol, tested
                    message=err.message[:1_000],
                    re=err.re,
                    turn=err.turn,
                    retryable=err.retryable,
                )
            )
        )

    def _must_end(self, code: int, reason: str) -> None:
        if self._closer is not None:
            return  # It ends already, for the first reason there was.
        if code == 4413:
            log.warning("a client does not read; it is disconnected")
        self._closer = self._loop.create_task(self._close_or_cut(code, reason))

    async def _close_or_cut(self, code: int, reason: str) -> None:
        """Close, and cut the connection of a client that takes not even that."""
        await self.close(code, reason)
        self._transport.abort()


def _about(message: m.ClientMessage, err: Exception) -> ProtocolError:
    """Return the error to answer a message with; a bug is logged and told without its details."""
    if not isinstance(err, ProtocolError):
        log.error("%s could not be handled", message.type, exc_info=err)
        err = ProtocolError("internal", "an error in the server; its log says more")
    err.re = message.id
    if isinstance(message, m.TurnStart):
        err.turn = message.turn
    return err
