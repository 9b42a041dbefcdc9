"""What is wrong with tiers and prices: the part of `palaver check` that is about `palaver.toml`.

Each check looks at settings alone, without a world, so that a program can ask for it before it
serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

from palaver.config.models import Settings, Tier
from palaver.errors import ConfigError
from palaver.hints import did_you_mean, listed
from palaver.spend.off import costs_money
from palaver.spend.prices import load_prices, price_of

if TYPE_CHECKING:
    from palaver.chain.backend import BackendSettings, BackendType

__all__ = ["Finding", "Policy", "check_policy"]

OLD_DAYS = 365
"""Age of a price, in days, from which it should be looked up again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend in `palaver.toml`.

    Attributes:
        severity: `error` or `warning`.
        message: What is wrong and what to write instead; begins with the key.
        key: The key, for its line in the file.
    """

    severity: Literal["error", "warning"]
    message: str
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is looked at.

    Attributes:
        settings: The settings.
        types: Backend types by name.
        backends: Settings of the configured backends that are in order, by name.
        today: The day, for the age of prices.
    """

    settings: Settings
    types: Mapping[str, BackendType]
    backends: Mapping[str, BackendSettings]
    today: date

    def type_of(self, name: str) -> BackendType | None:
        """Return the type of a backend, or None where it is not there; instant ones always are."""
        table = self.settings.backends.get(name)
        if table is not None:
            return self.types.get(str(table.get("type")))
        kind = self.types.get(name)
        return kind if kind is not None and kind.instant else None


def check_policy(policy: Policy) -> list[Finding]:
    """Find what cannot be meant, or will disappoint, in tiers, prices and ceilings."""
    found: list[Finding] = []
    for name, tier in policy.settings.tiers.items():
        for check in _TIER_CHECKS:
            found.extend(check(policy, name, tier))
    if not any(kind.instant for kind in policy.types.values()):
        found.append(
            _warning(
                "no plugin brings authored lines, so that NPCs have only last words when no model "
                "answers; install palaver-static",
                "tiers",
            )
        )
    found.extend(_meetings_in_a_circle(policy))
    found.extend(_prices(policy))
    found.extend(_ceilings(policy))
    found.extend(_judge(policy))
    return found


def _error(message: str, *key: str) -> Finding:
    return Finding("error", f"{'.'.join(key)}: {message}", key)


def _warning(message: str, *key: str) -> Finding:
    return Finding("warning", f"{'.'.join(key)}: {message}", key)


# tiers


def _chain(policy: Policy, name: str, tier: Tier) -> Iterator[Finding]:
    """A chain has to end with what always answers."""
    key = ("tiers", name, "chain")
    instant = {kind.name for kind in policy.types.values() if kind.instant}
    here = [(one, policy.type_of(one)) for one in tier.chain]
    there = [one for one, kind in here if kind is not None]
    last = next((kind for _, kind in reversed(here) if kind is not None), None)
    # Where no plugin brings any, that is told once.
    if instant and (last is None or not last.instant):
        who = listed(there) if there else "nobody"
        yield _error(
            f"does not end with authored lines, so that {name} has only last words when {who} "
            f"cannot answer; end it with {listed(sorted(instant))}",
            *key,
        )
    early = [one for one, kind in here[:-1] if kind is not None and kind.instant]
    if early and there and there[-1] not in early:
        yield _warning(
            f"{listed(early)} always answers, so that nothing behind it is ever asked; "
            "move it to the end",
            *key,
        )
    if len(set(tier.chain)) < len(tier.chain):
        yield _warning("names a backend twice; the second time is of no use", *key)


def _times(policy: Policy, name: str, tier: Tier) -> Iterator[Finding]:
    """Limits have to fit into each other."""
    first, total = tier.first_text_ms, tier.total_ms
    if first > total:
        yield _error(
            f"{first:,} ms is more than total_ms, {total:,} ms: the line would be over before it "
            "begins; raise total_ms",
            *("tiers", name, "first_text_ms"),
        )
    if tier.stall_ms > total:
        yield _warning(
            f"{tier.stall_ms:,} ms is more than total_ms, {total:,} ms, and never comes to "
            "anything; make it shorter",
            *("tiers", name, "stall_ms"),
        )
    asked = [
        one for one in tier.chain if (kind := policy.type_of(one)) is not None and not kind.instant
    ]
    for position, one in enumerate(asked):
        limit = round(tier.first_token_s(one) * 1000)
        key = ("tiers", name, "first_token_ms")
        if position == 0 and limit > first:
            behind = f"; {asked[1]!r} would never get its chance" if len(asked) > 1 else ""
            yield (_error if behind else _warning)(
                f"{one!r} has {limit:,} ms for its first word, more than the turn itself, which "
                f"has first_text_ms = {first:,}{behind}; give it less",
                *key,
            )
        elif position == 0 and limit == first and len(asked) > 1:
            yield _warning(
                f"{one!r} may take all of first_text_ms, so that {asked[1]!r} is never asked "
                "where it is late; give it less",
                *key,
            )
    if not isinstance(tier.first_token_ms, int):
        for one in tier.first_token_ms:
            if one not in tier.chain:
                hint = did_you_mean(one, tier.chain)
                yield _warning(
                    f"{one!r} is not in the chain{hint}", "tiers", name, "first_token_ms", one
                )
    filler = tier.filler_ms
    if filler is not None and filler >= first:
        yield _error(
            f"{filler:,} ms is not before first_text_ms, {first:,} ms, so that no filler is ever "
            "spoken; make it shorter, or leave it out",
            *("tiers", name, "filler_ms"),
        )


def _meeting(policy: Policy, name: str, tier: Tier) -> Iterator[Finding]:
    wanted = tier.first_meeting
    if wanted is None:
        return
    key = ("tiers", name, "first_meeting")
    if wanted == name:
        yield _error("names the tier itself; leave it out", *key)
    elif wanted not in policy.settings.tiers:
        hint = did_you_mean(wanted, policy.settings.tiers)
        yield _error(f"there is no tier {wanted!r}{hint}", *key)


_TIER_CHECKS: tuple[Callable[[Policy, str, Tier], Iterator[Finding]], ...] = (
    _chain,
    _times,
    _meeting,
)


def _meetings_in_a_circle(policy: Policy) -> Iterator[Finding]:
    """A first meeting is only looked up once, so a circle cannot be what somebody meant."""
    tiers = policy.settings.tiers
    told: set[str] = set()
    for name in tiers:
        way = [name]
        while (tier := tiers.get(way[-1])) is not None and tier.first_meeting is not None:
            if tier.first_meeting in way:
                break
            way.append(tier.first_meeting)
        else:
            continue
        circle = way[way.index(tier.first_meeting) :]
        if len(circle) > 1 and told.isdisjoint(circle):
            told.update(circle)
            steps = " → ".join([*circle, circle[0]])
            yield _error(
                f"goes in a circle ({steps}); let one of them name no other",
                *("tiers", circle[0], "first_meeting"),
            )


# money


def _prices(policy: Policy) -> Iterator[Finding]:
    """What costs money needs a price, and not one of long ago."""
    spend = policy.settings.spend
    paid = {
        name: (one, kind)
        for name, one in policy.backends.items()
        if (kind := policy.types.get(one.type)) is not None and kind.paid
    }
    try:
        table = load_prices(spend.prices)
    except ConfigError as err:
        where = f"{err.file}: " if err.file else ""
        field = f"{err.key}: " if err.key else ""
        yield _error(f"{where}{field}{err.problem}", "spend", "prices")
        table = load_prices()
    for name, (one, kind) in paid.items():
        price = price_of(one, kind, table)
        if price is None:
            model = getattr(one, "model", None)
            yield _error(
                f"costs money, but no price is known for {model!r}, and below a ceiling it would "
                "never be asked; add usd_per_m_prompt and usd_per_m_completion, as its provider "
                "states them",
                *("backends", name),
            )
        elif price.as_of is not None and (policy.today - price.as_of).days > OLD_DAYS:
            yield _warning(
                f"its price is of {price.as_of}; look it up at {price.source or 'its provider'}, "
                "and write it into usd_per_m_prompt and usd_per_m_completion, or into a table of "
                "your own ([spend] prices)",
                *("backends", name),
            )


def _ceilings(policy: Policy) -> Iterator[Finding]:
    """A ceiling that can never be reached was meant to be another one."""
    spend = policy.settings.spend
    day = spend.usd_per_day
    if day is not None:
        for key in ("usd_per_player_day", "usd_per_session"):
            value = getattr(spend, key)
            # At 0 nothing is spent, on purpose: that must not take the other ceilings away.
            if value is not None and value > day > 0:
                yield _error(
                    f"${value:g} is more than usd_per_day, ${day:g}, and is never reached; "
                    "make it less",
                    *("spend", key),
                )
        for name, tier in policy.settings.tiers.items():
            if tier.usd_per_day is not None and tier.usd_per_day > day > 0:
                yield _warning(
                    f"${tier.usd_per_day:g} is more than usd_per_day of [spend], ${day:g}, which "
                    "is reached before",
                    *("tiers", name, "usd_per_day"),
                )
    costs = any(
        costs_money(one, kind)
        for one in policy.backends.values()
        if (kind := policy.types.get(one.type)) is not None
    )
    none = day is None and spend.usd_per_player_day is None and spend.usd_per_session is None
    capped = any(tier.usd_per_day is not None for tier in policy.settings.tiers.values())
    if costs and none and not capped and spend.mode == "on":
        yield _warning(
            "there is a backend that costs money, and no ceiling; set one, such as "
            "usd_per_day = 10",
            "spend",
        )


def _judge(policy: Policy) -> Iterator[Finding]:
    """The judge of replies has to be a model."""
    name = policy.settings.quality.judge
    if name is None:
        return
    kind = policy.type_of(name)
    if name not in policy.settings.backends:
        hint = did_you_mean(name, policy.settings.backends)
        yield _error(f"there is no backend {name!r}{hint}; nobody judges", "quality", "judge")
    elif kind is not None and kind.instant:
        yield _error(f"{name!r} is no model; name a backend that is one", "quality", "judge")
