"""How much one token may ask for over HTTP: turns per second, and turns at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from palaver.errors import ProtocolError
from palaver.server.rates import TokenBucket

if TYPE_CHECKING:
    from palaver.config.models import Limits
    from palaver.server.security import Principal

__all__ = ["Admission"]


class Admission:
    """Counts what each token asks for, over all routes that run turns.

    Args:
        limits: `[limits]`: `messages_per_s` and `turns`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # By token, of which there are as many as the settings name.
        self._running: Counter[str] = Counter()
        self._rates: dict[str, TokenBucket] = {}

    def check_rate(self, principal: Principal) -> None:
        """Make sure that a token does not ask too often.

        Raises:
            ProtocolError: It does.
        """
        per_s = self._limits.messages_per_s
        bucket = self._rates.setdefault(principal.key, TokenBucket(per_s))
        if not bucket.take():
            raise ProtocolError(
                "rate_limited", f"more than {per_s:g} turns per second; ask fewer", retryable=True
            )

    @contextmanager
    def turn(self, principal: Principal) -> Iterator[None]:
        """Hold a place for one turn.

        Raises:
            ProtocolError: The token has too many turns in flight.
        """
        if self._running[principal.key] >= self._limits.turns:
            raise ProtocolError(
                "overloaded", "too many turns are in flight; try again later", retryable=True
            )
        self._running[principal.key] += 1
        try:
            yield
        finally:
            self._running[principal.key] -= 1
