"""Inline tags become events, and none ever reaches the player."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.actions import DeclaredAction
from palaver.testing.turns import make_turn
from palaver.turn.events import Action, Emotion, Event, Stop, Text
from palaver.turn.model import Turn
from palaver.turn.tags import (
    MAX_ACTIONS,
    MAX_TAG_CHARS,
    TagFilter,
    tag_problems,
    without_tags,
)

GIVE = DeclaredAction(
    "give",
    "Gives something.",
    {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]},
)
WAVE = DeclaredAction("wave", "Waves.", {})
PRICE = DeclaredAction("price", "", {"type": "object", "properties": {"n": {"type": "number"}}})
ACTIONS = {"give": GIVE, "wave": WAVE, "price": PRICE}


def run(pieces: list[str], turn: Turn | None = None) -> list[Event]:
    """Feed pieces of text and return all events, neighbouring texts joined."""
    tags = TagFilter(turn or make_turn(), ACTIONS, ["hunger"])
    events = [event for piece in pieces for event in tags.feed(Text(piece))]
    events += tags.flush()
    joined: list[Event] = []
    for event in events:
        if isinstance(event, Text) and joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + event.text)
        else:
            joined.append(event)
    return joined


LINE = 'Wait. <feel anger 0.7>Take <do give {"item": "a > b \\"x\\""}> this. <do wave>Go!'
EVENTS = [
    Text("Wait. "),
    Emotion("anger", 0.7),
    Text("Take "),
    Action("give", {"item": 'a > b "x"'}, "t1.1"),
    Text("this. "),
    Action("wave", {}, "t1.2"),
    Text("Go!"),
]


@given(st.lists(st.integers(0, len(LINE)), max_size=12))
def test_tags_are_found_wherever_the_pieces_split(cuts: list[int]) -> None:
    """The events are the same however the text is cut into pieces."""
    edges = [0, *sorted(cuts), len(LINE)]
    pieces = [LINE[a:b] for a, b in pairwise(edges) if a != b]
    assert run(pieces) == EVENTS


@pytest.mark.parametrize(
    "text",
    ["I <3 you", "a < b and c > d", "<dog>", "<b>bold</b>", "x <doomed> y", "<feeling>", "1 <"],
)
def test_other_angle_brackets_pass(text: str) -> None:
    """Text with a `<` that opens no tag is shown as it is, but for one that ends the reply."""
    shown = "".join(event.text for event in run(list(text)) if isinstance(event, Text))
    assert shown == text.removesuffix("<")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hm. <feel confusion 2>So.", "Hm. So."),
        ("<do fly>So.", "So."),
        ("<do give>So.", "So."),
        ('<do give {"item": 3}>So.', "So."),
        ("<do give {broken>So.", "So."),
        ('<do give {"item": "apple">Here you are.', "Here you are."),
        ('<do give {"item": NaN}>So.', "So."),
        ('<do price {"n": 1e999}>So.', "So."),
        ("<DO WAVE>So.", "So."),
        ("So.<do give {", "So."),
        ("So.</feel></do>", "So."),
        ("So.<" + "do " + "x" * (MAX_TAG_CHARS + 1) + "> Go.", "So. Go."),
        ('<do give {"item": ' + "[" * 5_000 + "}>So.", "So."),
    ],
    ids=[
        "unknown emotion",
        "undeclared action",
        "missing argument",
        "wrong argument",
        "broken brace",
        "unclosed brace",
        "no number",
        "infinite",
        "upper case",
        "cut off",
        "closing tags",
        "endless",
        "deeply nested",
    ],
)
def test_a_tag_that_cannot_be_used_is_dropped_and_noted(text: str, shown: str) -> None:
    """What is no use to the engine is never shown to the player either."""
    turn = make_turn()
    events = run([text], turn)
    assert "".join(event.text for event in events if isinstance(event, Text)) == shown
    assert not any(isinstance(event, Action) for event in events) or turn.trace == []


def test_intensity_is_bounded_and_optional() -> None:
    """An intensity above 1 is 1, and none at all is 1 too."""
    assert run(["<feel joy 7>a", "<feel HUNGER>b"]) == [
        Emotion("joy", 1.0),
        Text("a"),
        Emotion("hunger", 1.0),
        Text("b"),
    ]


def test_a_model_that_repeats_itself_is_bounded() -> None:
    """Only so many actions are taken from one reply."""
    events = run(["<do wave>" * 50])
    assert len([event for event in events if isinstance(event, Action)]) == MAX_ACTIONS


def test_other_events_pass() -> None:
    """Events of other filters are not touched."""
    stop = Stop("enough")
    assert list(TagFilter(make_turn(), {}).feed(stop)) == [stop]


@given(st.lists(st.text(alphabet='<do feljoywav {}":>/', max_size=30), max_size=8))
def test_no_tag_is_ever_shown(pieces: list[str]) -> None:
    """Whatever a model writes, nothing that reads as a tag is shown."""
    shown = "".join(
        event.text for event in run([p for p in pieces if p]) if isinstance(event, Text)
    )
    assert "<do " not in shown
    assert "<feel " not in shown


def test_an_endless_tag_is_dropped_to_its_end() -> None:
    """Also what comes long after the part that was held."""
    pieces = ["So.<do give {", *["x" * 100] * 50, "}", "> Hello", " there"]
    assert run(pieces) == [Text("So. Hello there")]


def test_calls_are_counted_over_the_turn() -> None:
    """The next attempt of a turn names its calls differently."""
    turn = make_turn()
    first, second = run(["<do wave>a"], turn), run(["<do wave>b"], turn)
    assert [event.call for event in first + second if isinstance(event, Action)] == ["t1.1", "t1.2"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Plain.", "Plain."),
        ("<feel joy 0.4>Alpha.", "Alpha."),
        ("Here. <do wave> Go.", "Here. Go."),
        ('Take <do give {"item": "a > b"}>it.', "Take it."),
        ("Hm.<do wave", "Hm."),
        ("1 < 2 <3", "1 < 2 <3"),
    ],
)
def test_a_text_without_its_tags_is_what_is_shown(text: str, shown: str) -> None:
    """The short way comes to the same as the filter."""
    assert without_tags(text) == shown
    filtered = "".join(event.text for event in run([text]) if isinstance(event, Text))
    assert filtered.strip() == shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<feel joy 0.3 Mm. Cold night.", "is never closed; add a `>`"),
        ("<feel joi 0.3>Mm.", "there is no emotion 'joi'; did you mean `joy`?"),
        ("<feel hungar>Mm.", "did you mean `hunger`?"),
        ("<do give {broken}>Mm.", "is no action"),
        ("<feel joy 0.3>Mm. <do wave>", None),
        ("1 < 2", None),
    ],
)
def test_mistakes_in_authored_tags_are_named(text: str, problem: str | None) -> None:
    """A writer learns of them before a player hears last words instead of the line."""
    found = tag_problems(text, ["hunger"])
    assert (found == []) is (problem is None)
    assert problem is None or problem in found[0]
