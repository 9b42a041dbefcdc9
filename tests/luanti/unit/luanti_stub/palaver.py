"""Palaver's exchange endpoint in virtual time: scripted replies, asks, polls and lingers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from luanti_stub.engine import STEP_S, Engine, Request

__all__ = ["Palaver"]

TICK_S = 0.01
WAKE_S = 0.1
"""A request that starts beside others waits at most so long for the engine's thread."""


@dataclass
class _Turn:
    id: str
    due: list[tuple[float, dict[str, Any]]]


@dataclass
class _Held:
    request: Request
    begins: float
    body: dict[str, Any] | None = None
    ends: float = 0.0
    lingers: bool = False


@dataclass
class Palaver:
    """A server for the mod in an engine.

    Args:
        engine: The engine; its clock is this server's.
        tokens: Of each reply.
        first_s: When the first of them comes.
        per_s: How many come in a second.
    """

    engine: Engine
    tokens: int = 12
    first_s: float = 0.3
    per_s: float = 20.0
    seed: int = 1

    alive: bool = True
    session: str | None = None
    sessions: int = 0
    seq: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    """What came from the mod, in the order in which it was handled."""
    _turns: dict[str, _Turn] = field(default_factory=dict)
    _items: list[dict[str, Any]] = field(default_factory=list)
    _held: list[_Held] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.engine.server = self._take

    def _take(self, request: Request) -> None:
        if not self.alive:
            request.fail()
            return
        beside = len(self.engine.flying()) > 1
        wait = self.dice.uniform(0, WAKE_S) if beside else 0.0
        self._held.append(_Held(request, request.at + wait))

    def kill(self) -> None:
        """Be gone: all connections fail, all sessions are forgotten."""
        self.alive = False
        self.session = None
        self._turns, self._items = {}, []
        for one in self._held:
            one.request.fail()
        self._held = []

    def words(self, turn: str) -> str:
        """Return the whole reply of a turn."""
        return "".join(self._token(turn, i) for i in range(self.tokens))

    def _token(self, turn: str, i: int) -> str:
        return f"{turn}w{i}. " if i == self.tokens - 1 else f"{turn}w{i} "

    def _handle(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        turn = message.get("turn", "")
        now = self.engine.now
        if message["type"] == "turn.start":
            due: list[tuple[float, dict[str, Any]]] = [(now, {"type": "turn.accepted"})]
            for i in range(self.tokens):
                delta = {"type": "turn.delta", "text": self._token(turn, i)}
                due.append((now + self.first_s + i / self.per_s, delta))
            done = {"type": "turn.done", "status": "completed", "text": self.words(turn)}
            due.append((due[-1][0], done))
            self._turns[turn] = _Turn(turn, due)
        elif message["type"] == "turn.cancel" and turn in self._turns:
            self._turns[turn].due = [
                (now, {"type": "turn.done", "status": "cancelled", "text": ""})
            ]

    def _push(self, turn: str, message: dict[str, Any]) -> None:
        self.seq += 1
        last = next((one for one in reversed(self._items) if one["turn"] == turn), None)
        if message["type"] == "turn.delta" and last and last["type"] == "turn.delta":
            if not last["given"]:
                self._items.remove(last)
                message = message | {"text": last["text"] + message["text"]}
        self._items.append(
            message | {"turn": turn, "seq": self.seq, "given": False, "asked": False}
        )

    def tick(self) -> None:
        """Do what is due now."""
        now = self.engine.now
        for turn in list(self._turns.values()):
            while turn.due and turn.due[0][0] <= now:
                self._push(turn.id, turn.due.pop(0)[1])
            if not turn.due:
                del self._turns[turn.id]
        for one in list(self._held):
            if one.begins <= now and self._serve(one, now):
                self._held.remove(one)

    def _serve(self, one: _Held, now: float) -> bool:
        if one.body is None:
            body = one.body = one.request.body
            one.ends = now + body["wait_ms"] / 1000
            if "start" in body:
                self.sessions += 1
                self.session, self.seq = f"s{self.sessions}", 0
                self._items = []
            elif body["session"] != self.session:
                one.request.refuse(410, "unknown_session")
                return True
            for message in body["messages"]:
                self._handle(message)
            self._items = [item for item in self._items if item["seq"] > body["cursor"]]
        turn = one.body.get("turn")
        if turn is not None:
            ready = any(i["turn"] == turn and i["type"] != "turn.accepted" for i in self._items)
            return (ready or now >= one.ends) and self._answer(one, turn)
        if not self._turns and self._items:
            return self._answer(one, None)
        if not one.lingers and self._news() and now < one.ends:
            one.lingers = True
            one.ends = now + one.body["linger_ms"] / 1000
        return now >= one.ends and self._answer(one, None)

    def _news(self) -> bool:
        asked = {one.body.get("turn") for one in self._held if one.body}
        return any(
            not item["asked"] and item["type"] != "turn.accepted" and item["turn"] not in asked
            for item in self._items
        )

    def _answer(self, one: _Held, turn: str | None) -> bool:
        assert one.body is not None
        cursor = one.body["cursor"]
        found = [i for i in self._items if i["seq"] > cursor and turn in (None, i["turn"])]
        for item in found:
            item["given"] = True
            item["asked"] = item["asked"] or turn is not None
        if turn is None and found:
            cursor = found[-1]["seq"]
        assert self.session is not None
        one.request.answer(
            *found, cursor=cursor, session=self.session, fresh="start" in one.body,
            open=len(self._turns),
        )  # fmt: skip
        return True

    def run(self, seconds: float) -> None:
        """Let time pass, for the server and the game."""
        end = self.engine.now + seconds
        while self.engine.now < end:
            for _ in range(round(STEP_S / TICK_S)):
                self.engine.now += TICK_S
                self.tick()
            self.engine.step(dtime=0.0)
