"""How replies look: wrapped at words, in every script, with nothing that moves the cursor."""

from __future__ import annotations

import io

import pytest

from palaver.cli.chat.people import People, Person
from palaver.cli.chat.screen import Screen, screen, trail_line
from palaver.cli.output import milliseconds, plain
from palaver.messages import ServedByInfo, TrailEntry, TurnDone, UsageInfo


def shown(*pieces: str, width: int | None = 20, colour: bool = False) -> str:
    """Return what a reply of these pieces looks like."""
    out = io.StringIO()
    on = Screen(out, colour=colour, width=width)
    on.name("Vlad", "red")
    for piece in pieces:
        on.say(piece)
    on.end()
    return out.getvalue()


def test_lines_break_between_words() -> None:
    """Words are not cut at the edge, however they come in."""
    pieces = ["Good eve", "ning, my de", "ar guest of ", "the house."]
    assert shown(*pieces) == "Vlad: Good evening,\n  my dear guest of\n  the house.\n"
    assert shown("".join(pieces)) == shown(*pieces)
    assert shown(*"".join(pieces)) == shown(*pieces)


def test_without_a_terminal_nothing_is_wrapped() -> None:
    """A pipe gets the text as it is."""
    assert shown("Good evening, my dear guest of", " the house.", width=None) == (
        "Vlad: Good evening, my dear guest of the house.\n"
    )


def test_paragraphs_stay() -> None:
    """A line break of the reply is one on the screen."""
    assert shown("One.\n", "Two.") == "Vlad: One.\n  Two.\n"


def test_scripts_without_spaces_are_wrapped_too() -> None:
    """Chinese and Japanese have no spaces; each sign takes two columns."""
    lines = shown("夜の客人よ、こちらへお入りなさい。").splitlines()
    assert len(lines) == 3
    assert "".join(line.strip() for line in lines) == "Vlad: 夜の客人よ、こちらへお入りなさい。"


def test_a_word_longer_than_the_line_is_shown() -> None:
    """A word that never ends does not wait for its end."""
    out = io.StringIO()
    on = Screen(out, colour=False, width=20)
    on.say("a" * 50)
    assert len(out.getvalue().replace("\n", "")) >= 40


def test_asides_stand_apart() -> None:
    """An emotion between two sentences has a space on both sides."""
    out = io.StringIO()
    on = Screen(out, colour=False, width=60)
    on.say("Come in.")
    on.aside("(joy)")
    on.say(" Sit.")
    on.end()
    assert out.getvalue() == "Come in. (joy) Sit.\n"


@pytest.mark.parametrize(
    "text",
    ["\x1b[2Jgone", "\x9b2Jgone", "a\rb", "\x07", "\u202egone", "\x1b]0;mine\x07"],
    ids=["clear", "8-bit clear", "return", "bell", "right to left", "title"],
)
def test_nothing_moves_the_cursor(text: str) -> None:
    """Control characters of a reply, a name or an error do not reach the terminal."""
    assert not any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in plain(text))
    assert "\x1b" not in shown(text)
    assert "\u202e" not in plain(text)


def test_a_screen_that_is_no_terminal_has_no_colour() -> None:
    """Colours are for terminals."""
    assert screen(io.StringIO()).styled("text", "bold") == "text"


def done(**changes: object) -> TurnDone:
    """Return a turn that came to nothing much."""
    fields: dict[str, object] = {
        "turn": "t",
        "seq": 1,
        "status": "completed",
        "text": "Good evening.",
        "served_by": ServedByInfo(backend="static", type="static", model=None, adapter=None),
        "trail": [TrailEntry(backend="static", outcome="served", at_ms=352.4)],
        "usage": UsageInfo(prompt_tokens=0, completion_tokens=0, cost_usd=0),
        "ttft_ms": 352.1,
        "total_ms": 352.5,
        "cached": False,
    }
    return TurnDone.model_validate({**fields, **changes})


def test_the_trail_in_one_line() -> None:
    """Who was asked, what became of each and when, and when the first words were there."""
    trail = [
        TrailEntry(backend="local", outcome="late", at_ms=350, reason="first_token took long"),
        TrailEntry(backend="static", outcome="served", at_ms=352.4),
    ]
    line = "local late 350 ms → static served 352 ms · first words 352 ms"
    assert trail_line(done(trail=trail)) == line


def test_the_trail_tells_why() -> None:
    """Reasons are told, in one short line whatever a server wrote."""
    trail = [
        TrailEntry(backend="local", outcome="failed", at_ms=2, reason="no\n\x1b[2J" + "x" * 99)
    ]
    line = trail_line(done(trail=trail, status="cancelled", ttft_ms=None))
    assert line.startswith("local failed 2.0 ms (no [2Jxxx")
    assert line.endswith("x…) · cancelled")


def test_the_trail_names_the_model() -> None:
    """The adapter or model that spoke is named, with its tokens."""
    served = ServedByInfo(backend="local", type="vllm", model="base", adapter="vampire@1")
    trail = [TrailEntry(backend="local", outcome="served", at_ms=2_130)]
    usage = UsageInfo(prompt_tokens=9, completion_tokens=42, cost_usd=0)
    line = trail_line(done(served_by=served, trail=trail, usage=usage, ttft_ms=80.2))
    assert line == "local (vampire@1) served 2.1 s · first words 80 ms · 42 tokens"


def test_durations() -> None:
    """Durations are as exact as they are short."""
    values = [None, 0.02, 0.34, 9.96, 352.4, 999.6, 2_130]
    assert [milliseconds(value) for value in values] == [
        "never",
        "under 0.1 ms",
        "0.3 ms",
        "10.0 ms",
        "352 ms",
        "1000 ms",
        "2.1 s",
    ]


def test_people_are_found() -> None:
    """A number, an id, a name or the beginning of one, if it is one only."""
    people = People("w", (Person("elder_willow", "Elder Willow"), Person("elm", "Elm")))
    assert people.find("2") is people.all[1]
    assert people.find("ELDER WILLOW") is people.all[0]
    assert people.find("wil") is people.all[0]
    assert people.find("el") is None
    assert people.find("elm") is people.all[1]
    assert people.find("") is None
    assert people.find("0") is None
    assert "did you mean `elder_willow`?" in people.unknown("elder_wilow")
