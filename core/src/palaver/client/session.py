"""What a client does beside talking: opening, asking, confirming, resetting, closing."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from palaver.client.link import Link, Target
from palaver.client.outbox import Outbox, Request
from palaver.client.state import State
from palaver.client.turn import ClientTurn
from palaver.errors import ConnectionLost, PalaverError, ServerError
from palaver.messages import CLIENT_MESSAGES, Error, SessionReady, TurnAccepted, TurnDone

__all__ = ["Session"]

MAX_WAITING = 256
"""Calls of one client that may wait for the server at once; further ones wait for their turn."""
MESSAGE_BYTES = 60_000

_log = logging.getLogger("palaver.client")


class Session:
    """One session: what is told, what comes back, and the connection that carries it.

    Args:
        target: What to connect to, and as what.
        turn_timeout_s: Longest silence of a turn, in seconds, or None for no limit.
    """

    def __init__(self, target: Target, *, turn_timeout_s: float | None) -> None:
        self._timeout_s = target.timeout_s
        self._turn_timeout_s = turn_timeout_s
        self._outbox = Outbox()
        self._state = State()
        self._turns: dict[str, ClientTurn] = {}
        self._accepted: set[str] = set()
        self._slots = asyncio.Semaphore(MAX_WAITING)
        self._link = Link(target, self._outbox, self)
        self._task: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._over: ServerError | None = None
        self._prefix = secrets.token_hex(4)
        self._count = 0

    @property
    def ready(self) -> SessionReady:
        """What the server said when it opened the session: id, version, capabilities, limits.

        Raises:
            ConnectionLost: The client is not open yet.
        """
        if self._link.ready is None:
            raise ConnectionLost("the client is not open; use `async with`")
        return self._link.ready

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._link.connected.is_set()

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise PalaverError("a client is opened once; call `connect` again for another one")
        self._task = asyncio.create_task(self._link.run(self._opened.set), name="palaver client")
        try:
            # The link's own limit is the same; this one is for what it does not foresee.
            async with asyncio.timeout(self._timeout_s + 5):
                await self._opened.wait()
        except BaseException:
            await self.close()
            raise
        if self._over is not None:
            await self.close()
            raise self._over.with_traceback(None)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session. Open turns end with `ConnectionLost`. Safe to call twice."""
        if self._over is None:
            self.on_lost(ConnectionLost("the client was closed"))
        await self._link.close()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,), timeout=self._timeout_s)

    async def tell(self, type: str, **fields: Any) -> None:
        """Send any other message of the protocol, and wait until it is handled.

        Args:
            type: Type of the message.
            **fields: Its fields; those that are None are left out.
        """
        message = _message(type, fields)
        await self.ask(message, turn=message.get("turn"))

    async def start_turn(self, turn_id: str | None, **fields: Any) -> ClientTurn:
        """Send `turn.start` and wait until it is accepted.

        Args:
            turn_id: Id of the turn, or None to make one up.
            **fields: Fields of the message; those that are None are left out.
        """
        if turn_id is None:
            self._count += 1
            turn_id = f"{self._prefix}-{self._count}"
        if turn_id in self._turns:
            raise ServerError("duplicate_turn", f"turn {turn_id!r} is still running", turn=turn_id)
        message = _message("turn.start", {"turn": turn_id, **fields})
        turn = ClientTurn(self, turn_id, fields["npc"], timeout_s=self._turn_timeout_s)
        self._turns[turn_id] = turn
        try:
            await self.ask(message, turn=turn_id, starts_turn=True)
        except BaseException:
            self._forget(turn_id)
            raise
        return turn

    async def ask(
        self, message: dict[str, Any] | None, *, turn: str | None = None, starts_turn: bool = False
    ) -> None:
        """Send a message and wait until the server has handled it, within `timeout_s`.

        Args:
            message: A checked message, or None to wait for those before it.
            turn: The turn it is about.
            starts_turn: Whether `turn.accepted` is the answer to wait for.
        """
        sent: Request | None = None
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                if self._over is not None:
                    raise self._over.with_traceback(None)
                request = self._outbox.request(
                    message,
                    on_done=None if turn is not None else self._note,
                    turn=turn,
                    starts_turn=starts_turn,
                )
                limit = self._link.ready.limits.message_bytes if self._link.ready else MESSAGE_BYTES
                if len(request.frame) > limit:
                    raise ServerError(
                        "too_large",
                        f"the message has {len(request.frame)} bytes, but the server takes at "
                        f"most {limit}; send less at once",
                        turn=turn,
                    )
                self._outbox.put(request)
                sent = request
                # Not awaited directly: a caller that gives up must not cancel the request itself.
                await asyncio.wait((request.done,))
        except BaseException as error:
            if sent is not None and not self._outbox.withdraw(sent) and starts_turn:
                # The server may have begun already; nobody will listen.
                self._abandon(turn)
            if isinstance(error, TimeoutError):
                problem = self._link.problem
                reason = problem.message if problem else "the server did not confirm it"
                raise ConnectionLost(f"not handled within {self._timeout_s} s: {reason}") from error
            raise
        sent.done.result()

    def _note(self, message: dict[str, Any]) -> None:
        """Keep what a new session would have to be told."""
        if message["type"] == "save.mark":
            self._link.save = message["save"]
        else:
            self._state.note(message)

    def _abandon(self, turn: str | None) -> None:
        cancel = {"type": "turn.cancel", "turn": turn, "heard": ""}
        self._outbox.put(self._outbox.request(cancel, turn=turn))

    def _forget(self, turn: str) -> None:
        self._turns.pop(turn, None)
        self._accepted.discard(turn)

    def on_turn(self, message: Any) -> None:
        """Take in a `turn.*` message; called by the link."""
        turn = self._turns.get(message.turn)
        if turn is None:
            return
        turn.receive(message)
        if isinstance(message, TurnAccepted):
            self._accepted.add(turn.id)
            self._outbox.accepted(turn.id)
        elif isinstance(message, TurnDone):
            # A turn that was over before we heard of its acceptance was accepted all the same.
            self._outbox.accepted(turn.id)
            self._forget(turn.id)

    def on_error(self, message: Error) -> None:
        """Take in an `error`; called by the link."""
        error = ServerError(
            message.code, message.message, turn=message.turn, retryable=message.retryable
        )
        if not self._outbox.refused(error, message.re):
            _log.warning("the server says: %s", error)

    def on_reset(self, limits_bytes: int) -> None:
        """Begin a new session with the old one's state; called by the link."""
        for name in self._accepted & set(self._turns):
            self._turns.pop(name).fail(
                ConnectionLost(
                    f"turn {name!r} was lost with its session; say it again if it still matters"
                )
            )
        self._accepted.clear()
        known = self._turns
        self._outbox.reset(self._state.messages(limits_bytes), lambda turn: turn not in known)

    def on_lost(self, error: ServerError) -> None:
        """End everything; called by the link, or when the client is closed."""
        self._over = error
        self._outbox.fail(error)
        for turn in self._turns.values():
            turn.fail(error)
        self._turns.clear()
        self._accepted.clear()
        self._opened.set()


def _message(type: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Check a message and return it as plain data, without what was left out."""
    if type not in CLIENT_MESSAGES:
        raise ValueError(f"{type!r} is no message of the protocol")
    given = {name: value for name, value in fields.items() if value is not None}
    model = CLIENT_MESSAGES[type].model_validate(given)
    return {"type": type, **model.model_dump(exclude_unset=True)}
