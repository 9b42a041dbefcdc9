"""Whether a reply is in the language that was asked for, as far as its first words tell."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from palaver.chain.checks import GO, OK, WAIT, Checker, Objection, Verdict
from palaver.turn.language import normal_lang

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["language"]

_LATIN = (
    *(
        "en",
        "de",
        "fr",
        "es",
        "it",
        "pt",
        "nl",
        "pl",
        "cs",
        "sk",
        "sl",
        "hr",
        "hu",
        "ro",
        "sv",
        "da",
    ),
    *(
        "nb",
        "nn",
        "no",
        "is",
        "fi",
        "et",
        "lv",
        "lt",
        "tr",
        "id",
        "ms",
        "vi",
        "tl",
        "sw",
        "af",
        "sq",
    ),
    *("ca", "eu", "gl", "ga", "cy", "la", "eo"),
)
_SCRIPTS = {
    **dict.fromkeys(_LATIN, ("LATIN",)),
    **dict.fromkeys(("ru", "uk", "bg", "be", "mk", "ky", "mn", "tg"), ("CYRILLIC",)),
    **dict.fromkeys(("sr", "bs", "kk", "uz"), ("CYRILLIC", "LATIN")),
    "el": ("GREEK",),
    **dict.fromkeys(("he", "yi"), ("HEBREW",)),
    **dict.fromkeys(("ar", "fa", "ur", "ps"), ("ARABIC",)),
    **dict.fromkeys(("hi", "mr", "ne"), ("DEVANAGARI",)),
    **dict.fromkeys(("bn", "as"), ("BENGALI",)),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "th": ("THAI",),
    "zh": ("CJK", "BOPOMOFO", "FULLWIDTH", "IDEOGRAPHIC"),
    "ja": ("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "FULLWIDTH", "IDEOGRAPHIC"),
    "ko": ("HANGUL", "CJK"),
    "ka": ("GEORGIAN",),
    "hy": ("ARMENIAN",),
}
"""What languages are written in; of one that is missing, or whose tag names another, nothing is
known."""
_LETTERS = 12
"""Letters of another script that are more than a name or an exclamation."""
_LEAST_LETTERS = 3
"""So many, where they are all there is."""
_COMMON = {
    "en": "the and you is of to in that it my your with for not are have this what be was",
    "de": "der die das und ich ist nicht du ein eine mit den dem zu wir sie auf es mein dein",
    "fr": "le la les et je est pas tu un une vous de des que dans pour mon ton qui ne",
    "es": "el la los y es no un una que de en mi tu con por para las se lo su",
    "it": "il la e che non un una di mio tuo con per sono è le gli del si lo ma",
    "pt": "o a os e que não um uma de do da em meu seu com para se as no por",
    "nl": "de het een en ik is niet je van in dat op mijn met te voor zijn wat er maar",
}
_WORDS = {lang: frozenset(words.split()) for lang, words in _COMMON.items()}
_TOO = {
    "en": frozenset("a as con de die do in is la le me no non per que se son was".split()),
    "de": frozenset("de en er in la was".split()),
}
"""Words of other languages that a language has too, or says in French."""
_OTHERS = {
    lang: {one: words - _TOO.get(lang, frozenset()) for one, words in _WORDS.items() if one != lang}
    for lang in _WORDS
}
_WORD = re.compile(r"[^\W\d_]+")
# From its beginning only: a very long word would be tried from each of its letters.
_WHOLE_WORD = re.compile(r"(?<![^\W\d_])[^\W\d_]+(?![^\W\d_]|$)")
_LEAST_WORDS = 5
"""Words of another language before it is called one; a single sentence of fewer tells nothing."""

_ENOUGH_WORDS = 30
"""After so many words without a sign of another language it is not looked for any more."""


def language(turn: Turn) -> Checker | None:
    """Return a check that a reply is in the turn's language, or None where nobody can tell."""
    # Of `und` too: there the client's own prompt names the language, in words.
    lang, wanted = _written_in(turn.lang)
    if not wanted:
        return None
    latin = "LATIN" in wanted
    own, others = _WORDS.get(lang), _OTHERS.get(lang, {})

    def check(text: str, whole: bool) -> Verdict:
        # Most replies are in plain letters: nothing to look up.
        if own is None or not (latin and text.isascii()):
            letters = [char for char in text if char.isalpha()][:40]
            strange = sum(not _is_in(char, wanted) for char in letters)
            if strange * 2 > len(letters):
                if len(letters) >= (_LEAST_LETTERS if whole else _LETTERS):
                    return Objection(f"not in the language {turn.lang}")
                return GO if whole else WAIT
            if own is None:
                return OK if len(letters) >= _LETTERS else GO
        # The last word may be half of another one.
        words = (_WORD if whole else _WHOLE_WORD).findall(text.casefold())
        if len(words) < _LEAST_WORDS:
            return GO
        if not own.isdisjoint(words):
            return OK
        for other, common in others.items():
            # Three different ones: two languages share many a little word.
            if len(common.intersection(words)) >= 3:
                return Objection(f"in the language {other}, not {turn.lang}")
        return OK if len(words) >= _ENOUGH_WORDS else GO

    return check


@lru_cache(maxsize=256)
def _written_in(tag: str) -> tuple[str, tuple[str, ...]]:
    """Return a tag's language, and what it is written in; nothing where nobody can tell."""
    lang, *rest = normal_lang(tag).split("-")
    if any(len(part) == 4 and part not in ("Hans", "Hant") for part in rest):
        return lang, ()
    return lang, _SCRIPTS.get(lang, ())


@lru_cache(maxsize=4_096)
def _is_in(letter: str, scripts: tuple[str, ...]) -> bool:
    return unicodedata.name(letter, "").startswith(scripts)
