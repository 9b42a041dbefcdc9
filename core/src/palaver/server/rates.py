"""How often something may happen: a token bucket."""

from __future__ import annotations

import time

__all__ = ["TokenBucket"]


class TokenBucket:
    """Allows `per_s` on average, and twice that at once.

    Args:
        per_s: How often per second.
    """

    __slots__ = ("_at", "_burst", "_left", "_per_s")

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._burst = max(1.0, per_s * 2)
        self._left = self._burst
        self._at = time.monotonic()

    def take(self) -> bool:
        """Return whether it may happen once more now."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def charge(self) -> None:
        """Count what happens whether it may or not; what comes next makes up for it."""
        if not self.take():
            self._left -= 1
