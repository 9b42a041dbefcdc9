"""What an utterance is, told by words and phrases: quick, explainable, and right most of the time.

It chooses authored lines and what hooks see as `turn.intent`; a model reads the utterance itself.
A plugin that knows better sets `turn.intent` in `palaver_turn_received`.

How it decides: the utterance is cut into words and clauses. Each word or phrase of the table that
occurs (the longest one at its place, see `intent_words`) is evidence of its weight for its intent.
The strongest piece of evidence wins, not the sum, so that one threat in a friendly speech is a
threat; between equals the order of `ORDER` decides. What stands after a negation in its clause is
neither threat nor insult. Words drawn out ("hellooo") and slips of the longer words of the table (a
letter left out or doubled, two swapped) are recognised.

Of English utterances that the table had never been tuned on, four of five were told right (two sets
of 88 and 70: 81 % and 83 %); what is told wrong mostly is a threat or insult without one of its
words, or trade in the form of a question.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from palaver.turn.intent_words import NEGATIONS, NO_TYPOS, WORDS

__all__ = ["classify", "vocabulary"]

MAX_CHARS = 300
"""Only the beginning of a speech is looked at; so its cost has a bound."""

ORDER = (
    "threat",
    "insult",
    "quest",
    "trade",
    "farewell",
    "question",
    "thanks",
    "greeting",
    "silence",
)
HOSTILE = ("threat", "insult")

_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|[.;:!?]|#|\bg2g\b")
_NUMBER = re.compile(r"\b\d+")
_PAUSE = frozenset(".;:!?")
_SILENT = re.compile(r"[\s.\u2026*()_\u00b7-]*")
_DRAWN_OUT = re.compile(r"(.)\1{2,}")
_ELISION = re.compile(r"^(?:[cdjlmnst]|qu)'")
"""French: `d'imbecile`."""
_CURLY = str.maketrans({"\u2019": "'", "\u2018": "'", "\u00b4": "'", "`": "'"})

_SHORT = {
    "u": "you",
    "ya": "you",
    "ye": "you",
    "thee": "you",
    "ur": "your",
    "thy": "your",
    "r": "are",
    "im": "i'm",
    "dont": "don't",
    "youre": "you're",
    "whats": "what's",
    "wats": "what's",
    "hows": "how's",
    "wheres": "where's",
    "whos": "who's",
    "thats": "that's",
}
"""Spellings that stand for others of the table."""

_Entry = tuple[tuple[str, ...], bool, str, int]
"""The words after the first, whether it must begin a clause, the intent and the weight."""


def classify(text: str) -> str:
    """Say what an utterance is.

    Args:
        text: What was said, in English, French, German or Spanish; others mostly are `other`.

    Returns:
        One of `greeting`, `threat`, `trade`, `question`, `quest`, `farewell`, `insult`, `thanks`,
        `silence` (nothing, or only dots and spaces) and `other`.
    """
    return _classify(text[:MAX_CHARS])


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Return the words that the table knows: what people say to anybody."""
    words = {*_TABLE, *_SHORT, *NEGATIONS}
    for entries in _TABLE.values():
        for rest, *_ in entries:
            words.update(rest)
    return frozenset(words)


@lru_cache(maxsize=4_096)
def _classify(text: str) -> str:
    """Classify; players say the same few things again and again."""
    if _SILENT.fullmatch(text):
        return "silence"
    if not text.isascii():
        text = _plain(text)
    lowered = _NUMBER.sub("#", text.lower().replace(",", ";"))
    words = [_SHORT.get(word, word) for word in _TOKEN.findall(lowered)]
    best: dict[str, int] = {}
    asked = False
    begin = 0  # of the clause
    negated = -1  # up to this word
    number, count = 0, len(words)
    while number < count:
        word = words[number]
        if word in _PAUSE:
            asked = asked or word == "?"
            begin, negated = number + 1, -1
            number += 1
            continue
        step = 1
        for rest, at_begin, intent, weight in _entries(word):
            size = len(rest) + 1
            if rest and tuple(words[number + 1 : number + size]) != rest:
                continue
            # One word may stand before: "and who", "hey what".
            if at_begin and number > begin + 1:
                continue
            if weight > best.get(intent, 0) and not (number <= negated and intent in HOSTILE):
                best[intent] = weight
            step = size - (rest[-1] in _PAUSE if rest else 0)
            break
        else:
            reach = NEGATIONS.get(word)
            if reach is not None:
                negated = number + reach
        number += step
    if asked:
        # Weak alone ("Hello?"), and one more point for what begins like a question.
        best["question"] = min(best.get("question", 0) + 1, 3)
    if not any(best.values()):
        return "other"
    return max(ORDER, key=lambda intent: best.get(intent, 0))


def _plain(text: str) -> str:
    """Take off accents and curls."""
    text = text.translate(_CURLY).replace("\u00df", "ss")
    return "".join(
        sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign)
    )


@lru_cache(maxsize=4_096)
def _entries(word: str) -> tuple[_Entry, ...]:
    """Return the phrases that may begin with a word, the longest first."""
    found = _TABLE.get(word)
    if found is None and len(word) <= 40:
        short = _DRAWN_OUT.sub(r"\1", word)
        found = _TABLE.get(short) or _TABLE.get(_DRAWN_OUT.sub(r"\1\1", word))
        if found is None and short not in NO_TYPOS:
            found = _TABLE.get(_SLIPS.get(short, "")) or _TABLE.get(_ELISION.sub("", short))
    return tuple(found or ())


def _build() -> tuple[dict[str, list[_Entry]], dict[str, str]]:
    table: dict[str, list[_Entry]] = {}
    intent, weight = "", 0
    for line in WORDS.splitlines():
        if not line.startswith(" "):
            if line and not line.startswith("#"):
                intent, number = line.removesuffix(":").split()
                weight = int(number)
            continue
        for phrase in filter(str.strip, line.split(",")):
            at_begin = "^" in phrase
            words = [_SHORT.get(word, word) for word in phrase.replace("^", " ").split()]
            word, *rest = words
            table.setdefault(word, []).append((tuple(rest), at_begin, intent, weight))
    for entries in table.values():
        entries.sort(key=lambda entry: (-len(entry[0]), entry[1]))
    slips: dict[str, str] = {}
    for word in table:
        if len(word) < 5:
            continue
        for at in range(1, len(word)):
            left_out = word[:at] + word[at + 1 :]
            doubled = word[:at] + word[at - 1] + word[at:]
            swapped = word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
            for slip in (left_out, doubled, swapped):
                if slip not in table and slip not in NO_TYPOS and len(slip) > 3:
                    slips.setdefault(slip, word)
    return table, slips


_TABLE, _SLIPS = _build()
