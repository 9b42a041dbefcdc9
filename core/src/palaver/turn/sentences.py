"""Splitting a stream of text into whole sentences, in any language.

A sentence ends at `.`, `!`, `?` or `…` with what closes it (quotes, brackets), before white space;
at the full-width marks of Chinese and Japanese, the Hindi danda and the like at once; and at a line
break. Abbreviations, initials and decimals do not end one.
"""

# ruff: noqa: RUF001  # marks of many languages look alike

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ENDINGS", "MARK", "Sentence", "SentenceSplitter"]

ENDINGS = ".!?…。！？｡।॥؟۔։።"
_CLOSERS = "\"'”’»)]}」』）】›"
MARK = re.compile(rf"[{re.escape(ENDINGS)}\n]")
"""Finds what may end a sentence; where there is none, none ends."""
_AT_ONCE = frozenset("。！？｡।॥\n")
_BOUNDARY = re.compile(
    rf"(?:[。！？｡।॥]+[{re.escape(_CLOSERS)}]*)|(?:[.!?…؟۔։።]+[{re.escape(_CLOSERS)}]*(?=\s))|\n+"
)
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr rev hon gen col lt sgt capt vs etc e.g i.e no vol fig cf al approx "
    "mme mlle m z.b d.h bzw usw nr bd".split()
)
LONGEST_ABBREVIATION = 12
"""Characters that are looked at before a full stop."""
_WORD_BEFORE = re.compile(r"([^\s\"'“‘«(\[]+)\.$")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One whole sentence.

    Attributes:
        index: 0, 1, 2 ...
        start: Offset of its first character in the reply, in code points.
        text: The sentence without white space around it.
    """

    index: int
    start: int
    text: str


class SentenceSplitter:
    """Takes text as it comes and gives whole sentences."""

    __slots__ = ("_from", "_index", "_pending", "_scan", "_start")

    def __init__(self) -> None:
        self._pending = ""
        self._start = 0
        self._index = 0
        self._from = 0
        self._scan = 0

    def feed(self, text: str) -> list[Sentence]:
        """Take the next piece and return the sentences that are whole now."""
        pending = self._pending + text
        self._pending = pending
        # A boundary needs a mark, and most pieces have none: nothing to look for.
        if MARK.search(pending, max(0, self._from - 1)) is None:
            self._from = len(pending)
            return []
        found: list[Sentence] = []
        at = 0
        # Marks that end no sentence are looked at once, not again with every piece.
        scan = self._scan
        while match := _BOUNDARY.search(pending, scan):
            scan = match.end()
            mark = match[0]
            start = max(at, match.start() - LONGEST_ABBREVIATION)
            if mark[0] == "." and _is_abbreviation(pending[start : match.start() + 1]):
                continue
            # More closing marks may follow those that end a sentence at once.
            if scan == len(pending) and mark[0] in _AT_ONCE and mark[0] != "\n":
                scan = match.start()
                break
            self._emit(found, pending[at:scan], self._start + at)
            at = scan
        if at:
            self._pending = pending[at:]
            self._start += at
        self._scan = max(0, scan - at)
        mark_at = MARK.search(self._pending, self._scan)
        self._from = mark_at.start() + 1 if mark_at else len(self._pending)
        return found

    def flush(self) -> list[Sentence]:
        """Return what is left as the last sentence, if there is anything."""
        found: list[Sentence] = []
        self._emit(found, self._pending, self._start)
        self._start += len(self._pending)
        self._pending = ""
        self._from = self._scan = 0
        return found

    def _emit(self, found: list[Sentence], raw: str, start: int) -> None:
        text = raw.strip()
        if text:
            lead = len(raw) - len(raw.lstrip())
            found.append(Sentence(self._index, start + lead, text))
            self._index += 1


def _is_abbreviation(text: str) -> bool:
    """Return whether the full stop at the end belongs to the word before it."""
    match = _WORD_BEFORE.search(text)
    if match is None:
        return False
    word = match[1].lower()
    return word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and match[1].isupper())
