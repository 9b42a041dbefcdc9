"""Spend in real turns: costs in trail and result, ceilings that demote, and a day's sums."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import Finish
from palaver.errors import BackendUnavailable
from palaver.gateway import Gateway, Parts
from palaver.startup import prepare
from palaver.testing.scripted import ScriptedBackend, scripted_type
from palaver.turn import context
from palaver.turn.model import TurnResult
from palaver.world.trust import TrustStore

TOML = """
[server]
detect = false
[backends.fast]
type = "cloud"
usd_per_m_prompt = 1
usd_per_m_completion = 1000
[backends.premium]
type = "cloud"
usd_per_m_prompt = 1000
usd_per_m_completion = 10000
[tiers.elite]
chain = ["fast", "premium", "static"]
first_text_ms = 60_000
first_token_ms = 30_000
total_ms = 60_000
max_tokens = 100
cache = false
"""
USED = Finish(prompt_tokens=1_000, completion_tokens=10)
Make = Callable[..., Awaitable[Parts]]


@pytest.fixture
def make(palaver_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes the parts of a gateway whose backends `fast` and `premium` cost money."""
    monkeypatch.setattr(context, "RECALL_S", 20)
    (palaver_world / "palaver.toml").write_text(TOML, encoding="utf-8")

    async def build(fast: Any, premium: Any = "Not needed.", **spend: Any) -> Parts:
        trust = TrustStore(tmp_path / "trusted.json")
        trust.trust(palaver_world)
        clouds = [ScriptedBackend("fast", fast), ScriptedBackend("premium", premium)]
        static = ScriptedBackend("static", "An authored line.")
        return await prepare(
            palaver_world,
            overrides={f"spend.{key}": value for key, value in spend.items()},
            environ={"PALAVER_PLUGINS": ""},
            backend_types=[
                replace(scripted_type(clouds, name="cloud"), paid=True),
                scripted_type([static], name="static", instant=True),
            ],
            trust=trust,
        )

    return build


def trail(result: TurnResult) -> list[tuple[str, str]]:
    """Return who was asked and what became of it."""
    return [(one.backend, one.outcome) for one in result.trail]


async def test_what_a_turn_cost(make: Make) -> None:
    """The cost is that of its tokens, in the trail, the result and the sums of the day."""
    async with Gateway(await make(["Good evening.", USED])) as palaver:
        result = await palaver.ask("Hello.", persona="vampire", player="ada")
        assert trail(result) == [("fast", "served")]
        assert result.trail[0].cost_usd == pytest.approx(0.011)
        assert result.usage.cost_usd == pytest.approx(0.011)
        spent = palaver.governor.spent()
        assert spent["tier"] == {"elite": pytest.approx(0.011)}
        assert spent["player"] == {"default/ada": pytest.approx(0.011)}


async def test_those_that_failed_cost_too(make: Make) -> None:
    """What a backend wrote before it failed is paid for, and so is the one that took over."""
    died = ["Good ev", BackendUnavailable("fast", "went away")]
    async with Gateway(await make(died, ["Go on.", USED])) as palaver:
        result = await palaver.ask("Hello.", persona="vampire")
        assert result.served_by.backend == "premium"
        first, second = result.trail[0], result.trail[-1]
        assert first.cost_usd > 0
        assert second.cost_usd == pytest.approx(1.1)
        assert result.usage.cost_usd == pytest.approx(first.cost_usd + second.cost_usd)


async def test_a_cancelled_turn_costs_too(make: Make) -> None:
    """The provider has read the prompt, whoever leaves."""
    async with Gateway(await make(["Good evening, ", asyncio.Event()])) as palaver:
        begun = asyncio.Event()
        asked = asyncio.create_task(
            palaver.ask(
                "Hello.",
                persona="vampire",
                sink=Shown(begun),
                on_turn=lambda turn: turns.append(turn),
            )
        )
        turns: list[Any] = []
        async with asyncio.timeout(20):
            await begun.wait()
        asked.cancel()
        await asyncio.wait([asked])
        assert turns[0].result.status == "cancelled"
        assert turns[0].result.usage.cost_usd > 0
        assert palaver.governor.spent()["backend"]["fast"] == turns[0].result.usage.cost_usd


class Shown:
    """Takes a turn's messages and says when the first one is there."""

    capabilities: frozenset[str] = frozenset()

    def __init__(self, begun: asyncio.Event) -> None:
        self._begun = begun

    def emit(self, head: str, tail: str) -> None:
        """Take one."""
        self._begun.set()

    def end(self, head: str, tail: str) -> None:
        """Take the last one."""


async def test_a_ceiling_demotes(make: Make) -> None:
    """What is too dear is left out, the cheaper one speaks; with nothing left the lines do."""
    async with Gateway(await make(["Good evening.", USED], usd_per_day=0.15)) as palaver:
        palaver.settings.tiers["elite"].chain[:2] = ["premium", "fast"]
        result = await palaver.ask("Hello.", persona="vampire")
        assert trail(result) == [("premium", "refused"), ("fast", "served")]
        assert result.trail[0].reason == "the ceiling of $0.15 a day leaves no room for it"
        for _ in range(10):
            result = await palaver.ask("Hello.", persona="vampire")
        assert trail(result) == [("premium", "refused"), ("fast", "refused"), ("static", "served")]
        assert result.text == "An authored line."
        assert palaver.governor.spent()["all"][""] <= 0.15


@pytest.mark.parametrize("spend", [{"usd_per_day": 0}, {"usd_per_player_day": 0}, {"mode": "off"}])
async def test_nothing_may_be_spent(make: Make, spend: dict[str, Any]) -> None:
    """A ceiling of 0, and spending that is off, serve authored lines."""
    parts = await make("Not asked.", **spend)
    async with Gateway(parts) as palaver:
        result = await palaver.ask("Hello.", persona="vampire", player="ada")
        assert trail(result) == [("fast", "refused"), ("premium", "refused"), ("static", "served")]
        assert (result.status, result.usage.cost_usd) == ("completed", 0)
    assert not any(
        getattr(backend, "requests", None)
        for backend, _ in parts.backends.values()
        if backend.name != "static"
    )


async def test_many_turns_at_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A hundred turns at the same moment do not go beyond the ceiling together."""
    caplog.set_level(logging.WARNING, "palaver.spend")
    async with Gateway(await make(["Good evening.", USED], usd_per_day=1.0)) as palaver:
        asked = [
            palaver.ask(f"Hello, {number}.", persona="vampire", player=f"p{number}")
            for number in range(100)
        ]
        results = await asyncio.gather(*asked)
        spent = palaver.governor.spent()["all"][""]
        assert 0 < spent <= 1.0
        assert spent == pytest.approx(sum(one.usage.cost_usd for one in results))
        assert {one.status for one in results} == {"completed"}
        for _ in range(100):
            await palaver.ask("More.", persona="vampire", player="q")
        assert palaver.governor.spent()["all"][""] <= 1.0
    lines = [record.getMessage() for record in caplog.records if record.name == "palaver.spend"]
    assert len([line for line in lines if "is reached" in line]) == 1
    assert len(lines) <= 2


async def test_a_restart(make: Make) -> None:
    """The next gateway of the same world knows what was spent today."""
    for expected in (("fast", "served"), ("static", "served")):
        async with Gateway(await make(["Good evening.", USED], usd_per_day=0.111)) as palaver:
            result = await palaver.ask("Hello.", persona="vampire")
            assert trail(result)[-1] == expected
