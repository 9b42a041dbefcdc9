"""How long a reply may be: whatever a model writes, `turn.done` repeats it in one message."""

# ruff: noqa: RUF001  # quotation marks

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii as quote

from palaver.messages import MAX_REPLY_CHARS
from palaver.turn.sentences import ENDINGS

__all__ = ["MAX_REPLY_BYTES", "Room"]

MAX_REPLY_BYTES = 50_000
"""Longest reply as ASCII JSON: `turn.done` repeats it whole, in a message of at most 60 kB."""
_SURELY = MAX_REPLY_BYTES // 12
"""So many characters fit whatever they are: no character takes more bytes than 12."""
_SENTENCE_END = re.compile(rf"[{re.escape(ENDINGS)}]+[\"'”’»)]*(?=\s)|[。！？]")


class Room:
    """Keeps account of how much of a reply there is.

    Attributes:
        chars: Characters so far.
        full: Whether the longest reply was reached; what comes after is not shown.
    """

    __slots__ = ("_bytes", "chars", "full")

    def __init__(self) -> None:
        self.chars = 0
        self.full = False
        self._bytes = 0

    def take(self, text: str, before: list[str]) -> str:
        """Return what of a text still fits, and count it: all of it, or whole sentences.

        Args:
            text: The text.
            before: What was taken before.
        """
        count = self.chars + len(text)
        if count <= _SURELY:
            self.chars = count
            return text
        if not self._bytes:
            self._bytes = len(quote("".join(before))) - 2
        size = len(quote(text)) - 2
        if count > MAX_REPLY_CHARS or self._bytes + size > MAX_REPLY_BYTES:
            self.full = True
            room = (MAX_REPLY_CHARS - self.chars, MAX_REPLY_BYTES - self._bytes)
            text = _whole_sentences(_fitting(text, *room))
            count, size = self.chars + len(text), len(quote(text)) - 2
        self.chars = count
        self._bytes += size
        return text


def _whole_sentences(text: str) -> str:
    """Return a text that was cut without its last, open sentence, or at least word."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    if ends:
        return text[: ends[-1]]
    words = text.rpartition(" ")[0]
    return f"{words}…" if words else text


def _fitting(text: str, chars: int, escaped_bytes: int) -> str:
    """Return the longest beginning of `text` within both bounds."""
    text = text[: max(0, chars)]
    while text and len(quote(text)) - 2 > escaped_bytes:
        text = text[: len(text) * 3 // 4]
    return text
