"""Events become messages, and what was shown is accounted for exactly."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from palaver.messages import MAX_REPLY_CHARS, server_message
from palaver.testing.turns import make_turn
from palaver.turn.deliver import Reply
from palaver.turn.done import done_message
from palaver.turn.events import Action, Emotion, Event, Text
from palaver.turn.model import Attempt
from palaver.turn.outgoing import accepted_message


class Sink:
    """Keeps the messages of a turn."""

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = frozenset(capabilities)
        self.messages: list[dict[str, Any]] = []

    def emit(self, head: str, tail: str) -> None:
        frame = f"{head}{len(self.messages) + 1}{tail}"
        assert frame.isascii()
        assert len(frame) <= 60_000
        message = json.loads(frame)
        server_message(message)
        self.messages.append(message)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


def show(events: list[Event], *capabilities: str) -> tuple[Sink, Reply]:
    """Show events and end the reply."""
    sink = Sink(*capabilities)
    turn = make_turn(id='t"1')
    reply = Reply(turn, sink, lambda: 1.0)
    for event in events:
        reply.show(event)
    reply.finish()
    turn.result.text = reply.text
    turn.result.trail.append(Attempt("static", "served", 0.1))
    sink.emit(*done_message(turn, turn.result))
    return sink, reply


@given(st.lists(st.text(min_size=1, max_size=40), max_size=20))
def test_the_text_is_its_deltas_joined(pieces: list[str]) -> None:
    """`turn.done` repeats the deltas exactly, without white space around the reply."""
    pieces = [piece.encode("utf-8", "ignore").decode() for piece in pieces]
    sink, reply = show([Text(piece) for piece in pieces if piece], "sentence")
    assert "".join(message["text"] for message in sink.of("turn.delta")) == reply.text
    assert sink.messages[-1]["text"] == reply.text
    assert reply.text == reply.text.strip()
    for sentence in sink.of("turn.sentence"):
        start = sentence["start"]
        assert reply.text[start : start + len(sentence["text"])] == sentence["text"]


def test_only_what_the_client_wants_is_sent() -> None:
    """Sentences, emotions and actions go to clients that asked for them."""
    events: list[Event] = [Emotion("joy", 0.5), Text("Yes."), Action("wave", {"n": 1}, "c1")]
    bare, _ = show(events)
    assert [message["type"] for message in bare.messages] == ["turn.delta", "turn.done"]
    full, _ = show(events, "sentence", "emotion", "action")
    assert [message["type"] for message in full.messages] == [
        "turn.emotion",
        "turn.delta",
        "turn.action",
        "turn.sentence",
        "turn.done",
    ]


def test_a_reply_is_bounded_in_characters() -> None:
    """What is beyond the longest reply is not shown, and the reply says it is full."""
    sink, reply = show([Text("x" * 3_000), Text("y" * 6_000)])
    assert len(reply.text) == MAX_REPLY_CHARS
    assert reply.full
    assert sink.messages[-1]["text"] == reply.text


def test_a_reply_that_is_full_ends_at_a_sentence() -> None:
    """What is cut off begins with a sentence, or where there is none, with a word."""
    _, reply = show([Text("Ten letters and more. " * 300), Text("And more of it. " * 300)])
    assert reply.text.endswith(" And more of it.")
    assert MAX_REPLY_CHARS - 20 < len(reply.text) <= MAX_REPLY_CHARS
    _, reply = show([Text("letters " * 3_000)])
    assert reply.text.endswith("letters letters…")


def test_a_reply_is_bounded_in_bytes() -> None:
    """Emoji take 12 bytes each as ASCII, and even a reply of them fits one message."""
    sink, reply = show([Text("🧛" * 8_000)])
    assert reply.full
    assert 1_000 < len(reply.text) < 5_000
    assert sink.messages[-1]["text"] == reply.text


def test_an_open_sentence_is_closed() -> None:
    """An open sentence gets an ellipsis, a whole one nothing, and the next one a space."""
    sink = Sink("sentence")
    reply = Reply(make_turn(), sink, lambda: 0.0)
    reply.show(Text("I was about to "))
    reply.close_sentence()
    reply.show(Text("Never mind."))
    reply.close_sentence()
    reply.finish()
    assert reply.text == "I was about to… Never mind."


def test_accepted_is_a_message_of_the_protocol() -> None:
    """Ids with quotes in them are escaped."""
    sink = Sink()
    sink.emit(*accepted_message(make_turn(id='a"\\b')))
    assert sink.messages[0]["turn"] == 'a"\\b'


def test_what_an_attempt_does_waits_for_its_first_words() -> None:
    """A backend that fails without a word has not acted, and leaves no feeling behind."""
    sink = Sink("emotion", "action")
    reply = Reply(make_turn(), sink, lambda: 0.0)
    reply.begin()
    reply.show(Emotion("anger"))
    reply.show(Action("wave", {}, "t1.1"))
    reply.begin()
    reply.show(Emotion("joy"))
    reply.show(Text("Hello."))
    reply.show(Action("bow", {}, "t1.2"))
    reply.finish()
    reply.show(Text("Too late."))
    assert [message["type"] for message in sink.messages] == [
        "turn.emotion",
        "turn.delta",
        "turn.action",
    ]
    assert sink.messages[0]["name"] == "joy"
    assert sink.messages[2]["call"] == "t1.2"
    assert reply.text == "Hello."


def test_the_trail_tells_times_and_cost_only_where_they_are_known() -> None:
    """What says nothing is left out of an entry, so that a trail stays short."""
    turn = make_turn()
    turn.result.trail = [
        Attempt("local", "skipped", 1.234),
        Attempt(
            "fast",
            "served",
            900.0,
            begun_ms=1.234,
            first_ms=411.999,
            cost_usd=0.00042,
            prompt_tokens=180,
            completion_tokens=42,
            server="http://10.0.0.7:8000",
        ),
    ]
    sink = Sink()
    sink.emit(*done_message(turn, turn.result))
    assert sink.messages[-1]["trail"] == [
        {"backend": "local", "outcome": "skipped", "at_ms": 1.23},
        {
            "backend": "fast",
            "outcome": "served",
            "at_ms": 900.0,
            "begun_ms": 1.23,
            "first_ms": 412.0,
            "cost_usd": 0.00042,
            "prompt_tokens": 180,
            "completion_tokens": 42,
            "server": "http://10.0.0.7:8000",
        },
    ]


def test_a_long_trail_leaves_room_for_a_long_reply() -> None:
    """Beside the longest reply the trail is cut to its least, and the message still fits."""
    turn = make_turn()
    turn.result.text = "\u20ac" * MAX_REPLY_CHARS
    turn.result.trail = [
        Attempt("b" * 64, "failed", 1.0, "why " * 60, begun_ms=0.5) for _ in range(64)
    ]
    sink = Sink()
    sink.emit(*done_message(turn, turn.result))
    trail = sink.messages[-1]["trail"]
    assert len(trail) == 32
    assert set(trail[0]) == {"backend", "outcome", "at_ms"}
