"""A running game: its NPCs, players and facts, as the engine told them.

Facts are neutralised once, when they arrive, so that nothing a player or engine wrote can act as
a control token of a model or as one of our own tags later on.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from palaver.actions import DeclaredAction, declare_actions
from palaver.errors import ProtocolError
from palaver.prompt.neutralize import neutralize, neutralize_data

if TYPE_CHECKING:
    from palaver.config.models import Limits
    from palaver.messages import ActionSpec

__all__ = ["Game", "Npc", "Player"]

_MAX_WINDOWS = 10_000
MAX_FACT_DEPTH = 6


@dataclass(slots=True)
class Npc:
    """An NPC of a game.

    Attributes:
        id: The engine's id.
        persona: Name of its persona.
        tier: Its own policy, or None for the persona's.
        zone: Where it is, or None.
        facts: What the engine said of it.
        actions: What the engine can carry out for it, or None for those of the game.
    """

    id: str
    persona: str
    tier: str | None = None
    zone: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    actions: dict[str, DeclaredAction] | None = None


@dataclass(slots=True)
class Player:
    """A player of a game.

    Attributes:
        id: The engine's id.
        name: Name that NPCs may use, or None.
        zone: Where they are, or None.
        lang: Their language, a BCP 47 tag, or None.
        facts: What the engine said of them.
    """

    id: str
    name: str | None = None
    zone: str | None = None
    lang: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Branch:
    """Where a game's memory goes; turns hold on to it.

    A save renames it: a line that is being spoken then belongs to the save. Loading another save
    replaces it: that line still belongs to where it began.

    Attributes:
        save: Name of the branch.
    """

    save: str


@dataclass(slots=True, eq=False)
class Place:
    """A turn's place among those of one NPC with one player.

    Attributes:
        order: What those have in common.
        turn_comes: Done when those before it are over; None for the first.
    """

    order: tuple[str, ...]
    turn_comes: asyncio.Future[None] | None = None


class Game:
    """One running game or shard.

    Args:
        name: Its name.
        limits: Bounds on what an engine may store.
        save: The branch of its memory that it goes on with.

    Attributes:
        branch: Where its memory goes.
        sessions: Sessions that are open in it.
    """

    def __init__(self, name: str, limits: Limits, save: str = "main") -> None:
        self.name = name
        self.branch = Branch(save)
        self.sessions = 0
        self.npcs: dict[str, Npc] = {}
        self.players: dict[str, Player] = {}
        self.facts: dict[str, Any] = {}
        self.actions: dict[str, DeclaredAction] = {}
        self._limits = limits
        # While a turn is at it, its order has a queue of those that wait.
        self._lanes: dict[tuple[str, ...], deque[asyncio.Future[None]]] = {}
        self._windows: OrderedDict[tuple[str, str | None], float] = OrderedDict()

    def upsert_npc(
        self,
        npc: str,
        persona: str | None,
        *,
        tier: str | None = None,
        zone: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Npc:
        """Create or change an NPC.

        Raises:
            ProtocolError: There are too many NPCs or facts, or a fact is too large.
        """
        found = self.npcs.get(npc)
        if found is None:
            if persona is None:
                raise ProtocolError(
                    "unknown_npc", f"there is no NPC {npc!r}; give a `persona` to create it"
                )
            if len(self.npcs) >= self._limits.npcs:
                raise ProtocolError(
                    "too_large",
                    f"a game has at most {self._limits.npcs} NPCs; send npc.remove for those "
                    "that are gone, or raise limits.npcs",
                )
            found = Npc(npc, persona)
        merged = self._merge(found.facts, facts or {}, ())
        if persona is not None:
            found.persona = persona
        if tier is not None:
            found.tier = tier
        if zone is not None:
            found.zone = neutralize(zone)
        found.facts = merged
        self.npcs[npc] = found
        return found

    def upsert_player(
        self,
        player: str,
        *,
        name: str | None = None,
        zone: str | None = None,
        lang: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Player:
        """Create or change a player.

        Raises:
            ProtocolError: There are too many players or facts, or a fact is too large.
        """
        found = self.players.get(player)
        if found is None:
            if len(self.players) >= self._limits.players:
                raise ProtocolError(
                    "too_large",
                    f"a game has at most {self._limits.players} players; raise limits.players",
                )
            found = Player(player)
        merged = self._merge(found.facts, facts or {}, ())
        if name is not None:
            found.name = neutralize(name)
        if zone is not None:
            found.zone = neutralize(zone)
        if lang is not None:
            found.lang = lang
        found.facts = merged
        self.players[player] = found
        return found

    def update_facts(
        self,
        *,
        npc: str | None,
        player: str | None,
        set_: Mapping[str, Any],
        unset: Iterable[str],
    ) -> None:
        """Merge facts into an NPC, a player or the game, key by key.

        Raises:
            ProtocolError: The NPC or player is unknown, or there is too much.
        """
        if npc is not None:
            target: Npc | Player | Game | None = self.npcs.get(npc)
            if target is None:
                raise unknown_npc(npc)
        elif player is not None:
            target = self.players.get(player)
            if target is None:
                raise ProtocolError(
                    "bad_message", f"there is no player {player!r}; send player.upsert first"
                )
        else:
            target = self
        target.facts = self._merge(target.facts, set_, unset)

    def set_actions(self, npc: str | None, specs: Iterable[ActionSpec]) -> None:
        """Replace what the engine can carry out, for one NPC or for all.

        Raises:
            ProtocolError: The NPC is unknown, there are too many, or a schema is not allowed.
        """
        declared = declare_actions(specs, limit=self._limits.actions)
        if npc is None:
            self.actions = declared
            return
        found = self.npcs.get(npc)
        if found is None:
            raise unknown_npc(npc)
        found.actions = declared

    def _merge(
        self, facts: Mapping[str, Any], changes: Mapping[str, Any], unset: Iterable[str]
    ) -> dict[str, Any]:
        merged = dict(facts)
        for name in unset:
            merged.pop(name, None)
        for name, value in changes.items():
            size = len(json.dumps(value))
            if size > self._limits.fact_bytes:
                raise ProtocolError(
                    "too_large",
                    f"the fact {name!r} has {size} bytes as JSON, but limits.fact_bytes is "
                    f"{self._limits.fact_bytes}; send less of it",
                )
            if _depth(value) > MAX_FACT_DEPTH:
                raise ProtocolError(
                    "too_large",
                    f"the fact {name!r} is nested deeper than {MAX_FACT_DEPTH}; make it flatter",
                )
            merged[name] = neutralize_data(value)
        if len(merged) > self._limits.facts:
            raise ProtocolError(
                "too_large",
                f"that would make {len(merged)} facts, but limits.facts is {self._limits.facts}; "
                "unset those that are no longer needed",
            )
        return merged

    @property
    def busy(self) -> bool:
        """Whether a session is open in it or a turn is at work."""
        return self.sessions > 0 or bool(self._lanes)

    def load(self, save: str) -> None:
        """Go on with another branch of its memory."""
        if save != self.branch.save:
            self.branch = Branch(save)

    def join(self, order: tuple[str, ...]) -> Place | None:
        """Take a place behind the turns of the same order, or None where too many wait.

        Call `arrive`, then `leave`, whatever happens in between.
        """
        lane = self._lanes.get(order)
        if lane is None:
            self._lanes[order] = deque()
            return Place(order)
        if sum(not waiting.done() for waiting in lane) >= self._limits.queue:
            return None
        turn_comes = asyncio.get_running_loop().create_future()
        lane.append(turn_comes)
        return Place(order, turn_comes)

    async def arrive(self, place: Place) -> None:
        """Wait for one's turn; each before it has time limits of its own."""
        if place.turn_comes is not None:
            await place.turn_comes

    def leave(self, place: Place) -> None:
        """Give one's place up, or to the next turn if it was one's own turn already."""
        comes = place.turn_comes
        if comes is not None and (not comes.done() or comes.cancelled()):
            comes.cancel()
            return
        lane = self._lanes[place.order]
        while lane:
            following = lane.popleft()
            if not following.done():
                following.set_result(None)
                return
        del self._lanes[place.order]

    def window(self, npc: str, counterpart: str | None) -> float | None:
        """Return the time of the first exchange that the last prompt of these two began with."""
        return self._windows.get((npc, counterpart))

    def set_window(self, npc: str, counterpart: str | None, at: float) -> None:
        """Keep the time of the first exchange in the prompt."""
        key = (npc, counterpart)
        self._windows[key] = at
        self._windows.move_to_end(key)
        if len(self._windows) > _MAX_WINDOWS:
            self._windows.popitem(last=False)


def unknown_npc(npc: str) -> ProtocolError:
    """Return the error for an NPC nobody told us of."""
    return ProtocolError("unknown_npc", f"there is no NPC {npc!r}; send npc.upsert first")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
