"""What plugins learn of a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SessionInfo"]


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """An engine that has joined.

    Attributes:
        id: Id of the session; whoever knows it can take the session over, so keep it secret.
        game: Name of the running game.
        save: The memory branch it began with.
        client_name: What the client calls itself.
        client_version: Its version, or empty.
        engine: Its engine with version, or empty.
        role: `engine` or `player`.
        player: The player that a `player` speaks for, or None.
        capabilities: What was granted to it.
    """

    id: str
    game: str
    save: str
    client_name: str
    client_version: str
    engine: str
    role: Literal["engine", "player"]
    player: str | None
    capabilities: frozenset[str]
