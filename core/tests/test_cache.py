"""The dialogue cache, from the engine's socket to the backend and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world
from palaver.turn.model import TurnResult

TWO = {"tiers.elite.cache": {"variants": 2}}
ONE = {"tiers.elite.cache": {"variants": 1}}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A small world."""
    return write_world(tmp_path / "world")


@asynccontextmanager
async def serving(
    world: Path, overrides: Mapping[str, Any], *replies: str, **more: Any
) -> AsyncIterator[RunningServer]:
    """A server whose model gives these replies, or another one each time."""
    backend = ScriptedBackend("local", *(replies or [f"Answer {n}." for n in range(1, 40)]))
    async with running_server(world, backend=backend, overrides=overrides, **more) as palaver:
        yield palaver


async def say(
    palaver: RunningServer, text: str | None, player: str | None = "p1", **more: Any
) -> TurnResult:
    """Run one turn."""
    async with asyncio.timeout(30):
        return await palaver.gateway.ask(text, npc="vlad", persona="vampire", player=player, **more)


async def test_a_second_turn_of_the_same_situation_is_answered_from_the_cache(world: Path) -> None:
    """Another player's greeting is answered with the reply to the first, without a model."""
    async with serving(world, ONE) as palaver:
        first = await say(palaver, "Good evening.", "p1")
        second = await say(palaver, "Hello!", "p2")
        assert (first.cached, second.cached) == (False, True)
        assert second.text == first.text
        assert second.served_by.backend == "cache"
        assert [(one.backend, one.outcome) for one in second.trail] == [("cache", "served")]
        assert len(palaver.backend.calls) == 1


async def test_the_engine_sees_that_a_reply_was_cached(world: Path) -> None:
    """On the wire a cached turn is like any other, with `cached` in its `turn.done`."""
    async with serving(world, ONE, "Good evening to you. <feel joy>Sit.") as palaver:
        engine = await palaver.ready(capabilities=["emotion", "sentence"])
        await say(palaver, "Hello", "p1")
        start = {"type": "turn.start", "turn": "t1", "npc": "vlad", "player": "p2"}
        await engine.send({**start, "text": "Hi"})
        seen = [await engine.receive()]
        while seen[-1]["type"] != "turn.done":
            seen.append(await engine.receive())
        assert seen[-1]["cached"] is True
        kinds = [message["type"] for message in seen]
        assert kinds[0] == "turn.accepted"
        assert kinds.index("turn.emotion") < kinds.index("turn.done")
        text = "".join(m["text"] for m in seen if m["type"] == "turn.delta")
        assert text == seen[-1]["text"] == "Good evening to you. Sit."
