"""What the chains of all turns share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from palaver.chain.flights import Flights
from palaver.chain.hedge import HedgeBudget

if TYPE_CHECKING:
    from palaver.chain.servers import Entry
    from palaver.hookcalls import HookCall
    from palaver.spend import Governor

__all__ = ["Chain"]


@dataclass(slots=True)
class Chain:
    """Backends, and what is counted over all turns.

    Attributes:
        entries: Configured backends by name.
        hedges: How often two may work for the same turn.
        checks: Implementations of `palaver_check`, the core's own first.
        governor: Keeps account of what is spent, or None.
        flights: Requests under way.
    """

    entries: Mapping[str, Entry]
    hedges: HedgeBudget = field(default_factory=lambda: HedgeBudget(0.1))
    checks: Sequence[HookCall] = ()
    governor: Governor | None = None
    flights: Flights = field(default_factory=Flights)
