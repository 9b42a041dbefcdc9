"""Whether a reply repeats what this player heard from this NPC lately.

A reply is cut into runs of four words. One that shares half of them with the last replies of the
same NPC to the same listener repeats itself. Of what was said only numbers are kept, in a few
megabytes however many players there are.
"""

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["Repetition"]

WORDS = 4
"""Words in a run: three are common by chance ("I do not"), five miss what is changed a little."""
SHARE = 0.5
"""Share of a reply's runs that were heard before, from which on it repeats."""
RUNS = 256
"""Runs kept for each pair: some eight replies of thirty words."""
PAIRS = 4_096
"""Pairs of an NPC and a listener; those who talked the longest ago are forgotten."""
MAX_WORDS = 256
"""Words of one reply that are looked at."""
_WORD = re.compile(r"\w+(?:['’]\w+)*")  # noqa: RUF001  # the apostrophe of books


class Repetition:
    """Remembers what was said to whom.

    Args:
        pairs: Pairs of an NPC and a listener that are remembered.
    """

    def __init__(self, pairs: int = PAIRS) -> None:
        self._pairs = pairs
        self._heard: OrderedDict[Hashable, array[int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._heard)

    def hear(self, pair: Hashable, text: str) -> bool | None:
        """Remember a reply; returns whether it repeats earlier ones.

        Args:
            pair: Who says it to whom.
            text: The reply.

        Returns:
            None where there is nothing to compare: no words, or nothing was heard before.
        """
        runs = _runs(text)
        if not runs:
            return None
        heard = self._heard.pop(pair, None)
        if heard is None:
            heard = array("Q")
        self._heard[pair] = heard
        if len(self._heard) > self._pairs:
            self._heard.popitem(last=False)
        repeats = None
        if heard:
            known = set(runs).intersection(heard)
            repeats = sum(map(known.__contains__, runs)) >= SHARE * len(runs)
        heard.extend(runs)
        del heard[: max(0, len(heard) - RUNS)]
        return repeats


def _runs(text: str) -> list[int]:
    """Return a number for each run of words; a reply shorter than a run is one."""
    words = _WORD.findall(text.casefold())[:MAX_WORDS]
    if not words:
        return []
    if len(words) < WORDS:
        return [hash(tuple(words)) & 0xFFFFFFFFFFFFFFFF]
    return [
        hash(run) & 0xFFFFFFFFFFFFFFFF
        for run in zip(words, words[1:], words[2:], words[3:], strict=False)
    ]
