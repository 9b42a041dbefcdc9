"""The plugin's own tests."""

from __future__ import annotations

import pytest

from palaver import Finish
from palaver.testing.contract import Case
from palaver.testing.contract_lab import ask
from palaver.testing.turns import make_request, make_turn
from palaver_example import palaver_build_context
from palaver_example.backend import ExampleBackend, ExampleSettings


@pytest.fixture
def backend() -> ExampleBackend:
    """A backend with the default settings."""
    return ExampleBackend("local", ExampleSettings(type="example"))


async def test_a_word_it_knows_is_answered_with_its_rhyme(backend: ExampleBackend) -> None:
    """A word it knows is answered with its rhyme."""
    said = await ask(Case(backend, make_request("I want your GOLD!")))
    assert said.text == "You say gold, I answer old."


async def test_it_says_so_where_it_knows_no_rhyme(backend: ExampleBackend) -> None:
    """What it says where it knows no rhyme is a setting."""
    said = await ask(Case(backend, make_request("orange")))
    assert said.text == backend.settings.unknown


async def test_a_world_can_teach_it_rhymes() -> None:
    """The rhymes of `palaver.toml` take the place of the built-in ones."""
    settings = ExampleSettings.model_validate({"type": "example", "rhymes": {"door": "before"}})
    said = await ask(Case(ExampleBackend("local", settings), make_request("Open the door")))
    assert said.text == "You say door, I answer before."


async def test_a_reply_comes_word_by_word_and_ends(backend: ExampleBackend) -> None:
    """A reply comes in pieces, and the last thing that comes is how it ended."""
    said = await ask(Case(backend, make_request("night")))
    assert len(said.pieces) == 6
    assert said.finish == Finish("stop", completion_tokens=6)


def test_templates_learn_how_much_was_said() -> None:
    """A template can use the number of words of the utterance."""
    assert palaver_build_context(make_turn("one two three")) == {"example_words": 3}
