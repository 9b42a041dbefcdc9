"""First meetings: an NPC's first exchange with a player may run under a tier of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palaver.config.models import Tier
    from palaver.memory import Memory
    from palaver.turn.model import Turn

__all__ = ["meet"]

log = logging.getLogger("palaver.turn")

RECALL_S = 0.1
"""Time for memory, in seconds; where it does not know in time, they have met."""


async def meet(turn: Turn, tiers: Mapping[str, Tier], memory: Memory) -> bool:
    """Give a turn the tier of first meetings, if it is one and its tier has such.

    Only for a player: NPCs among themselves make no first impression that is worth paying for.

    Args:
        turn: The turn, with its history.
        tiers: Policies by name.
        memory: Where exchanges are kept.

    Returns:
        Whether the turn has another tier now; its limits are still those of the old one.
    """
    wanted = turn.tier.first_meeting
    if wanted is None or wanted == turn.tier_name:
        return False
    if turn.player is None or turn.speaker is not None or turn.history:
        return False
    if turn.given_prompt is not None:
        # Whoever brings the whole prompt has asked for this very tier.
        return False
    tier = tiers.get(wanted)
    if tier is None:
        turn.note(f"the tier of first meetings, {wanted!r}, does not exist")
        return False
    # No history may also mean that the tier remembers nothing, or that memory was late.
    if await _have_met(turn, memory):
        return False
    turn.note(f"a first meeting: the tier {wanted!r} instead of {turn.tier_name!r}")
    turn.tier, turn.tier_name = tier, wanted
    return True


async def _have_met(turn: Turn, memory: Memory) -> bool:
    """Return whether these two have talked before; True where nobody knows."""
    if turn.given_history is not None:
        return len(turn.given_history) > 0
    try:
        known = memory.recall(turn.game, turn.save, turn.npc.id, turn.counterpart_key, 1)
        if not isinstance(known, Sequence):
            async with asyncio.timeout(RECALL_S):
                known = await known
    except TimeoutError:
        turn.note("memory took too long to say whether they have met")
        return True
    except Exception:
        log.exception("memory failed; a first meeting is taken for any other")
        return True
    return len(known) > 0
