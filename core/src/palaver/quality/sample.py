"""Which replies are looked at when there are very many: always those of the same listeners.

What a reply says is read word by word, which costs as much as a few tokens. A signal is a share,
and a share is as well known from a thousand turns a minute as from all of them; but whether a reply
repeats what was heard is known only of somebody whose every reply is read. So listeners are left
out, not turns.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic

__all__ = ["Sample"]

WINDOW_S = 2.0
"""How long turns are counted before the share is set anew, in seconds."""
LEAST_S = 0.5
"""A burst that is shorter is taken for this long, in seconds: it is no rate yet."""
_ALL = 1 << 16


class Sample:
    """Chooses whose replies are read.

    Args:
        per_s: How many are to be read in a second, about; above 0.
        clock: The time, in seconds.
    """

    def __init__(self, per_s: float, *, clock: Callable[[], float] = monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._below = _ALL
        self._count = 0
        self._since = clock()

    @property
    def share(self) -> float:
        """The share of listeners whose replies are read now, from 0 to 1."""
        return self._below / _ALL

    def takes(self, listener: Hashable) -> bool:
        """Count a turn, and return whether its reply is read.

        Args:
            listener: Who hears it from whom. The same ones are chosen while the share is the same,
                and of a smaller share those of the larger one.
        """
        self._count += 1
        passed = self._clock() - self._since
        if passed >= WINDOW_S or (self._below == _ALL and self._count > self._per_s * WINDOW_S):
            rate = self._count / max(passed, LEAST_S)
            self._below = max(1, min(_ALL, int(_ALL * self._per_s / rate)))
            self._count, self._since = 0, self._since + passed
        return self._below == _ALL or hash(listener) & (_ALL - 1) < self._below
