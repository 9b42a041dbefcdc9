"""Names that may stand in a label: as many as the settings name, and `other`."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["NONE", "OTHER", "Names"]

OTHER = "other"
"""Stands for every name that the settings do not know: a plugin may invent one for each turn."""
NONE = "none"
"""Stands for nobody: no backend spoke."""


class Names:
    """Keeps labels bounded.

    Args:
        tiers: Tiers of the settings.
        backends: Configured backends.
    """

    def __init__(self, tiers: Iterable[str], backends: Iterable[str]) -> None:
        self._tiers = {name: name for name in tiers}
        # The core's own speakers are no configured backends.
        self._backends = {name: name for name in (*backends, "last_words", "cache")}
        self._backends[""] = NONE

    def tier(self, name: str) -> str:
        """Return the tier's name, or `other`."""
        return self._tiers.get(name, OTHER)

    def backend(self, name: str) -> str:
        """Return the backend's name, `none` for an empty one, or `other`."""
        return self._backends.get(name, OTHER)
