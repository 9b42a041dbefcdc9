"""What a model knows of one player is never said to another by way of the dialogue cache."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from palaver.cache.counts import CacheCounts
from palaver.cache.renew import MAX_TRIES
from palaver.hookspecs import hookimpl
from palaver.prompt.sections import Place, Prompt, Section
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world
from palaver.turn.model import Turn, TurnResult

SECRET = "I murdered the smith last night"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A small world."""
    return write_world(tmp_path / "world")


def serving(
    world: Path, *replies: Any, plugins: Mapping[str, Any] | None = None, **rule: Any
) -> Any:
    """Return a server whose tier keeps one reply for each situation."""
    backend = ScriptedBackend("local", *(replies or [f"Answer {n}." for n in range(1, 40)]))
    overrides = {"tiers.elite.cache": {"variants": 1, **rule}}
    return running_server(world, backend=backend, overrides=overrides, plugins=plugins)


async def say(palaver: RunningServer, text: str, player: str, **more: Any) -> TurnResult:
    """Run one turn."""
    async with asyncio.timeout(30):
        return await palaver.gateway.ask(text, npc="vlad", persona="vampire", player=player, **more)


def counts(palaver: RunningServer) -> CacheCounts:
    """Return what the cache did."""
    return palaver.gateway.cache.counts["elite"]


async def until(palaver: RunningServer, **wanted: int) -> None:
    """Wait until the cache has counted so much."""
    async with asyncio.timeout(30):
        while any(getattr(counts(palaver), name) < count for name, count in wanted.items()):  # noqa: ASYNC110  # no event
            await asyncio.sleep(0)


def prompt_of(palaver: RunningServer, index: int) -> str:
    """Return what a model was told."""
    return "\n".join(one.content for one in palaver.backend.calls[index].request.messages)


async def test_what_was_told_in_confidence_is_not_said_to_others(world: Path) -> None:
    """A reply that a model made with a player's history in its prompt is said to them alone."""
    replies = ["Be quiet.", "You again, murderer of the smith?", "Good evening."]
    async with serving(world, *replies) as palaver:
        await say(palaver, SECRET, "p1")
        assert "murderer" in (await say(palaver, "Hello", "p1")).text
        other = await say(palaver, "Hello", "p2")
        assert (other.cached, other.text) == (False, "Good evening.")
        assert counts(palaver).refused == {"private": 1}


async def test_a_situation_that_comes_up_again_gets_a_reply_that_is_nobodys(world: Path) -> None:
    """From the second time on a model is asked in the background, and told of no player."""
    async with serving(world) as palaver:
        palaver.gateway.game("default").upsert_player("p1", name="Grace")
        palaver.gateway.game("default").upsert_player("p2", name="Ada", facts={"purse": 1200})
        for player in ("p1", "p2"):
            await say(palaver, SECRET, player)
        await say(palaver, "Hello", "p1")
        assert counts(palaver).stored == 1, "nothing but what was said of the smith first"
        await say(palaver, "Hello", "p2")
        await until(palaver, stored=2)
        made = palaver.backend.calls[-1].request
        assert (made.turn.player, made.turn.session, made.priority) == (None, None, 3)
        told = prompt_of(palaver, -1)
        assert "Hello" in told
        assert not [word for word in ("smith", "Grace", "Ada", "p2", "1200") if word in told]
        heard = await say(palaver, "Hello", "p3")
        assert (heard.cached, heard.text) == (True, "Answer 4.")


async def test_of_what_came_before_only_what_the_situation_holds_is_told(world: Path) -> None:
    """After a short question a model is told the NPC's last line, and not what led to it."""
    async with serving(world, "I see.", "Because.") as palaver:
        for player in ("p1", "p2"):
            await say(palaver, SECRET, player)
            await say(palaver, "Why?", player)
        await until(palaver, stored=2)
        told = prompt_of(palaver, -1)
        assert "I see." in told
        assert "smith" not in told


class Knows:
    """A plugin that tells a model something of each player."""

    def __init__(self, *, prompt: bool) -> None:
        self.prompt = prompt

    @hookimpl
    def palaver_build_context(self, turn: Turn) -> Mapping[str, Any] | None:
        return None if self.prompt else {"rumour": f"of {turn.player.id if turn.player else None}"}

    @hookimpl
    def palaver_prompt(self, turn: Turn, prompt: Prompt) -> None:
        if self.prompt and turn.player is not None:
            text = f"{turn.player.id} is a thief."
            prompt.add(Section("rumour", "user", text, 60, "knows", Place.MOMENT))


@pytest.mark.parametrize("prompt", [False, True])
async def test_what_a_plugin_knows_is_not_said_to_others(world: Path, prompt: bool) -> None:
    """What a plugin adds to context or prompt is private, and left out of what others hear."""
    async with serving(world, plugins={"knows": Knows(prompt=prompt)}) as palaver:
        for player in ("p1", "p2"):
            assert not (await say(palaver, "Hello", player)).cached
        await until(palaver, stored=1)
        assert counts(palaver).refused == {"private": 2}
        made = palaver.backend.calls[-1].request.turn
        assert (made.context, made.variables["context"], made.player) == ({}, {}, None)
        assert (await say(palaver, "Hello", "p3")).cached


async def test_what_a_rule_names_is_not_private(world: Path) -> None:
    """With `context.NAME` in the rule what a plugin tells is part of the situation."""
    plugins = {"knows": Knows(prompt=False)}
    async with serving(world, plugins=plugins, facts=["intent", "context.rumour"]) as palaver:
        await say(palaver, "Hello", "p1")
        assert counts(palaver).stored == 1
        assert not (await say(palaver, "Hello", "p2")).cached


async def test_a_model_that_cannot_keep_a_secret_is_not_asked_for_ever(world: Path) -> None:
    """After three replies in a row that cannot be kept, no more are made for that situation."""
    async with serving(world, "The bakers know.") as palaver:
        for number in range(MAX_TRIES + 4):
            await say(palaver, "Hello", f"p{number}", facts={"guild": "bakers"})
            tries = min(number, MAX_TRIES)
            async with asyncio.timeout(30):
                while counts(palaver).refused["names"] < number + 1 + tries:  # noqa: ASYNC110  # no event
                    await asyncio.sleep(0)
        assert len(palaver.backend.calls) == MAX_TRIES + 4 + MAX_TRIES
