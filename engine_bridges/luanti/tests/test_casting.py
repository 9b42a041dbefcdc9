"""Who is meant by a name."""

from __future__ import annotations

import pytest

from palaver_luanti.casting import is_instruction, persona_called, persona_in

NAMES = {"elder": "Elder", "elder_willow": "Elder Willow", "alchemist": "The Alchemist"}


@pytest.mark.parametrize(
    ("prompt", "persona"),
    [
        ("You are NPC 'Elder Willow' located at (0,10,0).", "elder_willow"),
        ("You are NPC 'Alchemist' located at (x=5, y=3, z=-2).", "alchemist"),
        ("You are the  alchemist. Elder Willow is near.", "alchemist"),
        ("Greetings, elder!", "elder"),
        ("elder_willow, are you there?", "elder_willow"),
        ("The elderly alchemists sleep.", None),
        ("", None),
    ],
)
def test_in_a_prompt(prompt: str, persona: str | None) -> None:
    """The first name counts, as a whole word, in any case; of two at one place the longer."""
    assert persona_in(prompt, NAMES) == persona


@pytest.mark.parametrize(
    ("name", "persona"),
    [
        ("elder_willow", "elder_willow"),
        ("Elder Willow", "elder_willow"),
        ("alchemist", "alchemist"),
        ("THE ALCHEMIST", "alchemist"),
        ("Willow", None),
        ("", None),
    ],
)
def test_called(name: str, persona: str | None) -> None:
    """A persona is called by its id or its whole name."""
    assert persona_called(name, NAMES) == persona


def test_instruction() -> None:
    """What begins like a system prompt is an instruction; what a player says is not."""
    assert is_instruction("You are NPC 'Elder Willow'")
    assert is_instruction("\n  Pretend to be a guard.")
    assert not is_instruction("Are you the alchemist?")
    assert not is_instruction("Your are the worst")
