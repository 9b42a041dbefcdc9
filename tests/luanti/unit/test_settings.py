"""Settings: read once, checked, with a word about those that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest
from luanti_stub.engine import Engine


def made(**settings: object) -> tuple[Any, list[str]]:
    """Return the settings for some lines of `minetest.conf`, and what is said of them."""
    engine = Engine(
        settings={name.replace("__", "."): value for name, value in settings.items()},
        parts=["settings"],
    )
    return engine.A.settings, engine.log("warning")


def test_without_any_all_is_set_and_nothing_is_said() -> None:
    """The mod needs one setting of the engine and none of its own."""
    found, said = made()
    assert found.url == "http://127.0.0.1:8765"
    assert found.token == ""
    assert found.game == "meadow"
    assert (found.max_requests, found.queue, found.chars_per_s) == (6, 64, 40)
    assert (found.first_words_s, found.turn_s, found.allow_attack) == (2.5, 20, False)
    assert said == []


@pytest.mark.parametrize(
    ("limit", "own"), [("8", 6), ("64", 62), ("500", 62), ("2", 1), ("0", 1), ("x", 6), ("nan", 6)]
)
def test_two_requests_are_left_to_other_mods(limit: str, own: int) -> None:
    """Of what the engine sends at a time."""
    assert made(curl_parallel_limit=limit)[0].max_requests == own


def test_nobody_takes_more_than_the_engine_has() -> None:
    """A budget above it is brought down to it."""
    found, said = made(llm_agent__max_requests=20)
    assert found.max_requests == 6
    assert "llm_agent.max_requests" in said[0]


@pytest.mark.parametrize(
    ("name", "value", "used"),
    [
        ("url", "palaver", "http://127.0.0.1:8765"),
        ("url", "http://x y", "http://127.0.0.1:8765"),
        ("chars_per_s", "fast", 40),
        ("chars_per_s", "nan", 40),
        ("chars_per_s", "0", 1),
        ("hold_ms", "0.5", 100),
        ("queue", "1e9", 1000),
        ("npc_talks", "perhaps", True),
        ("lang", "French, please", ""),
        ("turn_s", "-1", 1),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str, used: object) -> None:
    """With what is used instead."""
    found, said = made(**{f"llm_agent__{name}": value})
    assert found[name] == used
    assert len(said) == 1
    assert f"llm_agent.{name}" in said[0]
    assert "minetest.conf" in said[0]


@pytest.mark.parametrize("name", ["url", "game", "lang", "token", "queue", "bubble"])
def test_an_empty_value_is_none(name: str) -> None:
    """As the engine's own menu writes what was cleared."""
    found, said = made(**{f"llm_agent__{name}": ""})
    assert found[name] == made()[0][name]
    assert said == []


def test_flags_are_words_of_the_engine() -> None:
    """`true`, `false` and their kin."""
    assert made(llm_agent__bubble="false")[0].bubble is False
    assert made(llm_agent__allow_attack=" True ")[0].allow_attack is True


def test_trap_7_a_name_of_a_host_is_warned_of() -> None:
    """One that does not resolve stops the requests of all mods; an address never does."""
    assert "127.0.0.1" in made(llm_agent__url="http://palaver.local:8765/")[1][0]
    assert made(llm_agent__url="http://10.0.0.2:8765/")[1] == []
    assert made(llm_agent__url="http://[::1]:8765")[1] == []
    assert made(llm_agent__url="http://10.0.0.2:8765/")[0].url == "http://10.0.0.2:8765"


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", "a\x00b"])
def test_a_token_cannot_become_a_header_of_its_own(token: str) -> None:
    """Up to 5.16 the engine puts line breaks into the request as they are."""
    found, said = made(llm_agent__token=token)
    assert found.token == ""
    assert "llm_agent.token" in said[0]


@pytest.mark.parametrize(
    ("lang", "is_one"),
    [
        ("fr", True), ("pt_BR", True), ("zh-Hans-CN", True), ("", False), ("f", False),
        ("abcdefghi", False), ("en_", False), ("en-abcdefghi", False), ("en!", False),
        ("a b", False), ("e1", False), ("en_US.UTF-8", False), ("en" + "-a" * 20, False),
    ],
)  # fmt: skip
def test_a_language_is_what_the_wire_calls_one(lang: str, is_one: bool) -> None:
    """Anything else would cost a player the answer."""
    assert made()[0].is_language(lang) is is_one
