"""A circuit breaker: a server that fails is left alone for a while, then tried with one turn.

One belongs to each server of each backend, so a server with two models under two backends has two.
Closed, it lets everything through; open, nothing; half-open, one probe. See Nygard, *Release It!*,
and https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Literal

__all__ = ["Breaker", "State"]

log = logging.getLogger("palaver.chain")

State = Literal["closed", "open", "half_open"]

JITTER = 0.2
"""Part of a rest that is left to chance, so that gateways do not all probe at once."""
MAX_REST_S = 900.0
"""Longest rest that a server can ask for."""
KEY_REST_S = 300.0
"""Rest of a server that refuses the key: only a person can mend that."""


class Breaker:
    """Whether a server is worth asking.

    Args:
        name: Backend and server, for the log.
        failures: Failures in a row that open it.
        first_s: First rest, in seconds; it doubles with each failed probe.
        longest_s: Longest such rest, in seconds.
        clock: The time, in seconds.
        dice: A number between 0 and 1.

    Attributes:
        reason: Why it is open, or None.
        opened: How often it went from closed to open.
        known: Reasons that whoever runs the server was told at start; the log does not repeat them.
    """

    def __init__(
        self,
        name: str,
        failures: int,
        first_s: float,
        longest_s: float,
        clock: Callable[[], float],
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._name, self._clock, self._dice = name, clock, dice
        self._limit, self._first_s, self._longest_s = failures, first_s, longest_s
        self._in_a_row = 0
        self._rest_s = first_s
        self._until: float | None = None
        self._probing = False
        self.reason: str | None = None
        self.opened = 0
        self.known: frozenset[str] = frozenset()

    @property
    def state(self) -> State:
        """`closed`, `open`, or `half_open` when a probe may go through or is under way."""
        if self._until is None:
            return "closed"
        return "half_open" if self._probing or self._clock() >= self._until else "open"

    @property
    def rest_s(self) -> float:
        """How long it stays open, in seconds."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    def allows(self) -> bool:
        """Return whether a request may go through now."""
        return self._until is None or (not self._probing and self._clock() >= self._until)

    def enter(self) -> bool:
        """Note that a request goes through; one of `succeeded`, `failed`, `left` must follow.

        Returns:
            Whether it is the probe: only what becomes of that counts while the breaker is open.
        """
        if self._until is not None:
            self._probing = True
        return self._probing

    def left(self, *, probe: bool = True) -> None:
        """Note that a request ended without telling anything about the server.

        Args:
            probe: What `enter` returned for it.
        """
        if probe:
            self._probing = False

    def succeeded(self, *, probe: bool = True) -> None:
        """Note that the server did its work.

        Args:
            probe: What `enter` returned. A request from before it was left alone says nothing
                about whether it would take another one.
        """
        if self._until is not None and not probe:
            return
        self._in_a_row, self._probing = 0, False
        if self._until is not None:
            log.info("%s is back", self._name)
            self._until, self.reason, self._rest_s = None, None, self._first_s

    def failed(self, reason: str, *, probe: bool = True) -> None:
        """Note that the server failed, or did not begin in time.

        Args:
            reason: Why, in words.
            probe: What `enter` returned.
        """
        if self._until is not None and not probe:
            return
        self._in_a_row += 1
        if self._until is not None:
            if self._probing:
                self._rest_s = min(self._rest_s * 2, self._longest_s)
                self._open(self._rest_s, reason)
        elif self._in_a_row >= self._limit:
            self._rest_s = self._first_s
            self._open(self._rest_s, reason)

    def rest(self, seconds: float, reason: str) -> None:
        """Leave the server alone for as long as it asks, at once.

        Args:
            seconds: For how long; bounded by `MAX_REST_S`.
            reason: Why, in words.
        """
        self._open(min(seconds, MAX_REST_S), reason, exact=True)

    def unauthorized(self, reason: str) -> None:
        """Leave a server alone that refuses the key.

        Args:
            reason: What to mend.
        """
        self._open(KEY_REST_S, reason, exact=True)

    def _open(self, seconds: float, reason: str, *, exact: bool = False) -> None:
        # A server must not be asked sooner than it wishes, but may be later.
        spread = 1 + JITTER * self._dice() if exact else 1 - JITTER * self._dice()
        first, self._probing = self._until is None, False
        self._until = max(self._until or 0.0, self._clock() + seconds * spread)
        if first:
            self.opened += 1
        # Once, and again only when it is something else: not a thousand times the same line.
        if first or (exact and reason != self.reason):
            # With the part that was left to chance: trails count down from the same number.
            level = logging.DEBUG if reason in self.known else logging.WARNING
            log.log(level, "%s is left alone for %.1f s: %s", self._name, self.rest_s, reason)
        self.reason = reason
