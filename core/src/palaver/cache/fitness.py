"""Which replies may be said to others, and which belong to one turn alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from palaver.cache.naming import Words
from palaver.cache.shelf import MAX_RAW_CHARS, text_id
from palaver.turn.intent import vocabulary
from palaver.turn.tags import actions_in, without_tags

if TYPE_CHECKING:
    from palaver.cache.shelf import Shelf
    from palaver.cache.situation import Situation
    from palaver.chain.servers import Entry
    from palaver.turn.model import Turn

__all__ = ["unfit"]

_WORD = re.compile(r"\w+")


def unfit(
    turn: Turn, situation: Situation, entries: Mapping[str, Entry], shelf: Shelf | None
) -> str | None:
    """Return why a reply is not kept, in a word, or None if it is.

    Args:
        turn: The turn, which is over.
        situation: Where it happened.
        entries: Configured backends by name.
        shelf: What is kept for that situation, or None.
    """
    result, raw = turn.result, turn.raw
    entry = entries.get(result.served_by.backend)
    if entry is None or entry.type.instant:
        return "authored"
    if raw is None or result.status != "completed" or not without_tags(raw):
        return "not_whole"
    if len(raw) > MAX_RAW_CHARS:
        return "too_long"
    adapter, last = turn.persona.front.adapter, result.trail[-1] if result.trail else None
    if adapter and result.served_by.adapter != adapter and last is not None and last.reason:
        # Its adapter was not loaded yet: the base model speaks for it, but not as it.
        return "not_its_voice"
    if shelf is not None and text_id(without_tags(raw)) in shelf.gone:
        return "disliked"
    if (telling := _telling(turn, situation, raw)) is not None:
        return telling
    for name, has_arguments in actions_in(raw).items():
        # Who gives what to whom is decided each time, and only where the engine can do it.
        if has_arguments or name not in turn.actions:
            return "acts"
    return None


def _telling(turn: Turn, situation: Situation, raw: str) -> str | None:
    """Return why a reply belongs to this turn alone, or None if anybody may hear it here.

    It must name nobody and nothing that another turn of the same situation may not have: the
    player, what is known of them, or, where only the intent counts, what they said.
    """
    # Actions carry what they are about in their arguments: the whole counts, tags and all.
    said, held = Words(raw), Words(situation.holds)
    if any(said.names(name, besides=held) for name in _people(turn)):
        return "names"
    for value in _facts(turn):
        if isinstance(value, int):
            number = str(abs(value))
            if said.has_number(number) and not held.has_number(number):
                return "names"
        elif said.says(value) and not held.says(value):
            return "names"
    if not situation.exact:
        known = vocabulary()
        spoken = _WORD.findall(without_tags(raw).casefold())
        for word in _WORD.findall(turn.text.casefold()):
            if len(word) > 2 and word not in known and word in spoken:
                return "echoes"
    return None


def _people(turn: Turn) -> Iterator[str]:
    """Yield names of the player, of whoever is known from the talk so far, and of who listens."""
    if turn.player is not None:
        yield turn.player.name or turn.player.id
        # What a prompt calls the player, whatever a plugin made of it.
        yield str(turn.variables["player"].get("name") or "")
    yield from {*(past.speaker_name for past in turn.history), *turn.audience}


def _facts(turn: Turn) -> Iterator[str | int]:
    """Yield what else belongs to this player, NPC and game, and not to the persona."""
    if turn.player is not None and len(turn.player.id) > 2:
        yield turn.player.id
    persona = turn.persona
    declared: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("facts", persona.facts),
        ("player", persona.player_facts),
        ("game", persona.game_facts),
    )
    for part, defaults in declared:
        for name, value in turn.variables[part].items():
            if value == defaults.get(name) or isinstance(value, bool) or (part, name) in _NOT_OWN:
                continue
            if isinstance(value, str) and 2 <= len(value) <= 80:
                yield value
            elif isinstance(value, int) and abs(value) >= 10:
                yield value


_NOT_OWN = frozenset({("player", "id"), ("player", "lang"), ("player", "name")})
"""What everybody has in some way, or what is looked for as a name."""
