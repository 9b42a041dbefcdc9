"""A turn as the client sees it: a stream of events that always ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from palaver.errors import ConnectionLost, ServerError
from palaver.messages import (
    TurnAccepted,
    TurnAction,
    TurnDelta,
    TurnDone,
    TurnEmotion,
    TurnSentence,
)

if TYPE_CHECKING:
    from palaver.client.session import Session

__all__ = ["ClientTurn", "TurnEvent"]

TurnEvent: TypeAlias = TurnDelta | TurnSentence | TurnEmotion | TurnAction | TurnDone
"""What iterating over a turn yields."""

MERGE_AFTER = 256
"""Unread events after which further text is added to the last one."""
MAX_EVENTS = 20_000
"""Unread events of one turn; more than a reply of the protocol's length can have."""


class ClientTurn:
    """One turn: what an NPC says and does in answer to an utterance or a cue.

    Iterating yields typed events as they come and ends after `TurnDone`. Leaving the loop early
    does not stop the NPC: `cancel` does. Whoever reads slowly loses nothing: after 256 unread
    events, text is joined to the text before it.

    Attributes:
        id: The turn's id.
        npc: Who answers.
        tier: The policy it runs under, once it is accepted.
    """

    def __init__(self, client: Session, turn: str, npc: str, *, timeout_s: float | None) -> None:
        self.id, self.npc = turn, npc
        self.tier: str | None = None
        self._client = client
        self._timeout_s = timeout_s
        self._events: deque[TurnEvent] = deque()
        self._result: TurnDone | None = None
        self._error: ServerError | None = None
        self._pulse = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether the reply has ended, one way or the other; events may still be unread."""
        return self._result is not None or self._error is not None

    def __aiter__(self) -> AsyncIterator[TurnEvent]:
        return self

    async def __anext__(self) -> TurnEvent:
        """Return the next event.

        Raises:
            ServerError: The server gave the turn up.
            ConnectionLost: The session ended before the turn did, or the server was silent for
                longer than the client's `turn_timeout_s`.
        """
        while not self._events:
            if self._error is not None:
                raise self._error.with_traceback(None)
            if self._result is not None:
                raise StopAsyncIteration
            await self._change()
        return self._events.popleft()

    async def done(self) -> TurnDone:
        """Wait for the end and return it: the whole text, who spoke, the trail, times and cost.

        Raises:
            ServerError: As for iterating.
            ConnectionLost: As for iterating.
        """
        while self._result is None:
            if self._error is not None:
                raise self._error.with_traceback(None)
            await self._change()
        return self._result

    async def text(self) -> str:
        """Wait for the end and return everything that was said.

        Raises:
            ServerError: As for iterating.
            ConnectionLost: As for iterating.
        """
        return (await self.done()).text

    async def cancel(self, heard: str | None = None) -> None:
        """Stop the NPC. `TurnDone` with the status `cancelled` still follows; too late is no error.

        Args:
            heard: The beginning of the text that was really shown or spoken; only that is
                remembered, and nothing if it is None.

        Raises:
            ServerError: The server refuses.
            ConnectionLost: Not confirmed within the client's `timeout_s`.
        """
        await self._client.tell("turn.cancel", turn=self.id, heard=heard)

    async def heard(self) -> None:
        """Say that the reply was heard to its end, and is now to be remembered.

        Only for clients that were opened with the capability `heard`; for others a completed
        turn counts as heard.

        Raises:
            ServerError: The server refuses.
            ConnectionLost: Not confirmed within the client's `timeout_s`.
        """
        await self._client.tell("turn.heard", turn=self.id)

    async def feedback(
        self, kind: Literal["skip", "like", "dislike", "report"], note: str | None = None
    ) -> None:
        """Say what the player thinks of the reply.

        Args:
            kind: What they did.
            note: Their words, at most 1,000 characters.

        Raises:
            ServerError: The server refuses.
            ConnectionLost: Not confirmed within the client's `timeout_s`.
        """
        await self._client.tell("turn.feedback", turn=self.id, kind=kind, note=note)

    async def action_result(self, call: str, *, ok: bool, message: str | None = None) -> None:
        """Accept or refuse an action, before it is carried out.

        Args:
            call: `call` of the `TurnAction`.
            ok: Whether the engine carries it out.
            message: Why, in words for the model, at most 1,000 characters.

        Raises:
            ServerError: The server refuses.
            ConnectionLost: Not confirmed within the client's `timeout_s`.
        """
        await self._client.tell("action.result", turn=self.id, call=call, ok=ok, message=message)

    async def _change(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._pulse.wait()
        except TimeoutError:
            raise ConnectionLost(
                f"no word about turn {self.id!r} for {self._timeout_s} s; cancel it, or give "
                "`connect` a longer `turn_timeout_s`"
            ) from None

    def _wake(self) -> None:
        # Everybody who waits now is woken; whoever comes later looks at the state first.
        self._pulse.set()
        self._pulse.clear()

    def receive(self, event: TurnEvent | TurnAccepted) -> None:
        """Take in an event; called by the client, in the order of `seq`."""
        if self.is_over:
            return
        if isinstance(event, TurnAccepted):
            self.tier = event.tier
        elif isinstance(event, TurnDone):
            self._result = event
            self._events.append(event)
        elif len(self._events) >= MAX_EVENTS:
            self.fail(ServerError("internal", f"turn {self.id!r} has too many events"))
        else:
            self._append(event)
        self._wake()

    def _append(self, event: TurnEvent) -> None:
        last = self._events[-1] if len(self._events) >= MERGE_AFTER else None
        if isinstance(last, TurnDelta) and isinstance(event, TurnDelta):
            text = last.text + event.text
            self._events[-1] = event.model_copy(update={"text": text})
        else:
            self._events.append(event)

    def fail(self, error: ServerError) -> None:
        """End the turn with an error; called by the client."""
        if not self.is_over:
            self._error = error
            self._wake()
