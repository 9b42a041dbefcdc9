"""A reply that a length limit cuts ends at its last whole sentence, and nothing else is lost."""

# ruff: noqa: RUF001  # marks of many languages

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.chain.backend import Finish
from palaver.testing.chains import Told, make_chain, tell, wait
from palaver.testing.clock import run
from palaver.testing.gateways import Sink
from palaver.testing.scripted import ScriptedBackend, Step
from palaver.testing.turns import make_turn
from palaver.turn.careful import Careful
from palaver.turn.deliver import Reply
from palaver.turn.events import Action, Emotion, Event, Text
from palaver.turn.sentences import ENDINGS

WORDS = "The moon has set and I am still here. Come closer! Or do you fear what waits? I do not. "


def told(script: Sequence[Step], **tier: int) -> Told:
    """Run a turn of one backend that plays a script."""
    return run(tell(make_chain(ScriptedBackend("local", script)), **tier))


def tokens(text: str) -> list[str]:
    """Return a text as a model streams it."""
    return re.findall(r"\s*\S+", text)


@pytest.mark.parametrize("max_tokens", range(6, 60, 3))
def test_a_reply_cut_by_length_ends_at_a_whole_sentence(max_tokens: int) -> None:
    """Wherever the limit falls: it never ends in the middle, if it has a whole sentence at all."""
    pieces = tokens(WORDS * 4)[:max_tokens]
    one = told([*pieces, Finish(reason="length")], max_tokens=max_tokens)
    assert one.turn.result.status == "truncated"
    assert "".join(pieces).startswith(one.text.removesuffix("…"))
    if max_tokens > 15:
        assert one.text[-1] in ".!?", one.text


@pytest.mark.parametrize("max_tokens", range(6, 60, 3))
def test_a_reply_that_ends_by_itself_is_whole(max_tokens: int) -> None:
    """What was held back near the end is shown when there is no cut."""
    text = "".join(tokens(WORDS * 4)[:max_tokens])
    one = told([*tokens(text), Finish()], max_tokens=max_tokens)
    assert one.text == text
    assert one.turn.result.status == "completed"


@pytest.mark.parametrize("whole", [True, False])
def test_a_reply_that_comes_in_one_piece(whole: bool) -> None:
    """A backend that does not stream is cut no worse."""
    text = "I see. You are brave. And then you will go with me to"
    one = told([text, Finish(reason="stop" if whole else "length")], max_tokens=12)
    assert one.text == (text if whole else "I see. You are brave.")


def test_a_first_sentence_that_is_cut_is_shown() -> None:
    """Half a sentence with an ellipsis is better than nothing."""
    one = told([*tokens("And then you will go with me"), Finish(reason="length")], max_tokens=7)
    assert one.text == "And then you will go with me…"
    one = told(["And then you will go with me", Finish(reason="length")], max_tokens=3)
    assert one.text == "And then you will go with me…"


@pytest.mark.parametrize("space", ["before", "after", "alone"])
def test_the_space_between_sentences_belongs_to_neither(space: str) -> None:
    """However a model cuts its tokens, the sentence after the last whole one is held back."""
    pieces = {
        "before": [*["One"] * 6, " two.", " And", " then", " you"],
        "after": [*["One"] * 6, " two. ", "And ", "then ", "you "],
        "alone": [*["One"] * 6, " two.", " ", "And", " ", "then", " you"],
    }[space]
    one = told([*pieces, Finish(reason="length")], max_tokens=11)
    assert one.text == "OneOneOneOneOneOne two."


def test_near_its_end_it_is_shown_by_sentences() -> None:
    """The open sentence flows on to its end; then each comes at once when it is whole."""
    script: list[Step] = []
    for piece in tokens("One two three. Four five six. Seven eight nine."):
        script += [piece, wait(10)]
    one = told([*script, Finish()], max_tokens=8)
    shown: dict[int, str] = {}
    for frame in one.sink.of("turn.delta"):
        at_ms = round(frame.at * 1000)
        shown[at_ms] = shown.get(at_ms, "") + frame.fields["text"]
    assert shown == {
        0: "One",
        10: " two",
        20: " three.",
        30: " Four",
        40: " five",
        50: " six.",
        90: " Seven eight nine.",
    }


# --- the holder itself ---------------------------------------------------------------------------

PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "One",
                " two",
                ".",
                ". ",
                "! ",
                " ",
                "\n",
                "Dr. ",
                "3.14",
                "。",
                "你好",
                '." ',
                "…",
                "?!",
            ]
        ),
        st.text(alphabet="ab .!\n", max_size=6),
    ),
    max_size=30,
)
EVENTS = st.lists(
    st.one_of(
        st.sampled_from(["One", " two", ". ", "! ", " ", "\n", ".", "。", "你好"]).map(Text),
        st.integers(0, 9).map(lambda number: Emotion("joy", number / 10)),
        st.integers(0, 9).map(lambda number: Action("wave", {"n": number}, f"t.{number}")),
    ),
    max_size=30,
)


def texts(events: Sequence[Event]) -> str:
    """Return the text of events."""
    return "".join(event.text for event in events if isinstance(event, Text))


def others(events: Sequence[Event]) -> list[Event]:
    """Return all but the text."""
    return [event for event in events if not isinstance(event, Text)]


def places(events: Sequence[Event]) -> list[tuple[int, Event]]:
    """Return all but the text, each with the words before it."""
    found, at = [], 0
    for event in events:
        if isinstance(event, Text):
            at += len("".join(event.text.split()))
        else:
            found.append((at, event))
    return found


@given(st.text(alphabet="ab .!\n", max_size=10), EVENTS)
def test_nothing_is_lost_or_turned_around(before: str, events: list[Event]) -> None:
    """What came out so far is always a beginning of what went in, and at last all of it."""
    careful = Careful(before)
    out: list[Event] = []
    for number, event in enumerate(events, 1):
        out += careful.feed(event)
        said = texts(events[:number])
        assert said.startswith(texts(out))
        assert others(events[:number])[: len(others(out))] == others(out)
    out += careful.rest()
    assert texts(out) == texts(events)
    assert places(out) == places(events)
    assert careful.rest() == []


@given(PIECES)
def test_from_the_beginning_only_whole_sentences_come_out(pieces: list[str]) -> None:
    """Nothing of a sentence is shown before its end."""
    careful = Careful("")
    out = ""
    for piece in pieces:
        if piece:
            out += texts(careful.feed(Text(piece)))
            if out.strip():
                assert out.rstrip().rstrip("\"'”’»)")[-1] in ENDINGS or "\n" in "".join(pieces)


class Heard:
    """A reply, and what was shown of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sink = Sink()
        self.sink.emit = self._keep  # type: ignore[method-assign]  # there is no loop here
        self.parts: list[str] = []
        self.reply = Reply(make_turn(), self.sink, lambda: self.now)

    def _keep(self, head: str, tail: str) -> None:
        if '"turn.delta"' in head:
            self.parts.append(json.loads(f"{head}0{tail}")["text"])

    @property
    def text(self) -> str:
        return "".join(self.parts)


@given(PIECES, st.integers(0, 30), st.sampled_from(["end", "cut", "break"]))
def test_from_wherever_it_is_held(pieces: list[str], held_from: int, end: str) -> None:
    """The deltas are a beginning of the reply, and all of it where nothing cut it."""
    heard = Heard()
    reply = heard.reply
    reply.begin()
    said = ""
    for number, piece in enumerate(pieces):
        if number == held_from:
            reply.hold_sentences()
        if piece:
            reply.say(piece)
            said += piece
        assert said.strip().startswith(heard.text) or said.lstrip().startswith(heard.text)
    if end == "cut":
        reply.cut_short()
    elif end == "break":
        reply.close_sentence()
    reply.finish()
    assert heard.text == reply.text
    if end == "end":
        assert heard.text == said.strip()
    else:
        assert said.strip().startswith(heard.text.removesuffix("…"))
        assert not heard.text or heard.text.rstrip("\"'”’»)]")[-1:] in (*ENDINGS, "")
    if end == "cut" and said.strip():
        assert heard.text, "something is always shown"
