"""First step: look at what came in and let plugins have their say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from palaver.hookcalls import HookCall, call_async

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["receive"]


async def receive(turn: Turn, calls: Sequence[HookCall], limit_s: float) -> None:
    """Call `palaver_turn_received`, one plugin after another, until one refuses.

    Args:
        turn: The turn, which the plugins may change.
        calls: The implementations, the core's own first.
        limit_s: Time for each, in seconds.
    """
    for call in calls:
        await call_async(call, limit_s, turn.note, turn=turn)
        if turn.refused is not None:
            turn.note(f"refused by {call.plugin}: {turn.refused}")
            return
