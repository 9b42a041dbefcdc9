"""The first words are held back until the checks have passed, and no longer than they may be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from palaver.actions import DeclaredAction
from palaver.chain.backend import Finish
from palaver.chain.checks import GO, OK, WAIT, Checker, Objection, Verdict
from palaver.chain.opening import HOLD_CHARS, HOLD_S
from palaver.errors import BackendUnavailable, StreamBroken
from palaver.testing.chains import Told, make_chain, tell, wait
from palaver.testing.clock import run
from palaver.testing.scripted import ScriptedBackend, Step
from palaver.testing.turns import make_persona, make_turn
from palaver.turn.events import AsyncFilter, Event, Filter, Stop, Text
from palaver.turn.model import Turn
from palaver.turn.tags import TagFilter

HM = ScriptedBackend("static", "Hm.")


def always(verdict: object) -> Callable[..., Any]:
    """Return an implementation of `palaver_check` that always says the same."""
    return lambda turn: lambda text, whole: verdict


def spoken(
    script: Sequence[Step],
    *checks: Callable[..., Any],
    filters: Sequence[Callable[[], Filter | AsyncFilter]] = (),
    turn: Turn | None = None,
    **tier: Any,
) -> Told:
    """Run one turn with a script and checks; `static` says "Hm."."""

    async def main() -> Told:
        local = ScriptedBackend("local", [*script, Finish()])
        chain = make_chain(local, ScriptedBackend("static", "Hm."), checks=checks)
        return await tell(chain, turn=turn, filters=filters, **tier)

    return run(main())


def deltas(told: Told) -> list[tuple[int, str]]:
    """Return what was shown, and after how many milliseconds."""
    return [
        (round((one.at - told.begun) * 1000), one.fields["text"])
        for one in told.sink.of("turn.delta")
    ]


def test_without_checks_nothing_is_held_back() -> None:
    """Each piece is shown when it comes."""
    told = spoken([wait(10), "Good ", wait(10), "evening."])
    assert deltas(told) == [(10, "Good"), (20, " evening.")]


def test_what_passes_at_once_is_not_held_back() -> None:
    """A check that is content with the first word costs no time."""
    told = spoken([wait(10), "Good ", wait(10), "evening."], always(OK))
    assert deltas(told) == [(10, "Good"), (20, " evening.")]


def test_an_opening_is_held_for_half_a_second() -> None:
    """From its first character on; whoever cannot tell by then has to do without."""
    script: list[Step] = [wait(50), "Good", wait(300), " evening", wait(300), ", flame."]
    told = spoken(script, always(WAIT))
    held_until = 50 + round(HOLD_S * 1000)
    assert deltas(told) == [(held_until, "Good"), (held_until, " evening"), (650, ", flame.")]


def test_what_is_held_is_better_than_a_line_that_answers_nothing() -> None:
    """When the first words are due, an opening nobody has objected to is shown."""
    script: list[Step] = [wait(50), "Good", wait(5_000), " evening."]
    told = spoken(script, always(WAIT), first_text_ms=300)
    assert deltas(told) == [(270, "Good"), (5_050, " evening.")]
    assert told.trail == [("local", "served")]


def test_white_space_does_not_start_the_clock() -> None:
    """A line break that a model begins with is nothing that could be shown."""
    told = spoken(["\n", wait(500), "Good", wait(500), " evening."], always(WAIT))
    assert deltas(told)[0] == (500 + round(HOLD_S * 1000), "Good")


@pytest.mark.parametrize("size", [1, 7, 40, HOLD_CHARS, HOLD_CHARS + 30])
def test_an_opening_is_held_for_eighty_characters(size: int) -> None:
    """A fast model need not wait for the clock."""
    seen: list[int] = []

    def check(text: str, whole: bool) -> Verdict:
        seen.append(len(text))
        return WAIT

    text = "x" * 300
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    told = spoken([*pieces, wait(50)], lambda turn: check, max_tokens=2_000)
    assert told.text == text
    assert told.first_ms == 0
    assert seen[:-1] == [*range(size, HOLD_CHARS + size, size)]
    assert seen[-1] == 300, "at the end it has to tell"


def test_the_end_comes_before_the_clock() -> None:
    """A short reply is shown as soon as it is whole."""

    def check(text: str, whole: bool) -> Verdict:
        return OK if whole else WAIT

    told = spoken([wait(20), "Yes", wait(20), "."], lambda turn: check)
    assert deltas(told) == [(40, "Yes"), (40, ".")]


def test_an_objection_hands_over_before_anything_was_shown() -> None:
    """The next backend speaks at once, and nobody sees what the first one said."""

    def check(text: str, whole: bool) -> Verdict:
        return Objection("a refusal") if "cannot" in text else WAIT

    told = spoken(["As an AI ", wait(20), "I cannot", wait(5_000), "."], lambda turn: check)
    assert deltas(told) == [(20, "Hm.")]
    assert told.trail == [("local", "objected"), ("static", "served")]
    assert told.reasons[0] == "a refusal"


def test_what_was_objected_to_is_closed() -> None:
    """Its stream is closed at once, not when it has come to its end."""

    async def main() -> None:
        local = ScriptedBackend("local", ["No.", wait(50_000), "No."])
        chain = make_chain(local, HM, checks=[always(Objection("rude"))])
        await tell(chain)
        assert local.calls[0].closed_early

    run(main())


def test_an_objection_at_the_end_counts() -> None:
    """What can be told only of the whole reply is told in time where it is short."""

    def check(text: str, whole: bool) -> Verdict:
        return Objection("heard before") if whole and text == "Yes." else WAIT

    assert spoken(["Yes."], lambda turn: check).text == "Hm."
    assert spoken(["Yes. No."], lambda turn: check).text == "Yes. No."


def test_go_is_asked_again_at_the_end_of_each_sentence() -> None:
    """Not before, and with all that was said."""
    asked: list[tuple[str, bool]] = []

    def check(text: str, whole: bool) -> Verdict:
        asked.append((text, whole))
        return GO

    script: list[Step] = [
        "One",
        wait(1),
        " is. Two",
        wait(1),
        " is",
        wait(1),
        ". ",
        wait(1),
        "Three.",
    ]
    told = spoken(script, lambda turn: check)
    assert told.text == "One is. Two is. Three."
    assert asked == [
        ("One", False),
        ("One is. Two", False),
        ("One is. Two is. ", False),
        ("One is. Two is. Three.", True),
    ]


def test_a_later_objection_ends_the_line_at_its_sentence() -> None:
    """What came with the end of the sentence is not shown, nor what comes after."""

    def check(text: str, whole: bool) -> Verdict:
        return Objection("a secret") if "secret" in text else GO

    async def main() -> None:
        local = ScriptedBackend(
            "local", ["Listen. It is a ", "secret. And what ", wait(9_000), "is"]
        )
        told = await tell(make_chain(local, HM, checks=[lambda turn: check]))
        assert told.text == "Listen. It is a secret."
        assert told.turn.result.status == "truncated"
        assert told.trail == [("local", "served")]
        assert told.reasons == ["ended at a sentence: a secret"]
        assert local.calls[0].closed_early
        assert told.turn.raw is None, "it is not kept for others"

    run(main())


def test_a_check_that_is_content_is_asked_no_more() -> None:
    """Nor does anything of it stay between the filters and the reply."""
    asked = 0

    def check(text: str, whole: bool) -> Verdict:
        nonlocal asked
        asked += 1
        return OK if len(text) > 4 else WAIT

    spoken(["One ", "is. ", "Two is. ", "Three is."], lambda turn: check)
    assert asked == 2


@pytest.mark.parametrize(
    "nonsense", [None, True, False, "ok", 0, 1, Objection, (OK,), float("nan")], ids=repr
)
def test_nonsense_is_no_verdict(nonsense: object, caplog: pytest.LogCaptureFixture) -> None:
    """A check that returns anything else is left out, and named in the log."""
    told = spoken(["Good ", wait(500), "evening."], always(nonsense))
    assert deltas(told) == [(0, "Good"), (500, " evening.")]
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "the check of plugin test" in errors[0]


@pytest.mark.parametrize("when", ["made", "at once", "later", "at the end"])
def test_a_check_that_raises_is_left_out(when: str, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a plugin does not silence a character, nor the other checks."""

    def broken(turn: Turn) -> Checker:
        if when == "made":
            raise ValueError("a bug, on purpose")

        def check(text: str, whole: bool) -> Verdict:
            if when == "at once" or (when == "later" and "evening" in text) or whole:
                raise ValueError("a bug, on purpose")
            return GO

        return check

    def objects(text: str, whole: bool) -> Verdict:
        return Objection("a secret") if "secret" in text else GO

    told = spoken(["Good ", "evening. ", "My ", "secret. ", "Yes."], broken, lambda turn: objects)
    assert told.text == "Good evening. My secret."
    # To the end it did not come.
    assert len([one for one in caplog.records if one.exc_info]) == (when != "at the end")


def test_whoever_objects_first_is_heard() -> None:
    """One objection is enough; the checks after it are not asked."""
    told = spoken(["Yes."], always(OK), always(Objection("first")), always(Objection("second")))
    assert told.reasons[0] == "first"


def test_no_check_stands_between_authored_lines_and_the_player() -> None:
    """What answers from memory was written by a person."""

    async def main() -> None:
        chain = make_chain(HM, checks=[always(Objection("everything"))])
        assert (await tell(chain)).text == "Hm."

    run(main())


def test_when_everything_is_objected_to_the_last_words_are_spoken() -> None:
    """Checks cannot silence a character."""

    async def main() -> None:
        local, fast = (ScriptedBackend(name, "I am an AI.") for name in ("local", "fast"))
        chain = make_chain(local, fast, checks=[always(Objection("everything"))])
        told = await tell(chain)
        assert told.text == "Farewell."
        assert told.trail == [("local", "objected"), ("fast", "objected"), ("last_words", "served")]

    run(main())


def test_what_is_held_back_of_a_stream_that_breaks_is_dropped() -> None:
    """It was never shown: no rescue, the next one begins anew."""
    told = spoken(["Good ", StreamBroken("local", "was cut")], always(WAIT))
    assert told.text == "Hm."
    assert told.trail == [("local", "failed"), ("static", "served")]
    assert told.turn.result.status == "completed"


# --- emotions and actions ------------------------------------------------------------------------

WAVE = {"wave": DeclaredAction("wave", "Waves.", {})}


def tagged(script: Sequence[Step], *checks: Callable[..., Any]) -> list[str]:
    """Return the messages of a reply with tags, in order."""
    turn = make_turn(persona=make_persona(last_words="Farewell."))
    told = spoken(script, *checks, turn=turn, filters=[lambda: TagFilter(turn, WAVE)])
    words = {"turn.delta": "text", "turn.emotion": "name", "turn.action": "name"}
    return [
        f"{one.type[5:]} {one.fields[words[one.type]]}"
        for one in told.sink.frames
        if one.type in words
    ]


@pytest.mark.parametrize("verdict", [OK, GO, WAIT], ids=str)
def test_what_it_feels_and_does_keeps_its_place(verdict: Verdict) -> None:
    """Held back or not, emotions and actions come between the words that they stood between."""
    script = ["<feel joy>", "Come ", "in. ", "<do wave>", "Sit", " down.", "<feel anger>", " Now."]
    shown = tagged(script, always(verdict))
    assert "".join(shown).replace("delta ", "") == (
        "emotion joyCome in.action wave Sit down.emotion anger Now."
    )


def test_who_is_objected_to_does_nothing() -> None:
    """A reply that is not shown has no feelings and carries nothing out."""
    shown = tagged(["<feel anger>", "<do wave>", "No. "], always(Objection("rude")))
    assert shown == ["delta Hm."]


def test_an_action_without_a_word_is_no_reply() -> None:
    """It waits for words that never come, and goes with them."""
    assert tagged(["<do wave>", "  "]) == ["delta Hm."]


# --- filters that wait ---------------------------------------------------------------------------


class Slow:
    """A filter that takes its time for every sentence."""

    def __init__(self, ms: float = 40) -> None:
        self.ms = ms

    async def feed(self, event: Event) -> Iterable[Event]:
        await asyncio.sleep(self.ms / 1000)
        return [event]

    async def flush(self) -> Iterable[Event]:
        return []


def test_a_filter_that_waits_comes_before_the_gate() -> None:
    """The gate sees what the filter lets out: whole sentences, when it is done with them."""
    asked: list[str] = []

    def check(text: str, whole: bool) -> Verdict:
        asked.append(text)
        return GO

    told = spoken(["One is. ", wait(100), "Two is. ", "Three."], lambda turn: check, filters=[Slow])
    assert deltas(told) == [(40, "One is."), (140, " Two is."), (180, " Three.")]
    assert asked[0] == "One is."


def test_the_gate_holds_what_a_slow_filter_lets_out() -> None:
    """The half second counts from when the filter is done."""
    told = spoken(["One is. ", wait(1_000), "Two."], always(WAIT), filters=[Slow])
    assert told.first_ms == 40 + round(HOLD_S * 1000)


def test_a_filter_that_takes_everything_hands_over() -> None:
    """Nothing that could be shown is a failure, told as such."""

    class Nothing(Slow):
        async def feed(self, event: Event) -> Iterable[Event]:
            await asyncio.sleep(0.01)
            return []

    async def main() -> None:
        local = ScriptedBackend("local", "Good evening.")
        told = await tell(make_chain(local), filters=[Nothing])
        assert told.text == "Farewell."
        assert told.trail == [("local", "failed"), ("last_words", "served")]
        assert told.reasons[0] == "nothing in its reply could be shown"

    run(main())


def test_an_objection_to_what_a_slow_filter_lets_out_ends_the_line() -> None:
    """Before it, even: a filter lets whole sentences out. More is in it already."""

    def check(text: str, whole: bool) -> Verdict:
        return Objection("a secret") if "secret" in text else GO

    told = spoken(["One. ", "A secret. ", "Two. ", "Three."], lambda turn: check, filters=[Slow])
    assert told.text == "One."
    assert told.turn.result.status == "truncated"


def test_a_filter_is_flushed_once() -> None:
    """What it adds at the end is not added twice, though the end is looked at twice."""

    class Adds:
        def feed(self, event: Event) -> Iterable[Event]:
            return [event]

        def flush(self) -> Iterable[Event]:
            return [Text("!")]

    assert spoken(["Yes"], always(WAIT), filters=[Adds]).text == "Yes!"
    assert spoken(["Yes"], filters=[Adds]).text == "Yes!"


@pytest.mark.parametrize("winner", ["first", "second"])
def test_a_whole_reply_whose_filter_waits_may_still_lose(winner: str) -> None:
    """Another passes meanwhile, and the race goes on as if nothing were."""

    class Picky:
        async def feed(self, event: Event) -> Iterable[Event]:
            if isinstance(event, Text) and "first" in event.text:
                await asyncio.sleep(0.5)
                return [event] if winner == "first" else []
            if isinstance(event, Text) and winner == "first":
                await asyncio.sleep(0.8)
            return [event]

        async def flush(self) -> Iterable[Event]:
            return []

    async def main() -> None:
        one = ScriptedBackend("one", [wait(200), "The first."])
        two = ScriptedBackend("two", [wait(200), "The second. ", wait(1_000), "More."])
        told = await tell(make_chain(one, two, HM, hedges=1.0), first_token_ms=100, filters=[Picky])
        if winner == "first":
            assert told.text == "The first."
            assert told.trail == [("two", "lost"), ("one", "served")]
        else:
            assert told.text == "The second. More."
            assert told.trail == [("one", "lost"), ("two", "served")]

    run(main())


def test_a_filter_that_ends_the_line_before_its_first_word() -> None:
    """Its backend is closed, and the next one answers."""

    class Ends:
        def feed(self, event: Event) -> Iterable[Event]:
            return [Stop("not here")] if isinstance(event, Text) else [event]

        def flush(self) -> Iterable[Event]:
            return []

    async def main() -> None:
        local = ScriptedBackend("local", ["Good ", wait(10_000), "evening."])
        told = await tell(
            make_chain(local, ScriptedBackend("fast", [BackendUnavailable("fast", "down")])),
            filters=[Ends],
        )
        assert told.text == "Farewell."
        assert local.calls[0].closed_early

    run(main())
