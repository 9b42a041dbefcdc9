"""How often text goes out: what follows the first words of a reply is joined for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from palaver.testing.clock import run
from palaver.testing.gateways import Sink
from palaver.testing.turns import make_turn
from palaver.turn.deliver import Reply
from palaver.turn.events import Emotion
from palaver.turn.pace import Pace

WINDOW_S = 0.03
Step = Callable[[Reply], Coroutine[Any, Any, None]]


def deliver(step: Step, window_s: float = WINDOW_S) -> Sink:
    """Deliver a reply in virtual time, and return what came of it."""

    async def main() -> Sink:
        sink = Sink()
        reply = Reply(make_turn(), sink, asyncio.get_running_loop().time, Pace(window_s))
        await step(reply)
        reply.finish()
        return sink

    return run(main())


def deltas(sink: Sink) -> list[tuple[float, str]]:
    """Return the deltas with their times since the first, in milliseconds."""
    frames = sink.of("turn.delta")
    return [(round((one.at - frames[0].at) * 1000), one.fields["text"]) for one in frames]


async def ten_a_window(reply: Reply) -> None:
    """Say ten pieces, one every ten milliseconds."""
    for number in range(10):
        reply.say(f"{number}, ")
        await asyncio.sleep(0.01)


def test_first_words_wait_for_nothing() -> None:
    """The first piece goes out at once, and those after it together."""
    sink = deliver(ten_a_window)
    times = [at for at, _ in deltas(sink)]
    assert deltas(sink)[0] == (0, "0,")
    assert sink.text == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9,"
    assert len(times) <= 4


def test_nothing_waits_longer_than_the_window() -> None:
    """A piece that nothing follows goes out when its time is over."""

    async def one_more(reply: Reply) -> None:
        reply.say("Good")
        await asyncio.sleep(0.005)
        reply.say(" evening")
        await asyncio.sleep(1)

    assert deltas(deliver(one_more)) == [(0, "Good"), (35, " evening")]


def test_end_waits_for_nothing() -> None:
    """What waits goes out before the reply ends."""

    async def at_once(reply: Reply) -> None:
        for piece in ("Good", " eve", "ning."):
            reply.say(piece)

    assert deltas(deliver(at_once)) == [(0, "Good"), (0, " evening.")]


def test_nothing_overtakes_text() -> None:
    """A feeling between two pieces stays between them."""

    async def feel(reply: Reply) -> None:
        reply.say("Good")
        reply.say(" evening.")
        reply.show(Emotion("joy", 0.5))
        reply.say(" Sit.")

    kinds = [frame.type for frame in deliver(feel).frames if frame.type != "turn.sentence"]
    assert kinds == ["turn.delta", "turn.delta", "turn.emotion", "turn.delta"]


def test_sentences_follow_their_text() -> None:
    """A sentence is told after the pieces that it is made of, with the same text."""

    async def two(reply: Reply) -> None:
        for piece in ("Good", " even", "ing. ", "Sit", " down."):
            reply.say(piece)
            await asyncio.sleep(0.01)

    sink = deliver(two)
    assert [one.fields["text"] for one in sink.of("turn.sentence")] == [
        "Good evening.",
        "Sit down.",
    ]
    seen = ""
    for frame in sink.frames:
        if frame.type == "turn.delta":
            seen += frame.fields["text"]
        elif frame.type == "turn.sentence":
            start = frame.fields["start"]
            assert seen[start:].startswith(frame.fields["text"])


@pytest.mark.parametrize("pieces", [1, 5])
def test_window_of_nothing_joins_nothing(pieces: int) -> None:
    """With 0 every piece is a message of its own."""

    async def say(reply: Reply) -> None:
        for number in range(pieces):
            reply.say(f"{number},")

    assert len(deltas(deliver(say, 0))) == pieces


def test_one_timer_for_all() -> None:
    """However many replies wait, one timer lets them out."""

    async def main() -> None:
        loop, pace = asyncio.get_running_loop(), Pace(WINDOW_S)
        timers = 0
        usual = loop.call_later

        def count(*args: Any, **more: Any) -> asyncio.TimerHandle:
            nonlocal timers
            timers += 1
            return usual(*args, **more)

        loop.call_later = count  # type: ignore[method-assign]  # counts, and does the same
        sinks = [Sink() for _ in range(50)]
        for sink in sinks:
            reply = Reply(make_turn(), sink, loop.time, pace)
            reply.say("Good")
            reply.say(" evening.")
        assert timers == 1
        await asyncio.sleep(WINDOW_S * 2)
        assert {sink.text for sink in sinks} == {"Good evening."}

    run(main())


def test_a_sink_with_a_bug_is_its_own_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """The text of other replies goes out, now and later."""

    class Broken(Sink):
        def emit(self, head: str, tail: str) -> None:
            super().emit(head, tail)
            if len(self.frames) == 2:
                raise RuntimeError("a bug")

    async def main() -> None:
        loop, pace = asyncio.get_running_loop(), Pace(WINDOW_S)
        sinks = [Sink(), Broken(), Sink()]
        replies = [Reply(make_turn(), sink, loop.time, pace) for sink in sinks]
        for said in ("Good", " evening", ", traveller."):
            for reply in replies:
                reply.say(said)
            await asyncio.sleep(WINDOW_S * 2)
        assert {sink.text for sink in sinks} == {"Good evening, traveller."}

    run(main())
    assert "could not be sent" in caplog.text
