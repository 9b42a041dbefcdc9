"""Sessions in this process: the bridge is mounted on Palaver's own port."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from palaver import messages as m
from palaver.errors import ProtocolError
from palaver.server.frames import check_version, names, parse, to_frame
from palaver.server.handlers import handle
from palaver.server.hub import Hub
from palaver_luanti.info import Info
from palaver_luanti.upstream import encode, gone

if TYPE_CHECKING:
    from palaver.gateway import Gateway
    from palaver.server.security import Principal
    from palaver.server.session import Session
    from palaver_luanti.mailbox import Mailbox

__all__ = ["LocalUpstream"]

log = logging.getLogger("palaver.luanti")


class LocalUpstream:
    """An `Upstream` that is a gateway of this process.

    Args:
        gateway: The gateway.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._hub = Hub(gateway)
        self._info = Info(gateway)
        self.turns = gateway.settings.limits.turns

    async def open(
        self, start: Mapping[str, Any], principal: Principal, mailbox: Mailbox
    ) -> LocalLine:
        """Open a session whose messages go into a mailbox."""
        message = parse(encode(start), self._gateway.settings.limits.message_bytes, first=True)
        assert isinstance(message, m.SessionStart)
        check_version(message)
        # A session uses only what a mailbox has, too.
        session = self._hub.open(message, principal, mailbox)  # type: ignore[arg-type]
        return LocalLine(self._hub, session, mailbox)

    async def ask(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Run one turn without a session."""
        sink = _Done()
        given = {key: value for key, value in fields.items() if value is not None}
        try:
            await self._gateway.ask(**given, sink=sink)
        except ValidationError as err:
            raise ProtocolError("bad_message", f"the turn cannot be used: {err}") from err
        done: dict[str, Any] = json.loads(sink.frame)
        return done

    async def personas(self) -> Mapping[str, str]:
        """Return the world's personas."""
        return {id_: one.front.name for id_, one in self._gateway.world.personas.items()}

    async def about(self) -> dict[str, Any]:
        """Return server, world and backends."""
        return await self._info.read()

    async def close(self) -> None:
        """End all sessions."""
        await self._hub.close()


class LocalLine:
    """A session of this process.

    Args:
        hub: What it is ended by.
        session: The session.
        mailbox: Where its messages go.
    """

    receipts = 0

    def __init__(self, hub: Hub, session: Session, mailbox: Mailbox) -> None:
        limits = session.gateway.settings.limits
        self.messages_per_s = limits.messages_per_s
        self._limit = limits.message_bytes
        self._hub = hub
        self._session = session
        self._mailbox = mailbox

    async def tell(self, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        """Have messages handled."""
        answers: list[str] = []
        for message in messages:
            if self._session.closed:
                raise gone("the session has ended")
            answer = await self._one(encode(message))
            if answer is not None:
                answers.append(answer)
        return answers

    async def close(self) -> None:
        """End the session."""
        await self._hub.end(self._session)
        self._mailbox.fail(gone("the session has ended"))

    async def _one(self, frame: str) -> str | None:
        try:
            return await handle(self._session, parse(frame, self._limit))
        except ProtocolError as err:
            problem = err
        except Exception:
            log.exception("a message could not be handled")
            problem = ProtocolError("internal", "an error in the server; its log says more")
        # Also of a message that could not be read.
        problem.re, problem.turn = names(frame)
        return to_frame(
            m.Error(
                code=problem.code,  # type: ignore[arg-type]  # a code of the protocol
                message=problem.message[:1_000],
                re=problem.re,
                turn=problem.turn,
                retryable=problem.retryable,
            )
        )


class _Done:
    """Keeps the last message of a turn."""

    capabilities: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.frame = ""

    def emit(self, head: str, tail: str) -> None:
        """Drop what the last message repeats anyway."""

    def end(self, head: str, tail: str) -> None:
        self.frame = f"{head}1{tail}"
