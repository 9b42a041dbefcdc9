"""What the dialogue cache made of a turn, in words for whoever wonders."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palaver.cache.dialogue import DialogueCache
    from palaver.turn.model import Turn

__all__ = ["NOTE", "keep", "note_of"]

NOTE = "cache: "
"""How notes of the cache begin in a turn's trace."""
_BYPASSED = "not cached: "
_WHY = {
    "acts": "it does something that only this turn can decide",
    "authored": "no model spoke",
    "disliked": "a player disliked these words",
    "echoes": "it repeats a word of the player's",
    "names": "it tells something of this player, NPC or game",
    "not_its_voice": "the adapter was not loaded yet",
    "not_whole": "it was not whole",
    "private": "the model knew more than the situation tells, so one is made in the background",
    "same": "it is there already",
    "too_long": "it is too long",
}


def keep(cache: DialogueCache, turn: Turn) -> None:
    """Let the cache keep the reply to a turn that is over, and note in its trace what came of it.

    Args:
        cache: The cache.
        turn: The turn.
    """
    counts, rule = cache.counts.get(turn.tier_name), turn.tier.cache
    if counts is None or rule is None or turn.result.cached:
        cache.keep(turn)
        return
    stored, refused = counts.stored, Counter(counts.refused)
    cache.keep(turn)
    if turn.situation is None:
        reason = next((one for one in turn.trace if one.startswith(_BYPASSED)), None)
        if reason is not None:
            turn.note(f"{NOTE}not asked, because {reason.removeprefix(_BYPASSED)}")
        return
    few = f"fewer than {rule.variants} replies" if rule.variants > 1 else "no reply"
    asked = f"it had {few} that could be said here"
    if counts.stored > stored:
        turn.note(f"{NOTE}{asked}; this one is kept")
    elif new := counts.refused - refused:
        (why, *_) = new
        turn.note(f"{NOTE}{asked}; this one is not kept: {_WHY.get(why, why)}")


def note_of(turn: Turn) -> str | None:
    """Return what was noted of a turn, without its mark, or None."""
    for one in reversed(turn.trace):
        if one.startswith(NOTE):
            return one.removeprefix(NOTE)
    return None
