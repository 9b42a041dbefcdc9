"""The cache's memory: situations with their replies, bounded in bytes; and who heard what last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from palaver.cache.shelf import Shelf, text_id

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["Heard", "Near"]

HEARD = 8
"""Replies remembered for each two that talk; so many others come before one is said again."""
MAX_PAIRS = 50_000


class Near:
    """Shelves by key; what was not used for the longest goes first.

    Args:
        max_bytes: How much is kept.

    Attributes:
        size: About how many bytes are kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.size = 0
        self._max = max_bytes
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._keys: dict[str, set[str]] = {}
        """By persona, for when it changes."""

    def __len__(self) -> int:
        return len(self._shelves)

    def get(self, key: str) -> Shelf | None:
        """Return a shelf, or None."""
        shelf = self._shelves.get(key)
        if shelf is not None:
            self._shelves.move_to_end(key)
        return shelf

    def put(self, key: str, shelf: Shelf) -> None:
        """Keep a shelf; call it again when its content has changed."""
        self.size += shelf.size - self._sizes.get(key, 0)
        self._sizes[key] = shelf.size
        self._shelves[key] = shelf
        self._shelves.move_to_end(key)
        self._keys.setdefault(shelf.persona, set()).add(key)
        while self.size > self._max and len(self._shelves) > 1:
            self.drop(next(iter(self._shelves)))

    def drop(self, key: str) -> None:
        """Forget a shelf."""
        shelf = self._shelves.pop(key, None)
        if shelf is None:
            return
        self.size -= self._sizes.pop(key)
        keys = self._keys[shelf.persona]
        keys.discard(key)
        if not keys:
            del self._keys[shelf.persona]

    def drop_persona(self, persona: str) -> Sequence[str]:
        """Forget all of a persona, and return the keys."""
        keys = list(self._keys.get(persona, ()))
        for key in keys:
            self.drop(key)
        return keys


class Heard:
    """What each NPC said last to whom, so that nobody hears the same twice in a row."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[tuple[str, str, str], tuple[str, ...]] = OrderedDict()

    def before(self, turn: Turn) -> tuple[str, ...]:
        """Return ids of what was heard, the last one at the end.

        Where nothing is known, as after a restart, memory tells.
        """
        known = None if _strangers(turn) else self._pairs.get(_pair(turn))
        if known is not None:
            return known
        said = [past.reply for past in turn.history if past.npc == turn.npc.id]
        return tuple(text_id(reply) for reply in said[-HEARD:])

    def add(self, turn: Turn, heard: str) -> None:
        """Note the id of what was just said."""
        if _strangers(turn):
            return
        pair = _pair(turn)
        before = [one for one in self.before(turn) if one != heard]
        self._pairs[pair] = (*before[1 - HEARD :], heard)
        self._pairs.move_to_end(pair)
        if len(self._pairs) > MAX_PAIRS:
            self._pairs.popitem(last=False)


def _strangers(turn: Turn) -> bool:
    """Return whether anybody may be speaking: programs that bring their own prompt need no name."""
    return turn.given_prompt is not None and turn.counterpart_key is None


def _pair(turn: Turn) -> tuple[str, str, str]:
    return (turn.game, turn.npc.id, turn.counterpart_key or "")
