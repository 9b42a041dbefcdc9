"""One spelling for all: what is written to look like a word becomes that word.

Two levels. `fold` takes away what nobody sees (case, zero-width characters, fancy letters that
Unicode calls compatible); `strip` goes further and takes look-alikes of other scripts for Latin
letters and leaves accents away. Lists are looked for in both, so that a list may be Russian and a
Russian letter hides no English word.
"""

# ruff: noqa: RUF001  # letters that look alike are what this is about

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["fold", "strip", "traced"]

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
# Lower case only: text is folded before. From Unicode's confusables (UTS 39), the letters that
# keyboards have and fonts draw alike.
_ALIKE = {
    "а": "a", "в": "b", "с": "c", "ԁ": "d", "е": "e", "ё": "e", "һ": "h", "н": "h", "і": "i",
    "ї": "i", "ј": "j", "к": "k", "ӏ": "l", "м": "m", "п": "n", "о": "o", "р": "p", "ԛ": "q",
    "г": "r", "ѕ": "s", "т": "t", "у": "y", "ү": "y", "ԝ": "w", "х": "x", "з": "3",
    "α": "a", "β": "b", "ϲ": "c", "ε": "e", "η": "n", "ι": "i", "κ": "k", "μ": "u", "ν": "v",
    "ο": "o", "ρ": "p", "σ": "o", "τ": "t", "υ": "u", "χ": "x", "ω": "w", "γ": "y",
    "ı": "i", "ɑ": "a", "ɡ": "g", "ɩ": "i", "ʟ": "l", "ɴ": "n", "ʀ": "r", "ꜱ": "s", "ᴀ": "a",
    "ʙ": "b", "ᴄ": "c", "ᴅ": "d", "ᴇ": "e", "ꜰ": "f", "ɢ": "g", "ʜ": "h", "ɪ": "i", "ᴊ": "j",
    "ᴋ": "k", "ᴍ": "m", "ᴏ": "o", "ᴘ": "p", "ᴛ": "t", "ᴜ": "u", "ᴠ": "v", "ᴡ": "w", "ʏ": "y",
    "ᴢ": "z", "ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "ƒ": "f", "¢": "c", "€": "e",
    "£": "l", "¥": "y", "×": "x",
    "’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "…": ".",
}  # fmt: skip
_MARKS = (
    *range(0x300, 0x370),
    *range(0x483, 0x48A),
    *range(0x1AB0, 0x1B00),
    *range(0x1DC0, 0x1E00),
    *range(0x20D0, 0x2100),
    *range(0xFE20, 0xFE30),
)
_TABLE: dict[int, str | None] = {
    **dict.fromkeys(_MARKS),
    **{ord(letter): alike for letter, alike in _ALIKE.items()},
}


def fold(text: str) -> str:
    """Return a text without case, invisible characters and fancy letters."""
    if text.isascii():
        return text.lower()
    if not text.isprintable() or not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    return text.casefold()


def strip(folded: str) -> str:
    """Return a folded text with Latin letters for their look-alikes and without accents."""
    if folded.isascii():
        return folded
    return unicodedata.normalize("NFKD", folded).translate(_TABLE)


def traced(text: str, *, stripped: bool) -> tuple[str, Sequence[int]]:
    """Fold a text, and say where each character of the result comes from.

    Args:
        text: The text.
        stripped: Whether to strip it too.

    Returns:
        The folded text, and for each of its characters, and for its end, the place in `text`
        where what it was made of begins. What is not seen belongs to the character before it.
    """
    folded: list[str] = []
    places: list[int] = []
    at = 0
    while at < len(text):
        end = at + 1
        while end < len(text) and (unicodedata.combining(text[end]) or _INVISIBLE.match(text[end])):
            end += 1
        piece = fold(text[at:end])
        if stripped:
            piece = strip(piece)
        folded.append(piece)
        places.extend([at] * len(piece))
        at = end
    places.append(len(text))
    return "".join(folded), places
