"""What NPCs remember, behind one interface; SQLite unless a plugin brings something else."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Exchange", "Memory", "player_key"]


def player_key(player: str) -> str:
    """Return what a player is called in memory, where an NPC may have the same id."""
    return f"player/{player}"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One remembered exchange; only what was really heard.

    Attributes:
        npc: Who answered.
        counterpart: The NPC that spoke, or the player by `player_key`, or None for a cue.
        said: What was said, or what happened.
        cue: Whether `said` is something that happened rather than something said.
        reply: The part of the reply that was heard.
        at: When, in seconds since the epoch.
        speaker_name: Name of the counterpart at that time.
        npc_name: Name of the NPC at that time.
    """

    npc: str
    counterpart: str | None
    said: str
    cue: bool
    reply: str
    at: float
    speaker_name: str = ""
    npc_name: str = ""


class Memory(Protocol):
    """Where exchanges are kept, by game and save branch."""

    async def start(self) -> None:
        """Open it.

        Raises:
            ConfigError: It cannot be opened.
        """

    async def close(self) -> None:
        """Write what is pending and close; safe to call twice."""

    def recall(
        self, game: str, save: str, npc: str, counterpart: str | None, limit: int
    ) -> Sequence[Exchange] | Awaitable[Sequence[Exchange]]:
        """Return what these two heard of each other, oldest first, at most `limit`.

        Returns it at once where it is known, which is the usual case and spares a turn the wait;
        an awaitable where it has to be fetched.

        With `counterpart` None: the last that the NPC heard at all. An NPC that was in the
        audience has heard an exchange too. Sees everything `remember` was called with before.
        """

    def remember(
        self, game: str, save: str, exchange: Exchange, audience: Sequence[str] = ()
    ) -> None:
        """Keep an exchange; returns at once and writes in the background, in order.

        The queue is bounded; when it is full the oldest waiting write is dropped with a log line.
        """

    def last_save(self, game: str) -> str | None:
        """Return the branch that the game played last, or None for a game that is new."""

    def play(self, game: str, save: str) -> None:
        """Keep which branch the game plays from now on; returns at once."""

    def mark(self, game: str, save: str, new_save: str) -> Awaitable[None]:
        """Fork: `new_save` remembers what `save` does now, and is what the game plays from here.

        The fork is made at the call: what is remembered after it belongs to where it is put. The
        awaitable ends when it is written. Marking a name that exists replaces it, as saving over
        a slot does; where both are the same name, nothing changes.
        """

    async def flush(self) -> None:
        """Wait until everything is written."""
