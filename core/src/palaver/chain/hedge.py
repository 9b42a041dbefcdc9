"""The hedge budget: how often a second backend may start beside one that is late."""

from __future__ import annotations

__all__ = ["HedgeBudget"]

CREDIT = 1.0
"""What there is to begin with: the first turn of all may be saved too."""
MOST = 10.0
"""Most that is saved up: after a quiet night not every turn of the morning asks two backends."""


class HedgeBudget:
    """Earns a share of an attempt with each turn and spends a whole one for each hedge.

    So concurrent attempts are at most `1 + share` on average (as in gRPC's retry throttling and
    Dean & Barroso, *The Tail at Scale*), and a backend that is late for everybody does not make
    the next one late as well.

    Args:
        share: Share of turns that may be hedged, 0 to 1.

    Attributes:
        spent: Hedges so far.
        denied: Hedges that there was no budget for.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._left = CREDIT if share else 0.0
        self.spent = 0
        self.denied = 0

    def earn(self) -> None:
        """Note a turn that asks a backend."""
        self._left = min(MOST, self._left + self._share)

    def take(self) -> bool:
        """Spend one hedge; returns whether there was one."""
        # What a tenth, ten times, falls short of 1 must not cost a hedge.
        if self._left < 1.0 - 1e-9:
            self.denied += 1
            return False
        self._left -= 1.0
        self.spent += 1
        return True
