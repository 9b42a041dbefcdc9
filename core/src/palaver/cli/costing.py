"""How `palaver cost` finds and shows its figures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from palaver.chain.backend import BackendType
from palaver.cli.output import console, print_json, safe, table
from palaver.config.load import load_settings, parse_backend
from palaver.config.models import Settings
from palaver.errors import ConfigError
from palaver.hints import did_you_mean
from palaver.plugins import make_plugin_manager
from palaver.spend.estimate import FLAT, Estimate, Load, Scenario, estimate, scenarios, share_saved
from palaver.spend.prices import FREE, Price, PriceTable, load_prices, price_of
from palaver.startup import locate
from palaver.world.loader import load_world
from palaver.world.trust import TrustStore

__all__ = ["Asked", "say_cost", "say_world"]

MEASURED_RATES = (
    "In a simulated day the shipped tiers answered 0.1 to 2.5 % from it where the engine tells "
    "everything, 6 to 22 % where it tells little; intent, mood and language alone 20 to 40 %, the "
    "very words alone 61 to 85 % (docs/explanation/cost.md). Your own share is `hit_rate` in "
    "GET /v1/info."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command; shares in percent."""

    players: int
    dialogues: float
    hours: float
    days: float
    prompt_tokens: float
    reply_tokens: float
    price: float | None
    model: str | None
    prompt_cached: float
    cache: float
    local: float
    hardware: float
    lifetime: float
    running: float

    @property
    def load(self) -> Load:
        """How much is said."""
        return Load(
            self.players,
            self.dialogues,
            self.hours,
            self.days,
            self.prompt_tokens,
            self.reply_tokens,
        )

    def scenario(self, name: str, price: Price) -> Scenario:
        """Return a scenario in which everything may be used."""
        return Scenario(
            name,
            price,
            self.cache / 100,
            self.local / 100,
            self.prompt_cached / 100,
            self.hardware,
            self.lifetime,
            self.running,
        )


def say_cost(asked: Asked, settings: Mapping[str, Any], *, as_json: bool) -> None:
    """Compare ways to answer so many players.

    Raises:
        ConfigError: The model has no price.
    """
    own = load_settings(None, environ=os.environ, overrides=settings).spend.prices
    price = _asked_price(asked, load_prices(own))
    found = [estimate(asked.load, one) for one in scenarios(asked.scenario("", price))]
    note = f"{asked.cache:g} % from the cache (--cache) is assumed. {MEASURED_RATES}"
    _show(asked, price, found, [note], as_json=as_json)


def say_world(world: str, settings: Mapping[str, Any], asked: Asked, *, as_json: bool) -> None:
    """Say what the same load would cost in each tier of a world, and as its personas are spread.

    Every dialogue is taken to be answered by the first model of its tier's chain.

    Raises:
        ConfigError: A setting cannot be used, or a price is missing.
        WorldError: There is no such world.
    """
    first = make_plugin_manager()
    located = locate(world, first)
    trusted = located.shipped or TrustStore().is_trusted(located.folder)
    plugins = make_plugin_manager(world_plugins=located.folder / "plugins") if trusted else first
    file = located.folder / "palaver.toml"
    read = load_settings(file if file.is_file() else None, environ=os.environ, overrides=settings)
    prices = load_prices(read.spend.prices)
    snapshot = load_world(located.folder, plugins.template_folders, trusted=located.shipped)
    spread = Counter(
        persona.front.tier or read.default_tier for persona in snapshot.personas.values()
    )
    found: list[Estimate] = []
    taken = (
        "Every dialogue is taken to be answered by the first model of its tier's chain, and "
        f"{asked.cache:g} % of them by the cache (--cache) where a tier has one."
    )
    notes = [f"{taken} {MEASURED_RATES}"]
    mixed: list[tuple[float, Estimate]] = []
    for tier in read.tiers:
        name, price = _first(read, tier, plugins.backend_types, prices)
        if price is None:
            raise ConfigError(
                f"nothing states what {name!r} costs; set usd_per_m_prompt and "
                "usd_per_m_completion there, as its provider states them",
                file=file,
                key=f"backends.{name}",
            )
        # Authored lines are never cached: they answer at once anyway.
        cached = asked.cache if name and read.tiers[tier].cache is not None else 0.0
        scenario = replace(
            asked.scenario(f"{tier}: {name or 'authored lines'}", price),
            cache=cached / 100,
            # The chain says who answers: what costs nothing is a local model, or authored.
            local=1.0 if price.free else 0.0,
            hardware_usd=asked.hardware if name and price.free else 0.0,
            running_usd=asked.running if name and price.free else 0.0,
        )
        one = estimate(asked.load, scenario)
        found.append(one)
        if spread[tier]:
            mixed.append((spread[tier] / sum(spread.values()), one))
    if mixed:
        found.append(_mix(mixed))
        notes.append(
            "The last line spreads dialogues over tiers as the world's personas are: "
            + ", ".join(f"{count} {tier}" for tier, count in spread.most_common())
            + "."
        )
    _show(asked, None, found, notes, as_json=as_json)


def _asked_price(asked: Asked, prices: PriceTable) -> Price:
    if asked.model is not None:
        found = prices.find(asked.model)
        if found is None:
            hint = did_you_mean(asked.model, [one.match.rstrip("*") for one in prices.entries])
            raise ConfigError(
                f"no price is known for the model {asked.model!r}{hint}; give --price, or write "
                "it into a table of your own ([spend] prices)"
            )
        return found
    if asked.price is not None:
        flat = asked.price * 1_000
        return Price(flat, flat, flat, source=f"${asked.price:g} for 1,000 tokens")
    return FLAT


def _first(
    settings: Settings, tier: str, types: Mapping[str, BackendType], prices: PriceTable
) -> tuple[str, Price | None]:
    """Return the first model of a tier's chain, or an empty name, and what it costs."""
    for name in settings.tiers[tier].chain:
        backend = settings.backends.get(name)
        if backend is None:
            continue
        kind = types.get(str(backend.get("type")))
        if kind is None:
            raise ConfigError(
                "no plugin brings this type; `palaver check` tells more",
                key=f"backends.{name}.type",
            )
        if kind.instant or (kind.paid and settings.spend.mode == "off"):
            continue
        return name, price_of(parse_backend(name, backend, kind), kind, prices)
    return "", FREE


def _mix(parts: Sequence[tuple[float, Estimate]]) -> Estimate:
    """Return the sum of shares; machines are bought once, however many tiers use them."""
    return Estimate(
        "this world",
        sum(share * one.dialogues for share, one in parts),
        sum(share * one.cached for share, one in parts),
        sum(share * one.local for share, one in parts),
        sum(share * one.cloud for share, one in parts),
        sum(share * one.cloud_usd for share, one in parts),
        max(one.hardware_usd for _, one in parts),
    )


def _show(
    asked: Asked,
    price: Price | None,
    found: Sequence[Estimate],
    notes: Sequence[str],
    *,
    as_json: bool,
) -> None:
    load, first = asked.load, found[0]
    if as_json:
        print_json(
            {
                "load": {**asdict(load), "dialogues_per_month": load.dialogues},
                "price": None if price is None else asdict(price),
                "scenarios": [
                    {
                        **asdict(one),
                        "total_usd": one.total_usd,
                        "saved": share_saved(one, first),
                    }
                    for one in found
                ],
            }
        )
        return
    out = console()
    out.print(
        f"[bold]{load.players:,} players[/] · {load.dialogues_per_hour:g} dialogues an hour · "
        f"{load.hours:g} hours a day · {load.days:g} days: {load.dialogues:,.0f} dialogues, "
        f"{load.prompt_tokens:g} + {load.reply_tokens:g} tokens each",
        soft_wrap=True,
    )
    if price is not None:
        out.print(
            f"[dim]${price.prompt:g} for a million prompt tokens, ${price.completion:g} for those "
            f"of replies"
            + (f", as of {price.as_of}" if price.as_of else "")
            + (f" ({safe(price.source)})" if price.source else "")
            + "[/]",
            soft_wrap=True,
        )
    out.print()
    rows = table("a month", "cache", "local", "cloud", "cloud $", "machines $", "total $", "saved")
    for column in rows.columns[1:]:
        column.justify = "right"
    for one in found:
        saved = share_saved(one, first)
        rows.add_row(
            f"[bold]{safe(one.name)}[/]",
            f"{one.cached:,.0f}",
            f"{one.local:,.0f}",
            f"{one.cloud:,.0f}",
            f"{one.cloud_usd:,.0f}",
            f"{one.hardware_usd:,.0f}",
            f"[bold]{one.total_usd:,.0f}[/]",
            # Not `-0%`.
            f"{round(100 * saved) or 0:d} %" if one is not first else "",
        )
    out.print(rows)
    for note in notes:
        out.print()
        out.print(f"[dim]{safe(note)}[/]", soft_wrap=True)
