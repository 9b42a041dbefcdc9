"""What was spent, by what it was spent for: the sums that ceilings are compared with.

A sum belongs to one day (UTC) or to one session. What other gateways spend comes in through
`learn`; what this one has spent and nobody was told yet is `unpushed`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["MAX_SUMS", "Kind", "Sum", "Sums"]

Kind = Literal["all", "tier", "backend", "player", "session"]
MAX_SUMS = 20_000
"""Sums of players, and as many of sessions, that are kept; those that were idle the longest go."""


SPECK = 1e-9
"""US dollars that floating-point sums may be off by."""


@dataclass(slots=True, eq=False)
class Sum:
    """What was spent for one thing.

    Attributes:
        kind: What kind of thing.
        name: Which one; empty for `all`.
        day: Days since 1970 (UTC), or -1 for a session, which may go on past midnight.
        ceiling: What it may come to, in US dollars, or None.
        spent: What it has come to, as far as this gateway knows, in US dollars.
        held: What calls that are under way may still cost at the worst.
        unpushed: The part of `spent` that other gateways were not told of.
        learned_at: When the store last said what all gateways spent, by the governor's clock.
        warned: Whether the log has said that most of it is used up.
        reached: Whether the log has said that it is used up.
        refused: How often in a row the store took others, but not this one.
    """

    kind: Kind
    name: str
    day: int
    ceiling: float | None = None
    spent: float = 0.0
    held: float = 0.0
    unpushed: float = 0.0
    learned_at: float = float("-inf")
    warned: bool = False
    reached: bool = False
    refused: int = 0

    def has_room(self, usd: float) -> bool:
        """Return whether it stays within its ceiling if a call comes to this at the worst."""
        return self.ceiling is None or self.spent + self.held + usd <= self.ceiling + SPECK

    def learn(self, total: float, at: float) -> None:
        """Take what all gateways have spent together, as far as they have told.

        What was spent never becomes less: a store that says so has forgotten, and is to be told
        again.
        """
        known = self.spent - self.unpushed
        if total < known - 1e-6:
            self.unpushed += known - total
        else:
            self.spent = max(self.spent, total + self.unpushed)
        self.learned_at = at


class Sums:
    """The sums of a day, and those of sessions."""

    def __init__(self) -> None:
        self.day = -1
        self._few: dict[tuple[Kind, str], Sum] = {}
        # Players and sessions come and go: those that were idle the longest are forgotten.
        self._many: dict[Kind, OrderedDict[str, Sum]] = {
            "player": OrderedDict(),
            "session": OrderedDict(),
        }

    def begin(self, day: int) -> None:
        """Begin a day: every sum but those of sessions starts again."""
        self.day = day
        self._few = {}
        self._many["player"] = OrderedDict()

    def get(self, kind: Kind, name: str = "", ceiling: float | None = None) -> Sum:
        """Return a sum; it begins at 0.

        Args:
            kind: What kind of thing.
            name: Which one.
            ceiling: What it may come to.
        """
        many = self._many.get(kind)
        if many is None:
            found = self._few.get((kind, name))
            if found is None:
                found = self._few[kind, name] = Sum(kind, name, self.day)
        else:
            found = many.get(name)
            if found is None:
                found = many[name] = Sum(kind, name, -1 if kind == "session" else self.day)
                self._forget(many)
            else:
                many.move_to_end(name)
        found.ceiling = ceiling
        return found

    def few(self) -> list[Sum]:
        """Return the sums of the day but those of players."""
        return list(self._few.values())

    def of_today(self) -> Iterator[Sum]:
        """Return the sums of the day."""
        yield from self._few.values()
        yield from self._many["player"].values()

    @staticmethod
    def _forget(sums: OrderedDict[str, Sum]) -> None:
        while len(sums) > MAX_SUMS:
            idle = next((name for name, one in sums.items() if not one.held), None)
            if idle is None:
                return
            del sums[idle]
