"""What is wrong with cache rules: the part of `palaver check` that knows what facts there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from palaver.config.tiers import CacheRule
from palaver.hints import did_you_mean

if TYPE_CHECKING:
    from palaver.config.models import Settings
    from palaver.world.world import World

__all__ = ["rule_problems"]

OWN = ("intent", "mood", "zone", "lang", "utterance", "before", "declared")
"""What is no fact of anybody."""
_HOLDERS = {"npc": "facts", "player": "player", "game": "game"}
_ALWAYS_THERE = {"player": {"id", "name", "lang", "zone"}}


def rule_problems(settings: Settings, world: World) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the key and a message for each fact that a rule names and no persona declares.

    The engine or a plugin may set it all the same, so none of these is an error; but a name that
    is misspelt would keep no situations apart.
    """
    declared: dict[str, set[str]] = {part: set() for part in _HOLDERS.values()}
    for persona in world.personas.values():
        for part, names in persona.declared.items():
            declared[part].update(names)
    every = set().union(*declared.values())
    # The shipped rules name facts that a game may have.
    usual = set(CacheRule().facts)
    for tier, policy in settings.tiers.items():
        for name in policy.cache.facts if policy.cache is not None else ():
            holder, dot, fact = name.partition(".")
            if name in OWN or name in usual or name in every or holder == "context":
                continue
            if dot and holder in _HOLDERS:
                known = declared[_HOLDERS[holder]] | _ALWAYS_THERE.get(holder, set())
                if fact in known:
                    continue
                hint = did_you_mean(name, (f"{holder}.{one}" for one in known))
            else:
                hint = did_you_mean(name, {*OWN, *every})
            message = (
                f"tiers.{tier}.cache.facts: no persona declares {name!r}, so it keeps no "
                f"situations apart unless the engine sets it{hint}"
            )
            yield ("tiers", tier, "cache", "facts"), message
