"""Whether a reply names somebody, in whole or in part, in any script.

Names are spoken in parts ("Aldric the Bold" is greeted as Aldric), with endings ("Aldrics
Schwert"), cut short ("Alex"), and in scripts that put no spaces between words. Where it is not
certain, a reply counts as naming: that costs a model's call, and the other error a player's trust.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["Words"]

SHORT = 3
"""Parts of a name from so many letters on name alone, at the beginning of a word."""
NICKNAME = 4
"""A word from so many letters on names whoever's name begins with it."""
PAIR = 2
"""Where no spaces are written, so many characters of a name in a row are a name, too."""
_PARTICLES = frozenset(
    "and dal das de del della den der des di die do dos du el et la las le les los of the ten ter "
    "van vom von y zu zum zur".split()
)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_THOUSANDS = re.compile(r"(?<=\d)[.,'\u2019\u00a0\u202f ](?=\d{3}(?!\d))")
_DIGITS = re.compile(r"\d+")
_TOKEN = re.compile(r"[^\W_]+")
_UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul: it has spaces, but forms of address are tied to names
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # signs among ideographs
    (0x3040, 0x318F),  # Japanese kana, Bopomofo, Hangul
    (0x31F0, 0x31FF),
    (0x3400, 0x9FFF),  # ideographs
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


class Words:
    """A text, for asking whether it names somebody.

    Args:
        text: The text as it is shown.
    """

    def __init__(self, text: str) -> None:
        self._text = _plain(text)
        self._words = frozenset(_words(self._text))
        self._tokens = f" {' '.join(_TOKEN.findall(self._text))}"
        self._numbers = frozenset(_DIGITS.findall(_THOUSANDS.sub("", text)))

    def names(self, name: str, besides: Words | None = None) -> bool:
        """Return whether it has a name or a part of it.

        Args:
            name: The name.
            besides: What may be said in any case.
        """
        return any(
            self._has(part) and not (besides is not None and besides.has_word(part))
            for part in _parts(name)
        )

    def says(self, phrase: str) -> bool:
        """Return whether it has a phrase, from the beginning of a word on."""
        plain = _plain(phrase).strip()
        if _unspaced(plain):
            return plain in self._text
        tokens = " ".join(_TOKEN.findall(plain))
        return len(tokens) >= SHORT and f" {tokens}" in self._tokens

    def has_word(self, word: str) -> bool:
        """Return whether it has a whole word; where no spaces are written, those characters."""
        return word in self._text if _unspaced(word) else word in self._words

    def has_number(self, number: str) -> bool:
        """Return whether it has a number, however its thousands are set apart."""
        return number in self._numbers

    def _has(self, part: str) -> bool:
        if _unspaced(part):
            return part in self._text
        if len(part) < SHORT:
            return part in self._words
        return any(
            word.startswith(part) or (len(word) >= NICKNAME and part.startswith(word))
            for word in self._words
        )


@lru_cache(maxsize=4_096)
def _parts(name: str) -> tuple[str, ...]:
    """Return what of a name would name its bearer."""
    found = dict.fromkeys(_words(_plain(name)))
    # "AldricTheBold" is three words.
    found.update(dict.fromkeys(_words(_plain(_HUMP.sub(" ", name)))))
    own = [part for part in found if part not in _PARTICLES] or list(found)
    telling = [part for part in own if len(part) >= SHORT or _unspaced(part)] or own
    parts: dict[str, None] = {}
    for part in telling:
        if _unspaced(part) and len(part) > PAIR:
            pairs = (part[index : index + PAIR] for index in range(len(part) - PAIR + 1))
            parts.update(dict.fromkeys(pairs))
        else:
            parts[part] = None
    return tuple(parts)


def _plain(text: str) -> str:
    """Return a text without case, accents, marks, and signs that nobody sees."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text)
    bare = (one for one in apart if unicodedata.category(one) not in ("Mn", "Mc", "Me", "Cf"))
    return unicodedata.normalize("NFKC", "".join(bare)).casefold()


def _words(text: str) -> Iterator[str]:
    """Yield runs of letters; those with and without spaces between words are runs of their own."""
    run, unspaced = "", False
    for one in text:
        if not one.isalpha():
            if run:
                yield run
            run = ""
            continue
        now = _unspaced(one)
        if run and now != unspaced:
            yield run
            run = ""
        run, unspaced = run + one, now
    if run:
        yield run


def _unspaced(text: str) -> bool:
    """Return whether a text is in a script that puts no spaces between words."""
    if text.isascii():
        return False
    return any(first <= ord(one) <= last for one in text for first, last in _UNSPACED)
