"""The mailbox: what a mod gets of a session's messages, whatever gets lost on the way."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.errors import ProtocolError
from palaver.testing.clock import run
from palaver_luanti import letters
from palaver_luanti import mailbox as module
from palaver_luanti.mailbox import Mailbox
from palaver_luanti.upstream import away, gone

LIMIT_S = 20.0
EVER = 1_000.0
"""A wait that no test gets to the end of."""


class Box(Mailbox):
    """A mailbox with a session's part."""

    def say(self, turn: str, kind: str, **fields: Any) -> None:
        """Push a message with the next `seq`."""
        message = {"type": f"turn.{kind}", "turn": turn, "seq": self.seq + 1, **fields}
        self.push(json.dumps(message))

    def got(self, cursor: int = 0, most: int = 200, turn: str | None = None) -> list[Any]:
        """Take messages."""
        frames, _, _ = self.take(cursor, most, turn)
        return [json.loads(frame) for frame in frames]


def kinds(messages: list[Any]) -> list[str]:
    """Return types and turns."""
    return [f"{one['turn']} {one['type'].removeprefix('turn.')}" for one in messages]


@pytest.fixture
def box() -> Box:
    """A mailbox in which the turns `a` and `b` are open."""
    box = Box()
    box.say("a", "accepted")
    box.say("b", "accepted")
    return box


def waiting(wait: Any) -> asyncio.Task[Any]:
    """Start to wait."""
    return asyncio.create_task(asyncio.wait_for(wait, LIMIT_S))


def spoken(box: Box) -> None:
    """Let the turn `a` have begun to speak, which the mod has seen."""
    box.say("a", "delta", text="Well. ")
    box.seen(box.take(0, 200)[1])


async def settled() -> None:
    """Let everything that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


# --- joining --------------------------------------------------------------------------------------


def test_pieces_become_one(box: Box) -> None:
    """Pieces of one turn are joined, also with another turn's between them; `seq` is the last's."""
    for piece in ("A", "h", ", "):
        box.say("a", "delta", text=piece)
        box.say("b", "delta", text=piece.upper())
    box.say("a", "delta", text="\U0001f600 \u00fc\n")
    pieces = [one for one in box.got() if one["type"] == "turn.delta"]
    assert [(one["turn"], one["text"], one["seq"]) for one in pieces] == [
        ("b", "AH, ", 8),
        ("a", "Ah, \U0001f600 \u00fc\n", 9),
    ]


def test_order_of_a_turn(box: Box) -> None:
    """Pieces are not joined over what lies between them in their turn."""
    box.say("a", "delta", text="You may ")
    box.say("a", "delta", text="have it.")
    box.say("a", "action", call="c1", name="give", args={})
    box.say("a", "delta", text=" Farewell.")
    box.say("a", "done", text="You may have it. Farewell.")
    assert kinds(box.got(turn="a")) == ["a accepted", "a delta", "a action", "a delta", "a done"]


def test_given_pieces_stay(box: Box) -> None:
    """What was given out is not joined with what comes later: its `seq` says what the mod has."""
    box.say("a", "delta", text="One ")
    assert box.got(turn="a")[-1]["text"] == "One "
    box.say("a", "delta", text="two ")
    box.say("a", "delta", text="three")
    assert [one.get("text") for one in box.got(turn="a")] == [None, "One ", "two three"]


def test_repeats_are_dropped(box: Box) -> None:
    """A message that comes once more after a cut is not given twice."""
    box.say("a", "delta", text="One")
    box.push('{"type":"turn.delta","turn":"a","seq":3,"text":"One"}')
    box.push('{"type":"pong"}')
    assert kinds(box.got()) == ["a accepted", "b accepted", "a delta"]
    assert box.got()[-1]["text"] == "One"


def test_halves_of_a_character(box: Box) -> None:
    """Two halves become one character; a half that stays alone is no reason to lose an answer."""
    for piece in ("Ha \ud83d", "\ude00!", " \ud83d"):
        box.say("a", "delta", text=piece)
    assert box.got(turn="a")[-1]["text"] == "Ha \U0001f600! \ufffd"
    box.say("a", "done", text="\ude00 \\ud83d \U0001f600 \ud83d\ud83d")
    assert box.got(turn="a")[-1]["text"] == "\ufffd \\ud83d \U0001f600 \ufffd\ufffd"


# --- cursor ---------------------------------------------------------------------------------------


def test_seen(box: Box) -> None:
    """What was seen is forgotten; what was not comes again, as often as it takes."""
    box.say("a", "delta", text="One")
    for _ in range(2):
        frames, cursor, more = box.take(0, 200)
        assert (len(frames), cursor, more) == (3, 3, False)
    box.seen(2)
    assert kinds(box.got()) == ["a delta"]
    box.seen(3)
    box.seen(1)
    assert box.got() == []
    assert box.take(3, 200) == ([], 3, False)


def test_cursor_of_the_future(box: Box) -> None:
    """A cursor beyond what was sent is refused with what to send."""
    with pytest.raises(ProtocolError, match="send the `cursor` of this session's last answer"):
        box.seen(3)


def test_an_ask_moves_no_cursor(box: Box) -> None:
    """An ask brings one turn's messages and leaves the cursor to the poll."""
    box.say("a", "delta", text="One")
    frames, cursor, more = box.take(0, 200, "a")
    assert (len(frames), cursor, more) == (2, 0, False)


def test_at_most(box: Box) -> None:
    """Beyond `max` there is `more`, and the cursor stands before it."""
    for turn in "abab":
        box.say(turn, "emotion", name="joy", intensity=1)
    frames, cursor, more = box.take(0, 4)
    assert (len(frames), cursor, more) == (4, 4, True)
    frames, cursor, more = box.take(cursor, 4)
    assert (len(frames), cursor, more) == (2, 6, False)


def test_size(box: Box) -> None:
    """An answer stays below its size, and a single message is given however large."""
    for size in (40_000, 30_000, 70_000, 10):
        box.say("a", "sentence", text="x" * size)
    cursor, sizes = 2, []
    while True:
        frames, cursor, more = box.take(cursor, 200)
        sizes.append([len(frame) for frame in frames])
        if not more:
            break
    assert [len(one) for one in sizes] == [1, 1, 1, 1]


@given(st.data())
def test_nothing_is_lost_or_doubled(data: st.DataObject) -> None:
    """A mod that ignores what it has of a turn shows every text whole and does each thing once.

    Whatever comes when, whichever answers get lost, and whatever brings them.
    """
    box = Box()
    said: dict[str, str] = {}
    acted: list[str] = []
    over: set[str] = set()
    mod = _Mod()
    for number in range(data.draw(st.integers(1, 40))):
        turn = data.draw(st.sampled_from("abc"))
        what = data.draw(
            st.sampled_from(["delta", "delta", "delta", "action", "done", "ask", "poll", "seen"])
        )
        if what == "ask":
            mod.take(box, data, turn)
        elif what == "poll":
            mod.take(box, data, None)
        elif what == "seen":
            box.seen(mod.cursor)
        elif turn not in over:
            if turn not in said:
                said[turn] = ""
                box.say(turn, "accepted")
            if what == "delta":
                said[turn] += f"<{number}>"
                box.say(turn, "delta", text=f"<{number}>")
            elif what == "action":
                acted.append(f"{turn}{number}")
                box.say(turn, "action", call=f"{turn}{number}")
            else:
                over.add(turn)
                box.say(turn, "done")
    box.seen(mod.cursor)
    mod.apply([json.loads(frame) for frame in box.take(mod.cursor, 200)[0]])
    assert {turn: mod.shown.get(turn, "") for turn in said} == said
    assert sorted(mod.acted) == sorted(acted)
    assert mod.over == over


class _Mod:
    """Does with answers what the mod does."""

    def __init__(self) -> None:
        self.cursor = 0
        self.shown: dict[str, str] = {}
        self.acted: list[str] = []
        self.over: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, box: Box, data: st.DataObject, turn: str | None) -> None:
        frames, cursor, _ = box.take(self.cursor, data.draw(st.integers(1, 5)), turn)
        if data.draw(st.booleans()):  # else the answer is lost
            self.cursor = cursor
            self.apply([json.loads(frame) for frame in frames])

    def apply(self, messages: list[Any]) -> None:
        for one in messages:
            if one["seq"] <= self._last.get(one["turn"], 0):
                continue
            self._last[one["turn"]] = one["seq"]
            if one["type"] == "turn.delta":
                self.shown[one["turn"]] = self.shown.get(one["turn"], "") + one["text"]
            elif one["type"] == "turn.action":
                self.acted.append(one["call"])
            elif one["type"] == "turn.done":
                assert one["turn"] not in self.over
                self.over.add(one["turn"])


# --- waiting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["delta", "action", "done"])
async def test_ask_waits(box: Box, kind: str) -> None:
    """An ask waits for the first text, action or end of its turn, and for nothing else."""
    ask = waiting(box.ask("a", EVER))
    await settled()
    box.say("b", "delta", text="Hm.")
    box.say("a", "emotion", name="joy", intensity=1)
    await settled()
    assert not ask.done()
    box.say("a", kind, text="")
    await ask


async def test_ask_that_need_not_wait(box: Box) -> None:
    """Where there is something already, or the turn is over, nothing is waited for."""
    box.say("a", "delta", text="One")
    await box.ask("a", EVER)
    box.say("a", "done")
    await box.ask("a", EVER)
    box.seen(box.seq)
    await box.ask("a", EVER)
    await box.ask("nobody", EVER)
    await box.ask("b", 0)


async def test_time_is_up(box: Box) -> None:
    """Nobody waits longer than was asked for."""
    await box.ask("a", 0.01)
    assert await box.poll(0.01, 1.0) is True


async def test_poll_waits_for_news(box: Box) -> None:
    """A poll waits for a message; that a turn has begun is none."""
    poll = waiting(box.poll(EVER, 0))
    await settled()
    box.say("c", "accepted")
    await settled()
    assert not poll.done()
    box.say("c", "emotion", name="joy", intensity=1)
    assert await poll is True


async def test_poll_leaves_an_ask_its_turn(box: Box) -> None:
    """While an ask holds a turn its messages do not wake the poll; later ones do."""
    ask = waiting(box.ask("a", EVER))
    poll = waiting(box.poll(EVER, 0))
    await settled()
    box.say("a", "delta", text="One ")
    await ask
    assert kinds(box.got(turn="a")) == ["a accepted", "a delta"]
    await settled()
    assert not poll.done()
    again = waiting(box.poll(EVER, 0))
    assert await poll is False
    await settled()
    assert not again.done(), "what the ask brought wakes no poll"
    box.say("a", "delta", text="two")
    assert await again is True
    assert [one.get("text") for one in box.got()] == [None, None, "One ", "two"]


async def test_poll_lingers(box: Box) -> None:
    """After the first message a poll waits for more; an action ends that."""
    spoken(box)
    poll = waiting(box.poll(EVER, EVER))
    await settled()
    box.say("a", "delta", text="One ")
    await settled()
    box.say("a", "delta", text="two ")
    box.say("b", "done")
    await settled()
    assert not poll.done()
    box.say("a", "action", call="c1")
    assert await poll is True
    assert kinds(box.got()) == ["a delta", "b done", "a action"]


async def test_first_words_wait_for_nothing(box: Box) -> None:
    """A poll that brings a turn's first words brings them at once, also out of a linger."""
    poll = waiting(box.poll(EVER, EVER))
    await settled()
    box.say("a", "emotion", name="joy", intensity=1)
    box.say("a", "delta", text="One ")
    assert await poll is True
    box.seen(box.take(0, 200)[1])
    poll = waiting(box.poll(EVER, EVER))
    await settled()
    box.say("a", "delta", text="two ")
    await settled()
    assert not poll.done()
    box.say("b", "delta", text="Hm.")
    assert await poll is True
    assert kinds(box.got()) == ["a delta", "b delta"]


async def test_no_linger_at_the_end(box: Box) -> None:
    """When the last open turn is done there is nothing to wait for."""
    poll = waiting(box.poll(EVER, EVER))
    await settled()
    box.say("a", "done")
    await settled()
    assert not poll.done()
    box.say("b", "done")
    assert await poll is True
    assert box.open == 0


async def test_urgent_before_the_poll(box: Box) -> None:
    """An action that waits already is brought without a linger, and does not hurry the next."""
    spoken(box)
    box.say("a", "action", call="c1")
    assert await waiting(box.poll(EVER, EVER)) is True
    box.got()
    box.seen(box.seq)
    box.say("a", "delta", text="One")
    poll = waiting(box.poll(EVER, EVER))
    await settled()
    assert not poll.done()
    box.say("a", "action", call="c2")
    await poll


async def test_poll_ends_with_the_last_turn_of_an_ask(box: Box) -> None:
    """Where an ask gets the end of the last turn, no poll is left behind."""
    box.say("b", "done")
    box.got()
    box.seen(box.seq)
    ask, poll = waiting(box.ask("a", EVER)), waiting(box.poll(EVER, EVER))
    await settled()
    box.say("a", "done")
    await ask
    assert await poll is True


async def test_answer_of_an_ask_that_got_lost(box: Box) -> None:
    """What an ask brought is brought by the poll as well, at once where nothing else is to come."""
    box.say("b", "done")
    box.say("a", "delta", text="Yes.")
    box.say("a", "done")
    box.got(turn="a")
    box.got(turn="b")
    assert await waiting(box.poll(EVER, EVER)) is True
    assert kinds(box.got()) == ["a accepted", "b accepted", "b done", "a delta", "a done"]


async def test_mod_that_leaves_an_ask(box: Box) -> None:
    """What came in for an ask whose mod has left wakes the poll."""
    ask, poll = waiting(box.ask("a", EVER)), waiting(box.poll(EVER, 0))
    await settled()
    box.say("a", "delta", text="One")
    ask.cancel()
    assert await poll is True
    assert kinds(box.got()) == ["a accepted", "b accepted", "a delta"]
    with pytest.raises(asyncio.CancelledError):
        await ask


async def test_feeling_for_an_ask_whose_mod_has_left(box: Box) -> None:
    """Also what an ask does not wait for wakes the poll then, unless another ask is there."""
    asks = [waiting(box.ask("a", EVER)), waiting(box.ask("a", EVER))]
    poll = waiting(box.poll(EVER, 0))
    await settled()
    box.say("a", "emotion", name="joy", intensity=1)
    for ask in asks:
        assert not poll.done()
        ask.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ask
    assert await poll is True


async def test_one_poll(box: Box) -> None:
    """A later poll takes the place of an older one, which brings nothing."""
    older, later = waiting(box.poll(EVER, EVER)), waiting(box.poll(EVER, 0))
    assert await older is False
    box.say("a", "delta", text="One")
    assert await later is True


def test_how_long_is_waited() -> None:
    """Waits and lingers are as long as was asked for, to the step."""

    async def talk() -> list[float]:
        loop = asyncio.get_running_loop()
        box, times = Box(), []
        box.say("a", "accepted")
        spoken(box)
        loop.call_at(1.0, lambda: box.say("a", "delta", text="One "))
        loop.call_at(1.1, lambda: box.say("a", "delta", text="two "))
        loop.call_at(2.0, lambda: box.say("a", "delta", text="three "))
        loop.call_at(2.1, lambda: box.say("a", "action", call="c1"))
        loop.call_at(3.0, lambda: box.say("a", "done"))
        for linger_s in (0.15, 0.15, 0.15, 0.15):
            await box.poll(2.0, linger_s)
            times.append(round(loop.time(), 3))
            box.seen(box.take(0, 200)[1])
        await box.ask("a", 2.0)
        return times

    assert run(talk()) == [1.15, 2.1, 3.0, 5.0]


# --- ends -----------------------------------------------------------------------------------------


async def test_over(box: Box) -> None:
    """When the session is over, everybody is told at once."""
    ask, poll = waiting(box.ask("a", EVER)), waiting(box.poll(EVER, 0))
    await settled()
    box.fail(gone("it was restarted"))
    for wait in (ask, poll, box.ask("a", EVER), box.poll(EVER, 0)):
        with pytest.raises(ProtocolError, match="it was restarted; open a session"):
            await wait
    box.say("a", "delta", text="One")
    assert box.got() == []
    assert box.open == 0


async def test_away(box: Box) -> None:
    """While the gateway is away nobody waits; afterwards everything is still there."""
    spoken(box)
    box.say("a", "delta", text="One")
    ask, poll = waiting(box.ask("b", EVER)), waiting(box.poll(EVER, EVER))
    await settled()
    box.pause(away("it is away"))
    for wait in (ask, poll, box.ask("a", EVER), box.poll(EVER, 0)):
        with pytest.raises(ProtocolError, match="away"):
            await wait
    box.pause(None)
    await box.ask("a", EVER)
    assert kinds(box.got()) == ["a delta"]


def test_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mailbox that nobody empties ends its session, once, and keeps nothing."""
    monkeypatch.setattr(module, "KEPT_BYTES", 1_000)
    box, full = Box(), []
    box.full = lambda: full.append(True)
    for _ in range(50):
        box.say("a", "sentence", text="x" * 100)
    assert full == [True]
    assert box.over is not None
    assert box.got() == []


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of messages is bounded as their size is; pieces of text are one."""
    monkeypatch.setattr(module, "KEPT_MESSAGES", 10)
    box = Box()
    for _ in range(50):
        box.say("a", "delta", text="x")
    assert box.over is None
    for _ in range(11):
        box.say("a", "sentence", text="x")
    assert box.over is not None


def test_what_was_brought_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mod that only asks and never polls goes on for ever: what it was given is forgotten."""
    monkeypatch.setattr(module, "KEPT_BYTES", 5_000)
    box = Box()
    for number in range(200):
        turn = f"t{number}"
        box.say(turn, "accepted")
        box.say(turn, "done", text="x" * 200)
        assert kinds(box.got(turn=turn)) == [f"{turn} accepted", f"{turn} done"]
    assert box.over is None


def test_an_action_says_how_long_it_waited(monkeypatch: pytest.MonkeyPatch, box: Box) -> None:
    """Each time it is given out: what an NPC has given up is not to be done any more."""
    times = iter([5.0, 5.0, 5.25, 7.0])
    monkeypatch.setattr(letters, "monotonic", lambda: next(times))
    box.say("a", "action", call="a.1", name="give_item", args={})
    given = [box.got() for _ in range(3)]
    ages = [one["age_ms"] for messages in given for one in messages if "age_ms" in one]
    assert ages == [0, 250, 2000]
    assert kinds(given[0])[-1] == "a action"
