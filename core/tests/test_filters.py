"""Filters are chained; one that fails, is late or stops harms nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from palaver.testing.turns import make_turn
from palaver.turn.events import Emotion, Event, Stop, Text
from palaver.turn.filters import FilterChain


class Upper:
    """Says everything loudly."""

    def feed(self, event: Event) -> Iterable[Event]:
        return (Text(event.text.upper()),) if isinstance(event, Text) else (event,)

    def flush(self) -> Iterable[Event]:
        return ()


class Holding:
    """Holds all text back to the end."""

    def __init__(self) -> None:
        self.held = ""

    def feed(self, event: Event) -> Iterable[Event]:
        if isinstance(event, Text):
            self.held += event.text
            return ()
        return (event,)

    def flush(self) -> Iterable[Event]:
        return (Text(self.held),) if self.held else ()


class Failing:
    """Works once, then fails, with something still held."""

    def __init__(self) -> None:
        self.seen = 0

    def feed(self, event: Event) -> Iterable[Event]:
        self.seen += 1
        if self.seen > 1:
            raise RuntimeError("broken")
        return ()

    def flush(self) -> Iterable[Event]:
        return (Text("held "),)


class StopAt:
    """Ends the line at a word."""

    def feed(self, event: Event) -> Iterable[Event]:
        if isinstance(event, Text) and "secret" in event.text:
            return (Stop("a secret"),)
        return (event,)

    def flush(self) -> Iterable[Event]:
        return ()


class Sentences:
    """Waits for each sentence and notes what it gets."""

    def __init__(self, wait: asyncio.Event | None = None) -> None:
        self.got: list[str] = []
        self.wait = wait

    async def feed(self, event: Event) -> Iterable[Event]:
        if isinstance(event, Text):
            self.got.append(event.text)
        if self.wait is not None:
            await self.wait.wait()
        await asyncio.sleep(0)
        return (event,)

    async def flush(self) -> Iterable[Event]:
        return ()


async def run(
    filters: list[object], pieces: list[str], limit_s: float = 20
) -> tuple[str, FilterChain, list[str]]:
    """Feed pieces through filters; returns what is shown, the chain and the turn's trace."""
    shown: list[Event] = []
    turn = make_turn()
    named = [(type(one).__name__, one) for one in filters]
    chain = FilterChain(turn, named, shown.append, limit_s=limit_s)  # type: ignore[arg-type]
    for piece in pieces:
        chain.feed(piece)
    await chain.finish()
    return "".join(e.text for e in shown if isinstance(e, Text)), chain, turn.trace


async def test_filters_are_chained_in_order() -> None:
    """What one returns goes through the next, also what it held back to the end."""
    text, _, _ = await run([Holding(), Upper()], ["good ", "evening"])
    assert text == "GOOD EVENING"


async def test_a_failing_filter_is_taken_out_and_named() -> None:
    """What it held and what it failed on are shown, and the others work on."""
    text, _, trace = await run([Failing(), Upper()], ["a ", "b ", "c"])
    assert text == "HELD B C"
    assert trace == ["the filter of plugin Failing failed"]


async def test_stop_ends_the_line() -> None:
    """Nothing after a `Stop` is shown."""
    text, chain, _ = await run([StopAt(), Upper()], ["a ", "secret ", "c"])
    assert text == "A "
    assert chain.stopped == Stop("a secret")


async def test_an_async_filter_gets_whole_sentences() -> None:
    """Filters before it see pieces; it and those after it see sentences."""
    sentences = Sentences()
    text, _, _ = await run([Upper(), sentences, StopAt()], ["go", "od. Eve", "ning. You", "?"])
    assert sentences.got == ["GOOD.", "EVENING.", "YOU?"]
    assert text == "GOOD. EVENING. YOU?"


async def test_a_late_async_filter_is_left_behind() -> None:
    """A filter that never answers is taken out after its limit, and its text is shown."""
    text, _, trace = await run([Sentences(asyncio.Event())], ["One. ", "Two."], 0.05)
    assert text == "One. Two."
    assert trace == ["the filter of plugin Sentences was late"]


async def test_an_emotion_keeps_its_place() -> None:
    """An event between sentences stays between them, also past a filter that waits."""
    shown: list[Event] = []

    class Feel(Upper):
        def feed(self, event: Event) -> Iterable[Event]:
            return (event, Emotion("joy")) if isinstance(event, Text) else (event,)

    chain = FilterChain(
        make_turn(), [("feel", Feel()), ("wait", Sentences())], shown.append, limit_s=20
    )
    chain.feed("One. ")
    chain.feed("Two.")
    await chain.finish()
    assert [type(event).__name__ for event in shown] == ["Text", "Emotion", "Text", "Emotion"]


async def test_abort_leaves_no_task() -> None:
    """A chain that is thrown away leaves nothing running."""
    before = asyncio.all_tasks()
    chain = FilterChain(
        make_turn(), [("wait", Sentences(asyncio.Event()))], lambda event: None, limit_s=60
    )
    chain.feed("One. Two. ")
    await asyncio.sleep(0)
    await chain.abort()
    assert asyncio.all_tasks() == before
