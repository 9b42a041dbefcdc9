"""Why the cache did not answer a turn, and whether its reply was kept: told for each turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world


@asynccontextmanager
async def serving(folder: Path, **rule: Any) -> AsyncIterator[RunningServer]:
    """A server with a cache of one reply for each situation."""
    backend = ScriptedBackend("local", *(f"Answer {number}." for number in range(9)))
    overrides = {"tiers.elite.cache": {"variants": 1, **rule}}
    async with running_server(
        write_world(folder / "world"), backend=backend, overrides=overrides
    ) as palaver:
        yield palaver


async def noted(palaver: RunningServer, text: str, player: str, **more: Any) -> str | None:
    """Run one turn and return what is told of the cache."""
    await palaver.gateway.ask(text, npc="vlad", persona="vampire", player=player, **more)
    (told,) = palaver.gateway.recent.last(1)
    note: str | None = told["cache"]
    return note


async def test_a_reply_that_is_kept(tmp_path: Path) -> None:
    """The first turn says that its reply is kept; the next one comes out of the cache."""
    async with serving(tmp_path) as palaver:
        note = await noted(palaver, "Hello", "p1")
        assert note == "it had no reply that could be said here; this one is kept"
        assert await noted(palaver, "Hello", "p2") is None


async def test_a_reply_that_is_not_kept(tmp_path: Path) -> None:
    """The reason is told in words."""
    async with serving(tmp_path) as palaver:
        await noted(palaver, "Hello", "p1")
        note = await noted(palaver, "Who are you?", "p1")
        assert note is not None
        assert "this one is not kept: the model knew more than the situation tells" in note


async def test_a_turn_that_does_not_ask_it(tmp_path: Path) -> None:
    """A turn that wants a model's own words says so."""
    async with serving(tmp_path) as palaver:
        note = await noted(palaver, "Hello", "p1", seed=7)
        assert note is not None
        assert note.startswith("not asked, because ")


@pytest.mark.parametrize("fresh", [False, True])
def test_a_fresh_chat_writes_nothing_of_costs_and_quality(
    cli: Any, trusted: str, cli_environ: dict[str, str], fresh: bool
) -> None:
    """Who tries something leaves no trace in what a server knows of its models."""
    more = ("--fresh",) if fresh else ()
    assert cli("chat", trusted, "--npc", "vampire", "--say", "x", *more).exit_code == 0
    file = Path(cli_environ["PALAVER_DATA_DIR"]) / "quality.json"
    assert file.exists() is not fresh


def test_a_chat_shows_it_on_the_timeline(cli: Any, trusted: str) -> None:
    """In a chat with a server of its own, the timeline has the same line."""
    rule = "tiers.elite.cache={ variants = 1 }"
    asked = ("--npc", "vampire", "--say", "Hello", "--fresh", "--explain", "--set", rule)
    result = cli("chat", trusted, *asked)
    assert result.exit_code == 0, result.output
    assert "cache: " in result.stderr
