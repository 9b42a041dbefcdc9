"""What players would cost: the arithmetic of `palaver cost`.

The model is the one of the cost analysis that this project began with: players talk so often for
so many hours a day, a dialogue has so many tokens, and what neither the cache nor a local model
answers is paid for. Its figures are the defaults here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from palaver.spend.prices import Price

__all__ = ["Estimate", "Load", "Scenario", "estimate", "scenarios", "share_saved"]

FLAT = Price(30.0, 30.0, 30.0, source="$0.03 for 1,000 tokens of either kind")
"""The one price of the analysis: GPT-4-turbo's for replies, taken for prompts too."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is said.

    Attributes:
        players: Players at once, all day.
        dialogues_per_hour: Of one player.
        hours: Of play a day.
        days: In a month.
        prompt_tokens: Of one dialogue.
        reply_tokens: Likewise.
    """

    players: int = 1_000
    dialogues_per_hour: float = 20
    hours: float = 12
    days: float = 30
    prompt_tokens: float = 100
    reply_tokens: float = 50

    @property
    def dialogues(self) -> float:
        """Dialogues in a month."""
        return self.players * self.dialogues_per_hour * self.hours * self.days


@dataclass(frozen=True, slots=True)
class Scenario:
    """A way to answer them.

    Attributes:
        name: What it is called.
        price: What the cloud costs.
        cache: Share of dialogues that the dialogue cache answers.
        local: Share of the rest that a local model answers.
        prompt_cached: Share of prompt tokens that the provider has in its own cache.
        hardware_usd: What the local models' machines cost, or 0 where there are none.
        months: For how long they last.
        running_usd: What they cost each month besides: power, space, people.
    """

    name: str
    price: Price = FLAT
    cache: float = 0.0
    local: float = 0.0
    prompt_cached: float = 0.0
    hardware_usd: float = 0.0
    months: float = 36
    running_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a scenario comes to in a month.

    Attributes:
        name: The scenario.
        dialogues: How many there are.
        cached: How many the cache answers.
        local: How many a local model answers.
        cloud: How many are paid for.
        cloud_usd: What those cost.
        hardware_usd: What machines cost, with all that keeps them running.
        total_usd: Both.
    """

    name: str
    dialogues: float
    cached: float
    local: float
    cloud: float
    cloud_usd: float
    hardware_usd: float

    @property
    def total_usd(self) -> float:
        """All of it."""
        return self.cloud_usd + self.hardware_usd


def estimate(load: Load, scenario: Scenario) -> Estimate:
    """Return what a scenario comes to in a month."""
    cached = load.dialogues * scenario.cache
    local = (load.dialogues - cached) * scenario.local
    cloud = load.dialogues - cached - local
    price = scenario.price
    # Not `price.cost`, which is for one call and whole tokens.
    prompt = price.prompt * (1 - scenario.prompt_cached) + price.cached * scenario.prompt_cached
    one = (load.prompt_tokens * prompt + load.reply_tokens * price.completion) / 1e6
    hardware = 0.0
    if scenario.hardware_usd or scenario.running_usd:
        hardware = scenario.hardware_usd / scenario.months + scenario.running_usd
    return Estimate(scenario.name, load.dialogues, cached, local, cloud, cloud * one, hardware)


def scenarios(base: Scenario) -> list[Scenario]:
    """Return what is worth comparing.

    Args:
        base: Everything that may be used; each scenario leaves some of it out.
    """
    nothing = replace(
        base, name="cloud only", cache=0.0, local=0.0, hardware_usd=0.0, running_usd=0.0
    )
    return [
        nothing,
        replace(nothing, name="cloud and cache", cache=base.cache),
        replace(base, name="hybrid", cache=0.0),
        replace(base, name="hybrid and cache"),
    ]


def share_saved(one: Estimate, than: Estimate) -> float:
    """Return which share of another estimate's cost is saved."""
    return 1 - one.total_usd / than.total_usd if than.total_usd else 0.0
