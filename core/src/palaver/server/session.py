"""A session: what one engine has open. It outlives a cut connection for the resume window."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from palaver.errors import ProtocolError
from palaver.messages import TurnStart
from palaver.turn.confirm import Answers
from palaver.turn.outgoing import accepted_message

if TYPE_CHECKING:
    from palaver.game import Game, Place
    from palaver.gateway import Gateway
    from palaver.server.outbox import Outbox
    from palaver.server.security import Principal
    from palaver.session_info import SessionInfo
    from palaver.turn.model import Turn

__all__ = ["Session", "TurnRecord"]

log = logging.getLogger("palaver.session")

REPLAY_S = 60.0
"""Age up to which messages are kept for a client that resumes, in seconds."""
KEPT_TURNS = 128
"""Turns that are over and still known, for repeats, `turn.heard` and feedback."""
END_S = 5.0
"""Time for turns to give up when their session ends, in seconds."""


@dataclass(slots=True)
class TurnRecord:
    """A turn as its session knows it.

    Attributes:
        request: What the client sent.
        turn: The turn; None once it is over and decided what is remembered of it.
        accepted: Its `turn.accepted` without `seq`.
        task: The task that runs it.
        done: Its `turn.done` without `seq`, once it is over.
        heard: How much was heard, as a `turn.cancel` said, or None.
    """

    request: TurnStart
    turn: Turn | None
    accepted: tuple[str, str]
    task: asyncio.Task[None] | None = None
    done: tuple[str, str] | None = None
    heard: str | None = None


class _TurnOut:
    """The sink of one turn: keeps its `turn.done` for repeats."""

    __slots__ = ("_record", "capabilities", "emit")

    def __init__(self, session: Session, record: TurnRecord) -> None:
        self.capabilities = session.info.capabilities
        # The session's own: it is called for every piece of text.
        self.emit = session.emit
        self._record = record

    def end(self, head: str, tail: str) -> None:
        self._record.done = (head, tail)
        self.emit(head, tail)


@dataclass(slots=True, eq=False)
class Session:
    """What one engine has open.

    Attributes:
        info: Id, game, client, role and capabilities.
        principal: Who opened it.
        gateway: What runs its turns.
        game: Its game.
        outbox: The queue of its connection, or None while it is cut off.
        turns: Turns by id, oldest first: all that run, and the last that are over.
        closed: Whether it is over.
    """

    info: SessionInfo
    principal: Principal
    gateway: Gateway
    game: Game
    outbox: Outbox | None = None
    turns: OrderedDict[str, TurnRecord] = field(default_factory=OrderedDict)
    closed: bool = False
    _seq: int = 0
    _replay: deque[tuple[int, float, str]] = field(default_factory=deque)
    _replay_bytes: int = 0
    _running: int = 0
    _limit_bytes: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __post_init__(self) -> None:
        self._limit_bytes = self.gateway.settings.limits.replay_bytes
        self.game.sessions += 1

    def emit(self, head: str, tail: str) -> None:
        """Number a message, keep it for a resume, and send it if there is a connection."""
        self._seq = seq = self._seq + 1
        frame = f"{head}{seq}{tail}"
        now = self._loop.time()
        replay = self._replay
        replay.append((seq, now, frame))
        self._replay_bytes += len(frame)
        # The last one may be larger than all that is kept; then nothing is.
        while replay and (self._replay_bytes > self._limit_bytes or replay[0][1] < now - REPLAY_S):
            self._replay_bytes -= len(replay.popleft()[2])
        if self.outbox is not None:
            self.outbox.push(frame)

    def missed(self, last_seq: int) -> list[str] | None:
        """Return the messages after `last_seq`, or None if they are not all there any more.

        Also None for a number that was never sent.
        """
        if last_seq > self._seq:
            return None
        if last_seq == self._seq:
            return []
        if not self._replay or self._replay[0][0] > last_seq + 1:
            return None
        return [frame for seq, _, frame in self._replay if seq > last_seq]

    def start_turn(self, request: TurnStart) -> None:
        """Accept a turn and run it in a task of this session.

        A repeat of the same message is harmless: it gets its acceptance or its end again.

        Raises:
            ProtocolError: It cannot be accepted.
        """
        known = self.turns.get(request.turn)
        if known is not None:
            self._repeat(known, request)
            return
        limits = self.gateway.settings.limits
        if self._running >= limits.turns:
            raise ProtocolError(
                "overloaded",
                f"{limits.turns} turns are in flight in this session; wait for one to finish",
                turn=request.turn,
                retryable=True,
            )
        turn = self.gateway.make_turn(self.game, request)
        turn.session = self.info.id
        if "action" in self.info.capabilities and self.principal.role == "engine":
            # A player's token may not answer for the game, so nobody would.
            turn.answers = Answers()
        place = self.gateway.join(self.game, turn)
        record = TurnRecord(request, turn, accepted_message(turn))
        self.turns[request.turn] = record
        self._running += 1
        self.emit(*record.accepted)
        record.task = self._loop.create_task(self._run(record, turn, place), name=f"turn {turn.id}")
        record.task.add_done_callback(_look)

    def cancel_turn(self, turn: str, heard: str | None) -> None:
        """Stop a turn; too late is no error."""
        record = self.turns.get(turn)
        if record is None:
            return
        if heard is not None:
            record.heard = heard
        if record.done is None and record.task is not None:
            # Not at once: a task that is cancelled before its first step never takes it, and the
            # turn would have no end.
            self._loop.call_soon(record.task.cancel)
            return
        if heard is not None:
            # Without it nothing is known of what was heard; `turn.heard` may still come.
            self._settle(record)

    def answer_action(self, turn: str, call: str, ok: bool, message: str | None) -> None:
        """Take the engine's answer to an action; one that nobody waits for does no harm."""
        record = self.turns.get(turn)
        answers = record.turn.answers if record is not None and record.turn is not None else None
        if answers is None or not answers.answer(call, ok=ok, message=message):
            log.debug("nobody waits for an answer to the call %r of turn %r", call, turn)

    def heard_turn(self, turn: str) -> None:
        """Remember a turn that was heard to its end, for clients that tell."""
        record = self.turns.get(turn)
        if record is not None and record.done is not None and record.turn is not None:
            record.heard = record.turn.result.text
            self._settle(record)

    async def end(self) -> None:
        """Cancel its turns and close it; safe to call twice."""
        if self.closed:
            return
        self.closed = True
        await asyncio.sleep(0)  # a turn that was accepted just now takes its first step, see above
        tasks = [record.task for record in self.turns.values() if record.task is not None]
        running = [task for task in tasks if not task.done()]
        for task in running:
            task.cancel()
        if running:
            _, late = await asyncio.wait(running, timeout=END_S)
            if late:
                log.error("%d turns did not give up within %.0f s", len(late), END_S)
        self.game.sessions -= 1
        self.gateway.session_closed(self.info)

    async def _run(self, record: TurnRecord, turn: Turn, place: Place) -> None:
        try:
            await self.gateway.run(turn, self.game, place, _TurnOut(self, record))
        finally:
            self._running -= 1
            record.task = None
            if "heard" not in self.info.capabilities or record.heard is not None:
                self._settle(record)
            self._forget_old()

    def _repeat(self, record: TurnRecord, request: TurnStart) -> None:
        if record.request.model_copy(update={"id": None}) != request.model_copy(
            update={"id": None}
        ):
            raise ProtocolError(
                "duplicate_turn",
                f"the turn {request.turn!r} exists with other content; use a new id for each turn",
                turn=request.turn,
            )
        self.emit(*(record.done or record.accepted))

    def _settle(self, record: TurnRecord) -> None:
        """Decide once what is remembered: what was heard, as far as anybody said."""
        turn = record.turn
        if turn is None or record.done is None:
            return
        # With its prompt and its world a turn is large, and only its messages are needed now.
        record.turn = None
        result = turn.result
        if record.heard is not None:
            heard = _common_start(result.text, record.heard)
        elif result.status == "cancelled":
            heard = ""
        else:
            heard = result.text
        self.gateway.remember(turn, heard)

    def _forget_old(self) -> None:
        while len(self.turns) > KEPT_TURNS + self._running:
            oldest = next(
                (name for name, record in self.turns.items() if record.done is not None), None
            )
            if oldest is None:
                return
            del self.turns[oldest]


def _look(task: asyncio.Task[None]) -> None:
    """Log what no turn should ever raise."""
    if not task.cancelled() and task.exception() is not None:
        log.error("%s ended with a bug", task.get_name(), exc_info=task.exception())


def _common_start(text: str, heard: str) -> str:
    """Return the part of the reply that was heard, also where the client's text differs."""
    for index, (ours, theirs) in enumerate(zip(text, heard, strict=False)):
        if ours != theirs:
            return text[:index]
    return text[: len(heard)]
