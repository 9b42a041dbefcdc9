"""A quick look that nearly every text ends with: are there any words that could be meant?

Of each word and phrase one token is kept by its first letters, in every spelling that repeats some
of them. A text whose tokens begin with none of these needs no closer look. It may find too much,
and nothing that the closer look would find is missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import groupby

from palaver_moderation.fold import strip

__all__ = ["Heads", "longest_run", "squeezed", "tokens_of"]

LENGTH = 5
"""First letters that are kept."""
SHORT = 3
"""Of words with any ending that are shorter than `LENGTH`."""

# What may be taken for another letter is the same here: `l`, `1` and `|` may all be an `i`.
_SAME = {"l": "i", "1": "i", "|": "i", "4": "a", "@": "a", "8": "b", "3": "e", "9": "g", "0": "o",
         "5": "s", "$": "s", "7": "t", "+": "t", "2": "z"}  # fmt: skip
_TABLE = {
    **{ord(char): " " for char in "!\"#%&'()*,-./:;<=>?[\\]^_`{}~¡¿«»·"},
    **dict.fromkeys((*range(0x2000, 0x2070), *range(0x3000, 0x3040), *range(0xFF00, 0xFF10)), " "),
    **{ord(char): same for char, same in _SAME.items()},
}
_ALIKE = {**{ord(char): same for char, same in _SAME.items()}, ord("!"): "i"}
_RUN = re.compile(r"([^\W_])\1{7,}")
"""What is alike, often enough that a word would have to be looked for in many ways."""
_IN_WORD = re.compile(r"![^\W_]")


def tokens_of(folded: str) -> list[str]:
    """Return the tokens of a folded and stripped text."""
    if "!" in folded:
        # Mostly it ends a sentence, and stands for an `i` only within a word.
        folded = _IN_WORD.sub(_as_i, folded)
    return folded.translate(_TABLE).split()


def _as_i(match: re.Match[str]) -> str:
    return "i" + match[0][1]


def longest_run(words: Iterable[str]) -> int:
    """Return how many letters that are alike stand next to each other in any of the words."""
    return max(
        (sum(1 for _ in same) for word in words for _, same in groupby(word.translate(_ALIKE))),
        default=0,
    )


def squeezed(text: str, kept: int) -> tuple[str, Sequence[int]]:
    """Leave away the middle of long runs of letters that are alike, as in `noooooo` and `!i!i!i`.

    A search tries each way to cut such a run into the letters of a word, so its time would grow
    with the square of the run, or faster.

    Args:
        text: A folded and stripped text.
        kept: How many letters are kept at both ends of a run; `longest_run` of what is looked
            for, or more.

    Returns:
        What is left, and the place of each of its characters in the text.
    """
    parts: list[str] = []
    places: list[int] = []
    at = 0
    for run in _RUN.finditer(text.translate(_ALIKE)):
        begin, end = run.start() + kept, run.end() - kept
        if begin < end:
            parts.append(text[at:begin])
            places.extend(range(at, begin))
            at = end
    if not parts:
        return text, range(len(text))
    parts.append(text[at:])
    places.extend(range(at, len(text)))
    return "".join(parts), places


class Heads:
    """The beginnings of words.

    Args:
        words: Folded words and phrases; `*` at the end stands for any ending.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._long: set[str] = set()
        self._short: set[str] = set()
        for word in map(strip, words):
            open_end = word.endswith("*")
            tokens = tokens_of(word.replace("*", " "))
            if not tokens:
                continue
            # The last one may go on; any other is as it stands.
            key = max(enumerate(tokens), key=lambda one: (len(one[1]), one[0]))
            goes_on = open_end and key[0] == len(tokens) - 1
            if goes_on and len(key[1]) < LENGTH:
                self._short |= set(_spellings(key[1], min(SHORT, len(key[1])), cut=True))
            else:
                self._long |= set(_spellings(key[1], LENGTH, cut=False))
        self._lengths = sorted({len(one) for one in self._short})

    def may_hold(self, firsts: Set[str]) -> bool:
        """Return whether there may be one of the words.

        Args:
            firsts: The first `LENGTH` letters of each token.
        """
        if not self._long.isdisjoint(firsts):
            return True
        return any(
            not self._short.isdisjoint({first[:length] for first in firsts})
            for length in self._lengths
        )


def _spellings(word: str, length: int, *, cut: bool) -> Iterator[str]:
    """Yield a word's first letters, each letter once or more.

    Args:
        word: The word.
        length: How many letters.
        cut: Whether only so many count, because anything may follow.
    """

    def grow(built: str, at: int) -> Iterator[str]:
        if len(built) == length:
            yield built
            return
        if at == len(word):
            if not cut:
                yield built
            if built and not cut:
                yield from grow(built + built[-1], at)
            return
        yield from grow(built + word[at], at + 1)
        if built:
            yield from grow(built + built[-1], at)

    yield from grow("", 0)
