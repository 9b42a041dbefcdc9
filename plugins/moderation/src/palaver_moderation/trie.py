"""Many words as one regular expression, which finds them in disguise too.

    find = re.compile(START + words_pattern(["bad", "bad idea", "rott*"]) + END)

A letter may be repeated (`baaad`) or written as a digit or sign (`b4d`); a doubled letter has to be
there twice, so that a word with one is not taken for one with two. What is no letter
stands for any white space or punctuation. `*` at the end stands for any ending. Words that begin
alike share their beginning: a search looks at few of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from typing import TypeAlias

__all__ = ["END", "START", "words_pattern"]

START = r"(?<![^\W_])"
"""Not in the middle of a word: `classic` holds no bad word."""
END = r"(?![^\W_])"

_LEET = {
    "a": "a4@",
    "b": "b8",
    "e": "e3",
    "g": "g9",
    "i": "i1!|",
    "l": "l1|",
    "o": "o0",
    "s": "s5$",
    "t": "t7+",
    "z": "z2",
}
_GAP = r"[\W_]{1,6}"
_ENDING = r"[^\W_]*"

_Step: TypeAlias = tuple[str, int]
_Node: TypeAlias = "dict[_Step | None, _Node]"


def words_pattern(words: Iterable[str]) -> str:
    """Return a regular expression for words, without boundaries.

    Args:
        words: Folded words and phrases, see `palaver_moderation.fold`.
    """
    root: _Node = {}
    for word in words:
        node = root
        for letter, same in groupby(" ".join(word.split())):
            node = node.setdefault((letter, sum(1 for _ in same)), {})
        node[None] = {}
    return _pattern(root)


def _pattern(node: _Node) -> str:
    parts = [
        _step(*step) + _pattern(inner)
        for step, inner in sorted((step, inner) for step, inner in node.items() if step is not None)
    ]
    if not parts:
        return ""
    joined = parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"
    return f"(?:{joined})?" if None in node else joined


def _step(letter: str, times: int) -> str:
    if letter == "*":
        return _ENDING
    if letter == "'":
        return "'*"
    if not letter.isalnum():
        return _GAP
    alike = _LEET.get(letter)
    one = re.escape(letter) if alike is None else f"[{re.escape(alike)}]"
    # The first letter stands alone: what cannot begin here is then seen at once.
    return f"{one * times}{one}*"
