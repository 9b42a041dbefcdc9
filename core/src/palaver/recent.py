"""The last turns of a gateway, for whoever wonders what happened: ids, times, costs, no words."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from palaver.cache.notes import note_of
from palaver.hints import nearest
from palaver.messages import ServedByInfo, TrailEntry, UsageInfo
from palaver.turn.done import told
from palaver.turn.model import TurnResult

if TYPE_CHECKING:
    from palaver.turn.model import Attempt, ServedBy, Status, Turn, Usage

__all__ = ["RecentTurns", "TurnInfo", "TurnLimits"]

KEPT = 1_000
"""Turns that are kept; a few kilobytes each at most."""
MAX_COMPARED = 200
"""Ids that one which is not known is compared with."""


class _Info(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class TurnLimits(_Info):
    """By when something had to be there, in milliseconds from the turn's acceptance."""

    first_text_ms: float = Field(description="The first words.")
    total_ms: float = Field(description="The whole reply.")


class TurnInfo(_Info):
    """One turn that is over, as `GET /v1/turns` tells it.

    What is not known of a turn, as of one out of a file, is None.
    """

    turn: str = Field(description="The client's id of the turn; sessions may use the same.")
    at: float | None = Field(
        default=None, description="When it was accepted, in seconds since the epoch."
    )
    game: str | None = Field(default=None, description="The game.")
    npc: str | None = Field(
        default=None, description="Who answered; None where a client brought its own prompt."
    )
    persona: str | None = Field(default=None, description="As whom, likewise.")
    player: str | None = Field(default=None, description="Who spoke.")
    tier: str | None = Field(default=None, description="The policy it ran under.")
    priority: str | None = Field(default=None, description="How urgent it was.")
    limits: TurnLimits | None = Field(default=None, description="By when something was due.")
    waited_ms: float = Field(
        default=0, description="How long it waited for the turns before it, in milliseconds."
    )
    game_ms: float = Field(
        default=0,
        description="How long its line waited for the game to confirm actions, in milliseconds.",
    )
    status: str = Field(description="How it ended, as in `turn.done`.")
    served_by: ServedByInfo = Field(description="Who spoke.")
    trail: list[TrailEntry] = Field(description="Every backend that was asked.")
    usage: UsageInfo = Field(description="Tokens and cost.")
    ttft_ms: float | None = Field(default=None, description="From acceptance to the first words.")
    total_ms: float = Field(description="From acceptance to the end.")
    cached: bool = Field(default=False, description="Whether it came out of the dialogue cache.")
    cache: str | None = Field(
        default=None, description="Why it did not, and whether the reply was kept there."
    )


@dataclass(slots=True, eq=False)
class _Kept:
    """What is kept of a turn; not the turn itself, which holds its world and its prompt.

    It is put together for whoever asks: every turn is kept, and hardly one is looked at.
    """

    turn: str
    ended_at: float
    game: str
    npc: str | None
    persona: str | None
    player: str | None
    tier: str
    priority: str
    first_ms: float
    whole_ms: float
    waited_ms: float
    game_ms: float
    cache: str | None
    status: Status
    served_by: ServedBy
    trail: list[Attempt]
    usage: Usage
    ttft_ms: float | None
    total_ms: float
    cached: bool

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        # Without its words, which are nobody's business here.
        result = TurnResult(
            self.status,
            "",
            self.served_by,
            self.trail,
            self.usage,
            self.ttft_ms,
            self.total_ms,
            self.cached,
        )
        return {
            "turn": self.turn,
            "at": round(self.ended_at - self.total_ms / 1000, 3),
            "game": self.game,
            "npc": self.npc,
            "persona": self.persona,
            "player": self.player,
            "tier": self.tier,
            "priority": self.priority,
            "limits": {
                "first_text_ms": round(self.first_ms + self.waited_ms, 2),
                "total_ms": round(self.whole_ms + self.waited_ms, 2),
            },
            "waited_ms": round(self.waited_ms, 2),
            "game_ms": round(self.game_ms, 2),
            "cache": self.cache,
            "status": self.status,
            **told(result),
        }


class RecentTurns:
    """The turns that ended last.

    Args:
        kept: How many are kept.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._turns: deque[_Kept] = deque(maxlen=kept)

    def add(self, turn: Turn) -> None:
        """Keep a turn that is over."""
        tier, result = turn.tier, turn.result
        first_ms = tier.first_text_ms
        if turn.first_text_ms is not None:
            first_ms = min(first_ms, turn.first_text_ms)
        given = turn.given_prompt is not None
        self._turns.append(
            _Kept(
                turn.id,
                time.time(),
                turn.game,
                None if given else turn.npc.id,
                None if given else turn.persona.id,
                turn.player.id if turn.player is not None else None,
                turn.tier_name,
                turn.priority,
                first_ms,
                max(tier.total_ms, first_ms),
                turn.waited_ms,
                turn.game_ms,
                note_of(turn),
                result.status,
                result.served_by,
                result.trail,
                result.usage,
                result.ttft_ms,
                result.total_ms,
                result.cached,
            )
        )

    def last(self, count: int) -> list[dict[str, Any]]:
        """Return that many of the last turns, oldest first, as JSON has them."""
        found = [one.plain() for one in islice(reversed(self._turns), count)]
        found.reverse()
        return found

    def find(self, turn: str) -> dict[str, Any] | None:
        """Return the last turn of an id, or None if it is not kept."""
        for one in reversed(self._turns):
            if one.turn == turn:
                return one.plain()
        return None

    def nearest(self, turn: str) -> str | None:
        """Return the id that looks most like this one, or None if none does."""
        newest = islice(reversed(self._turns), MAX_COMPARED)
        return nearest(turn, [one.turn for one in newest])
