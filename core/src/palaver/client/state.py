"""What the client has told the server of its game, to tell it again to a new session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from palaver.client.outbox import encode

__all__ = ["State"]

_ROOM_BYTES = 1_000
"""Left free in a message for everything but its facts."""


@dataclass(slots=True)
class State:
    """NPCs, players, facts and actions, as they are now.

    Attributes:
        npcs: Fields of `npc.upsert` by NPC, without the facts.
        players: Fields of `player.upsert` by player, without the facts.
        facts: Facts by what they are of: `("npc", id)`, `("player", id)` or `("game", "")`.
        actions: Declared actions by NPC, None for all.
    """

    npcs: dict[str, dict[str, Any]] = field(default_factory=dict)
    players: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    actions: dict[str | None, list[Any]] = field(default_factory=dict)

    def note(self, message: dict[str, Any]) -> None:
        """Take in a message that the server has handled."""
        kind = message["type"]
        if kind in ("npc.upsert", "player.upsert"):
            what = "npc" if kind == "npc.upsert" else "player"
            known = (self.npcs if what == "npc" else self.players).setdefault(message[what], {})
            known.update({k: v for k, v in message.items() if k not in ("id", "facts")})
            self._merge((what, message[what]), message.get("facts") or {}, [])
        elif kind == "npc.remove":
            self.npcs.pop(message["npc"], None)
            self.facts.pop(("npc", message["npc"]), None)
            self.actions.pop(message["npc"], None)
        elif kind == "facts.update":
            self._merge(_target(message), message.get("set") or {}, message.get("unset") or [])
        elif kind == "actions.set":
            self.actions[message.get("npc")] = message["actions"]

    def _merge(self, key: tuple[str, str], changes: dict[str, Any], unset: list[str]) -> None:
        # As the server does it: first what goes, then what comes.
        facts = self.facts.setdefault(key, {})
        for name in unset:
            facts.pop(name, None)
        facts.update(changes)

    def messages(self, message_bytes: int) -> Iterator[dict[str, Any]]:
        """Yield what a new session has to be told, in an order in which it can be understood.

        Args:
            message_bytes: Largest message of the new session; facts are split to fit.
        """
        yield from self.npcs.values()
        yield from self.players.values()
        for key, facts in self.facts.items():
            yield from _updates(key, facts, message_bytes - _ROOM_BYTES)
        for npc, actions in self.actions.items():
            target = {} if npc is None else {"npc": npc}
            yield {"type": "actions.set", **target, "actions": actions}


def _target(message: dict[str, Any]) -> tuple[str, str]:
    for what in ("npc", "player"):
        if message.get(what) is not None:
            return what, message[what]
    return "game", ""


def _updates(
    key: tuple[str, str], facts: dict[str, Any], room_bytes: int
) -> Iterator[dict[str, Any]]:
    what, name = key
    target = {} if what == "game" else {what: name}
    part: dict[str, Any] = {}
    size = 0
    for fact, value in facts.items():
        bytes_ = len(fact) + len(encode({"": value}))
        if part and size + bytes_ > room_bytes:
            yield {"type": "facts.update", **target, "set": part}
            part, size = {}, 0
        part[fact] = value
        size += bytes_
    if part:
        yield {"type": "facts.update", **target, "set": part}
