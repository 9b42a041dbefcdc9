"""A client's own messages as a prompt and as a history."""

from __future__ import annotations

import pytest

from palaver.game import Player
from palaver.prompt.sections import Message, Prompt
from palaver.prompt.trim import trim
from palaver.turn.given import given_exchanges, given_sections


def talk(*words: str) -> list[Message]:
    """Return messages written as `u:Hello`: s(ystem), u(ser), a(ssistant)."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [Message(roles[word[0]], word[2:]) for word in words]  # type: ignore[arg-type]  # a role


def asked(*words: str) -> list[str]:
    """Return what a model is asked, likewise."""
    return [
        f"{one.role[0]}:{one.content}" for one in Prompt(given_sections(talk(*words))).messages()
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["u:Hi"], ["u:Hi"]),
        (["s:Be", "u:Hi", "a:Yo", "u:So?"], ["s:Be", "u:Hi", "a:Yo", "u:So?"]),
        (["s:Be", "u:Hi", "s:kind"], ["s:Be\n\nkind", "u:Hi"]),
        (["u:Hi", "u:So?"], ["u:Hi\n\nSo?"]),
        (["a:Welcome", "u:Hi"], ["a:Welcome", "u:Hi"]),
        (["u:Hi", "a:Yo", "a:again"], ["u:Hi"]),
        (["s:Be", "u:"], ["s:Be", "u:(Nothing is said.)"]),
        (["u:Hi", "a:", "u: "], ["u:Hi\n\n(Nothing is said.)"]),
    ],
    ids=str,
)
def test_messages_as_a_prompt(given: list[str], expected: list[str]) -> None:
    """Systems come first and in one, the last of a user ends it, an empty one is still answered."""
    assert asked(*given) == expected


def test_a_prompt_that_is_too_long_loses_its_oldest_messages() -> None:
    """What the system and the user say is kept; the talk before goes from its old end."""
    words = [f"{'ua'[n % 2]}:{n} {'x' * 100}" for n in range(20)]
    prompt = Prompt(given_sections(talk("s:Be kind.", *words, "u:Last?")))
    shorter, dropped = trim(prompt, 600)
    texts = [section.text for section in shorter.sections]
    assert texts[0] == "Be kind."
    assert texts[-1] == "Last?"
    assert texts[1:-1] == [word[2:] for word in words[20 - len(texts) + 2 :]]
    assert dropped
    assert len(dropped) % 4 == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        (["s:Be"], []),
        (["u:Hi", "a:Yo"], [("Hi", "Yo")]),
        (["a:Welcome", "u:Hi", "a:Yo"], [("", "Welcome"), ("Hi", "Yo")]),
        (["u:Hi", "u:So?", "a:Yo", "a:ho"], [("Hi\nSo?", "Yo\nho")]),
        (["u:Hi", "a:Yo", "u:So?"], [("Hi", "Yo"), ("So?", "")]),
    ],
    ids=str,
)
def test_messages_as_a_history(given: list[str], expected: list[tuple[str, str]]) -> None:
    """What was said, and the reply to it, in pairs."""
    found = given_exchanges("vlad", Player("ada", name="Ada"), talk(*given))
    assert [(one.said, one.reply) for one in found] == expected
    assert [one.at for one in found] == sorted({one.at for one in found})
    assert {one.counterpart for one in found} <= {"player/ada"}
    assert {one.speaker_name for one in found} <= {"Ada"}
