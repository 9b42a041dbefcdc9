"""The backend's own tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from palaver.chain.backend import Finish, GenerateRequest
from palaver_example import palaver_build_context
from palaver_example.backend import ExampleBackend, ExampleSettings


def turn(text: str) -> Any:
    """A turn, as far as this plugin looks at one."""
    return SimpleNamespace(text=text)


async def answer(backend: ExampleBackend, text: str) -> str:
    """The whole reply to one utterance."""
    request = GenerateRequest(turn=turn(text), messages=[])
    return "".join([piece async for piece in backend.generate(request) if isinstance(piece, str)])


@pytest.fixture
def backend() -> ExampleBackend:
    """A backend with the default settings."""
    return ExampleBackend("local", ExampleSettings(type="example"))


async def test_a_word_it_knows_is_answered_with_its_rhyme(backend: ExampleBackend) -> None:
    """A word it knows is answered with its rhyme."""
    assert await answer(backend, "I want your GOLD!") == "You say gold, I answer old."


async def test_it_says_so_where_it_knows_no_rhyme(backend: ExampleBackend) -> None:
    """What it says where it knows no rhyme is a setting."""
    assert await answer(backend, "orange") == backend.settings.unknown


async def test_a_world_can_teach_it_rhymes() -> None:
    """The rhymes of `palaver.toml` take the place of the built-in ones."""
    settings = ExampleSettings.model_validate({"type": "example", "rhymes": {"door": "before"}})
    assert await answer(ExampleBackend("local", settings), "Open the door") == (
        "You say door, I answer before."
    )


async def test_a_reply_ends_with_its_finish(backend: ExampleBackend) -> None:
    """The last thing that comes is how the reply ended."""
    request = GenerateRequest(turn=turn("night"), messages=[])
    *pieces, last = [piece async for piece in backend.generate(request)]
    assert len(pieces) == 6
    assert last == Finish("stop", completion_tokens=6)


def test_templates_learn_how_much_was_said() -> None:
    """A template can use the number of words of the utterance."""
    assert cast("dict[str, Any]", palaver_build_context(turn("one two three"))) == {
        "example_words": 3
    }
