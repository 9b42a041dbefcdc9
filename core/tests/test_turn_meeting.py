"""First meetings: an NPC's first exchange with a player may run under a tier of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from palaver.config.models import Tier, default_tiers
from palaver.hookspecs import hookimpl
from palaver.memory import Exchange
from palaver.testing.server import running_server
from palaver.testing.turns import make_turn
from palaver.turn import context, meeting
from palaver.turn.meeting import meet
from palaver.turn.model import Turn

WAIT_S = 20
BOSS = {"tier": "boss"}
TIERS = {
    "boss": Tier(chain=["local"], first_meeting="story"),
    "story": Tier(chain=["premium"], first_meeting="boss"),
    "lone": Tier(chain=["local"], first_meeting="nowhere"),
    "plain": Tier(chain=["local"]),
}


class Remembers:
    """A memory that knows so many exchanges of everybody."""

    def __init__(self, known: int = 0) -> None:
        self.known = known
        self.asked: list[tuple[Any, ...]] = []

    def recall(self, *asked: Any) -> Sequence[Exchange] | Awaitable[Sequence[Exchange]]:
        """Return what it knows."""
        self.asked.append(asked)
        exchange = Exchange("npc", "player:ada", "Hello.", False, "Hm.", 1.0)
        return [exchange] * self.known


def turn_of(tier: str = "boss", **fields: Any) -> Turn:
    """Return a turn of this tier."""
    return make_turn(tier=TIERS[tier], tier_name=tier, **fields)


async def test_a_first_meeting() -> None:
    """The turn has the tier of first meetings, and its trace says so; a second meeting has not."""
    turn = turn_of()
    assert await meet(turn, TIERS, Remembers())  # type: ignore[arg-type]  # all that is asked of it
    assert (turn.tier, turn.tier_name) == (TIERS["story"], "story")
    assert turn.trace == ["a first meeting: the tier 'story' instead of 'boss'"]
    assert not await meet(turn_of(), TIERS, Remembers(1))  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    "turn",
    [
        turn_of("plain"),
        turn_of("lone"),
        turn_of(player=None),
        turn_of(speaker="other"),
        turn_of(given_prompt=()),
        turn_of(given_history=[None]),
        turn_of(history=[None]),
    ],
    ids=["no-rule", "no-such-tier", "nobody", "npc", "own-prompt", "own-history", "history"],
)
async def test_no_first_meeting(turn: Turn) -> None:
    """Only where the tier says so, and only with a player who was not there before."""
    before = turn.tier
    assert not await meet(turn, TIERS, Remembers())  # type: ignore[arg-type]  # as above
    assert turn.tier is before


async def test_memory_that_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is late or fails makes no first meeting: that would cost money every time."""
    monkeypatch.setattr(meeting, "RECALL_S", 0.0)

    class Late(Remembers):
        async def wait(self) -> Sequence[Exchange]:
            await asyncio.Event().wait()
            return ()

        def recall(self, *asked: Any) -> Awaitable[Sequence[Exchange]]:
            return self.wait()

    class Fails(Remembers):
        def recall(self, *asked: Any) -> Sequence[Exchange]:
            raise RuntimeError("broken")

    for memory in (Late(), Fails()):
        turn = turn_of()
        assert not await meet(turn, TIERS, memory)  # type: ignore[arg-type]  # as above
        assert turn.tier_name == "boss"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, memory is not left out."""
    monkeypatch.setattr(context, "RECALL_S", WAIT_S)
    monkeypatch.setattr(meeting, "RECALL_S", WAIT_S)


@pytest.mark.usefixtures("patient")
async def test_on_a_server(palaver_world: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The limits of the first exchange are the other tier's, those of the second its own again."""
    caplog.set_level(logging.ERROR)
    overrides = {
        "tiers.boss.memory": 0,
        "tiers.boss.first_text_ms": 50_000,
        "tiers.boss.total_ms": 70_000,
        "tiers.story.chain": ["local"],
        "tiers.story.max_tokens": 333,
        "tiers.story.first_text_ms": 50_000,
        "tiers.story.total_ms": 60_000,
    }
    async with running_server(palaver_world, overrides=overrides) as palaver:
        engine = await palaver.ready()
        await engine.send({"type": "npc.upsert", "npc": "vlad", "persona": "vampire", **BOSS})
        for turn, player in (("t1", "ada"), ("t2", "ada"), ("t3", "bob")):
            await engine.say("vlad", "Good evening!", turn=turn, player=player)
        requests = palaver.backend.requests
    assert [one.turn.tier_name for one in requests] == ["story", "boss", "story"]
    assert requests[0].sampling.max_tokens == 333
    limits = [round(one.turn.ends_at - one.turn.first_text_at) for one in requests]
    assert limits == [10, 20, 10]
    assert not caplog.records


@pytest.mark.usefixtures("patient")
async def test_what_a_plugin_chose_stays(palaver_world: Path) -> None:
    """A tier that a plugin sets for a turn is not replaced by that of first meetings."""

    def choose(turn: Turn) -> None:
        turn.tier_name = "boss"

    plugin = SimpleNamespace(palaver_turn_received=hookimpl(choose))
    async with running_server(palaver_world, plugins={"choose": plugin}) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Good evening!", turn="t1", player="ada")
        assert palaver.backend.requests[0].turn.tier_name == "boss"


def test_the_shipped_tiers() -> None:
    """A boss meets players as a story character does; the story is the cloud's from the start."""
    tiers = default_tiers()
    assert tiers["boss"]["first_meeting"] == "story"
    assert tiers["story"]["chain"][0] == "premium"
