"""The core's own checks of an opening: what no character would say.

Each looks at the beginning of a reply and is done as early as it can: what is held back is time
that the player waits.
"""

# ruff: noqa: RUF001  # quotation marks of many languages

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from palaver.chain.checks import GO, OK, WAIT, Checker, Objection, Verdict
from palaver.turn.language import normal_lang

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["opening_checker", "plain"]

_SPACE = re.compile(r"\s+")
_EDGES = "\"'“”„«»‘’*_()[]…. -–—"


def plain(text: str) -> str:
    """Return a text for comparing: lower case, single spaces, plain apostrophes, no quotes."""
    text = text.replace("’", "'").replace("ʼ", "'")
    return _SPACE.sub(" ", text.casefold()).strip(_EDGES)


def opening_checker(turn: Turn) -> Checker | None:
    """Return the checks of the turn's tier as one checker, or None where there are none."""
    made = [one for name in turn.tier.checks if (one := _MAKERS[name](turn)) is not None]
    if not made:
        return None
    left = made

    def check(text: str, whole: bool) -> Verdict:
        nonlocal left
        still: list[Checker] = []
        result: Verdict = OK
        for one in left:
            verdict = one(text, whole)
            if verdict is OK:
                continue
            if verdict is WAIT or (verdict is GO and result is OK):
                result = verdict
            elif verdict is not GO:
                return verdict
            still.append(one)
        left = still
        return result

    return check


def _empty(turn: Turn) -> Checker:
    def check(text: str, whole: bool) -> Verdict:
        if any(map(str.isalnum, text)):
            return OK
        return Objection("says nothing") if whole else WAIT

    return check


_REFUSALS = re.compile(
    r"\bas an? (?:ai\b|artificial intelligence|(?:large )?language model|assistant\b)"
    r"|\bi(?:'m| am) (?:just |only |actually )?an? (?:ai\b|artificial intelligence|"
    r"(?:large )?language model|virtual assistant|chatbot)"
    r"|^(?:(?:i(?:'m| am) )?(?:so |very |really )?(?:sorry|afraid)|i apologi[sz]e|apologies)?"
    r"[,.]? ?(?:but )?(?:i )?(?:can't|cannot|can not|won't|(?:i )?(?:'m|am) (?:unable|not able) to)"
    r" (?:be able to )?(?:assist|help (?:you )?with|comply|fulfill?|generate|provide"
    r"|continue (?:this|with)|engage in|create|role-?play|discuss|participate|respond to|produce"
    r"|write)"
    r"|\b(?:als|ich bin (?:nur )?ein) (?:ki\b|ki-|künstliche intelligenz|sprachmodell)"
    r"|^(?:es )?tut mir leid,? (?:aber )?(?:dabei|damit|das|ich) ?(?:kann ich)?[^.]{0,12}"
    r"(?:nicht helfen|nicht beantworten|nicht erstellen)"
    r"|\ben tant qu(?:'ia\b|e modèle de langage|'intelligence artificielle|'assistant)"
    r"|^(?:je suis )?désolée?,? (?:mais )?je ne (?:peux|suis) pas (?:vous aider|t'aider|répondre|"
    r"générer|en mesure)"
    r"|\bcomo (?:una? )?(?:ia\b|inteligencia artificial|modelo de lenguaje|modelo de linguagem)"
    r"|^lo siento,? (?:pero )?no puedo (?:ayudar|responder|generar|continuar|cumplir)"
)
_TRIGGERS = (
    "as an a",
    "as a l",
    "as an as",
    "i'm sorry",
    "i am sorry",
    "sorry",
    "i apolog",
    "apologies",
    "i'm afraid",
    "i am afraid",
    "i can't",
    "i cannot",
    "i can not",
    "i won't",
    "i'm unable",
    "i am unable",
    "i'm not able",
    "i am not able",
    "i'm just a",
    "i'm a",
    "i am a",
    "i'm only a",
    "i am just a",
    "i'm actually a",
    "als ki",
    "als kü",
    "als sprachmodell",
    "ich bin ",
    "es tut mir leid",
    "tut mir leid",
    "en tant qu",
    "je suis désolé",
    "désolé",
    "como ",
    "lo siento",
)
_DECIDED_CHARS = 70
"""By then a refusal has said so."""


def _refusal(turn: Turn) -> Checker:
    def check(text: str, whole: bool) -> Verdict:
        said = plain(text)
        if not any(said.startswith(one) or one.startswith(said) for one in _TRIGGERS):
            return OK
        if _REFUSALS.search(said):
            return Objection("a refusal instead of a reply")
        return OK if whole or len(said) >= _DECIDED_CHARS else WAIT

    return check


_MARKUP = re.compile(
    r"^(?:<\|?\w|\[/?inst\]|###|system ?:|user ?:|assistant ?:|\{\{|<</?sys>>|instructions? ?:)"
)
_LEAK_CHARS = 40
"""A line of the prompt that is repeated this far is no accident."""
_LEAST_LINE = 24


def _leak(turn: Turn) -> Checker:
    lines: Sequence[str] | None = None

    def check(text: str, whole: bool) -> Verdict:
        nonlocal lines
        raw = text.lstrip().casefold()
        if _MARKUP.match(raw):
            return Objection("the prompt's markup instead of a reply")
        said = plain(text)
        if lines is None:
            lines = _instructions(turn)
        found = [line for line in lines if line.startswith(said) or said.startswith(line)]
        if not found:
            return OK
        if len(said) >= _LEAK_CHARS or any(said.startswith(line) for line in found):
            return Objection("the prompt instead of a reply")
        return OK if whole else WAIT

    return check


def _instructions(turn: Turn) -> list[str]:
    """Return the lines of the system prompt that are instructions, not examples of speech."""
    if turn.prompt is None:
        return []
    lines = []
    short: list[str] = []
    for section in turn.prompt.sections:
        if section.role == "system":
            for line in map(str.strip, section.text.splitlines()):
                # What is quoted or listed may well be what the character says.
                if not line or line[0] in "\"'“„«‘*->":
                    continue
                if len(line) < _LEAST_LINE:
                    # A character may say as much of its own accord, but not go on like the prompt.
                    short.append(line)
                    continue
                lines.append(plain(line))
                if short:
                    lines.append(plain(" ".join((*short, line))))
                    short.clear()
    return lines


_SCRIPTS = {
    **dict.fromkeys(("ru", "uk", "bg", "be", "mk", "kk", "ky", "mn"), ("CYRILLIC",)),
    "sr": ("CYRILLIC", "LATIN"),
    "el": ("GREEK",),
    "he": ("HEBREW",),
    **dict.fromkeys(("ar", "fa", "ur"), ("ARABIC",)),
    **dict.fromkeys(("hi", "mr", "ne"), ("DEVANAGARI",)),
    "th": ("THAI",),
    "zh": ("CJK",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA", "FULLWIDTH"),
    "ko": ("HANGUL", "CJK"),
    "ka": ("GEORGIAN",),
    "hy": ("ARMENIAN",),
}
_LETTERS = 3
"""Letters of another script that are more than a name or an exclamation."""
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
_LEAST_WORDS = 5
"""Words of another language before it is called one; a single sentence of fewer tells nothing."""

_ENOUGH_WORDS = 30
"""After so many words without a sign of another language it is not looked for any more."""


def _language(turn: Turn) -> Checker | None:
    lang = normal_lang(turn.lang).partition("-")[0]
    if lang == "und":
        # Nobody named one: the client's own prompt does, in words.
        return None
    wanted = _SCRIPTS.get(lang, ("LATIN",))
    own = _WORDS.get(lang)

    def check(text: str, whole: bool) -> Verdict:
        letters = [char for char in text if char.isalpha()][:40]
        if len(letters) < _LETTERS:
            return WAIT if not whole and letters and not _is_in(letters[0], wanted) else GO
        strange = sum(not _is_in(char, wanted) for char in letters)
        if strange * 2 > len(letters):
            return Objection(f"not in the language {turn.lang}")
        if own is None:
            return OK
        words = re.findall(r"[^\W\d_]+", text.casefold())
        if len(words) < _LEAST_WORDS:
            return GO
        if sum(word in own for word in words):
            return OK
        for other, common in _WORDS.items():
            # Three different ones: two languages share many a little word.
            if other != lang and len(common.intersection(words)) >= 3:
                return Objection(f"in the language {other}, not {turn.lang}")
        return OK if len(words) >= _ENOUGH_WORDS else GO

    return check


def _is_in(char: str, scripts: Sequence[str]) -> bool:
    return unicodedata.name(char, "").startswith(tuple(scripts)) or not char.isalpha()


_LEAST_REPEAT = 20
"""Shorter lines may be said twice: "Yes." is an answer."""
_REPEAT_CHARS = 60
_HEARD = 2
"""Earlier replies that must not be said again."""


def _repeat(turn: Turn) -> Checker | None:
    heard = [plain(one.reply) for one in turn.history[-_HEARD:]]
    heard = [one for one in heard if len(one) >= _LEAST_REPEAT]
    if not heard:
        return None

    def check(text: str, whole: bool) -> Verdict:
        said = plain(text)
        if whole:
            return Objection("a line this player just heard") if said in heard else OK
        if not any(one.startswith(said) for one in heard):
            return OK
        if len(said) >= _REPEAT_CHARS:
            return Objection("a line this player just heard")
        return WAIT

    return check


_MAKERS: dict[str, Callable[[Turn], Checker | None]] = {
    "empty": _empty,
    "refusal": _refusal,
    "leak": _leak,
    "language": _language,
    "repeat": _repeat,
}
