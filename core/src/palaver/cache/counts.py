"""What the cache did, tier by tier, for whoever measures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["CacheCounts"]


@dataclass(slots=True)
class CacheCounts:
    """What became of the turns of one tier that has a cache rule.

    Attributes:
        hits: Turns that were answered from the cache.
        misses: Turns that could have been, had there been a reply for them.
        bypassed: Turns whose situation the rule does not tell, or that wanted a model's own words.
        stored: Replies that were kept.
        renewed: Replies that were made in the background because older ones had aged.
        refused: Replies that were not kept, by reason.
    """

    hits: int = 0
    misses: int = 0
    bypassed: int = 0
    stored: int = 0
    renewed: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def hit_rate(self) -> float | None:
        """Share of all turns that the cache answered; None before the first."""
        turns = self.hits + self.misses + self.bypassed
        return self.hits / turns if turns else None
