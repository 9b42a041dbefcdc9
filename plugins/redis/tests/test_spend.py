"""Two real gateways that keep to one ceiling through one real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from palaver.spend import sharing
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world
from palaver.turn.model import TurnResult

REPLY_USD = 0.2
"""What each reply costs: two tokens."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was away is tried again at once."""
    monkeypatch.setattr(sharing, "RETRY_S", (0.01, 0.05))


@asynccontextmanager
async def gateway(folder: Path, url: str) -> AsyncIterator[RunningServer]:
    """A server whose replies cost money, up to a dollar a day."""
    overrides = {
        "spend.usd_per_day": 1.0,
        "backends.local.usd_per_m_completion": REPLY_USD / 2 * 1e6,
        "tiers.elite.max_tokens": 2,
        "tiers.elite.cache": False,
        "store.type": "redis",
        "store.url": url,
        "store.connect_ms": 20_000,
        "store.response_ms": 20_000,
    }
    async with running_server(
        write_world(folder / "world"),
        backend=ScriptedBackend("local", "Welcome."),
        overrides=overrides,
        environ={"PALAVER_PLUGINS": "redis"},
    ) as palaver:
        yield palaver


async def say(palaver: RunningServer, player: str = "ada") -> TurnResult:
    """Run one turn."""
    async with asyncio.timeout(60):
        return await palaver.gateway.ask("Hello", npc="vlad", persona="vampire", player=player)


async def both_know(usd: float, *gateways: RunningServer) -> None:
    """Wait until each gateway knows that so much was spent by all of them."""
    async with asyncio.timeout(60):
        while min(map(spent, gateways)) < usd - 1e-6:
            for palaver in gateways:
                palaver.gateway.governor.refresh()
            await asyncio.sleep(0.01)


def spent(palaver: RunningServer) -> float:
    """Return what a gateway believes that all of them have spent."""
    return palaver.gateway.governor.spent().get("all", {}).get("", 0.0)


async def test_one_ceiling_for_two(tmp_path: Path, redis_server: Any) -> None:
    """What one gateway spends the other cannot; a player is known at both."""
    async with (
        gateway(tmp_path / "a", redis_server.url) as one,
        gateway(tmp_path / "b", redis_server.url) as two,
    ):
        for number, palaver in enumerate([one, two, one, two, one], start=1):
            result = await say(palaver)
            assert result.usage.cost_usd == pytest.approx(REPLY_USD)
            await both_know(number * REPLY_USD, one, two)
        for palaver in (one, two):
            assert spent(palaver) == pytest.approx(1.0)
            result = await say(palaver)
            assert (result.trail[0].outcome, result.usage.cost_usd) == ("refused", 0)
            assert "the ceiling of $1.00 a day" in (result.trail[0].reason or "")


async def test_redis_dies_in_the_middle(tmp_path: Path, redis_server: Any) -> None:
    """No turn is lost, each keeps to what it knows, and nothing is forgotten afterwards."""
    async with (
        gateway(tmp_path / "a", redis_server.url) as one,
        gateway(tmp_path / "b", redis_server.url) as two,
    ):
        await say(one)
        await both_know(REPLY_USD, one, two)
        await redis_server.kill()
        for palaver in (one, two):
            result = await say(palaver)
            assert (result.status, result.trail[0].outcome) == ("completed", "served")
        # Redis comes back empty; it is told of what it has forgotten.
        await redis_server.start()
        await both_know(3 * REPLY_USD, one, two)
        await say(one)
        await both_know(4 * REPLY_USD, one, two)
