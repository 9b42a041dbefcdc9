"""What is looked for, compiled once for each language, and what was found."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import and_
from typing import TypeAlias

from palaver_moderation.config import ModerationSettings
from palaver_moderation.fold import fold, strip, traced
from palaver_moderation.heads import LENGTH, Heads, longest_run, squeezed, tokens_of
from palaver_moderation.lists import Words
from palaver_moderation.patterns import (
    INJECTION,
    INJECTION_NEED,
    MINORS,
    MINORS_NEED,
    personal,
)
from palaver_moderation.trie import END, START, words_pattern

__all__ = ["Hit", "RuleBook", "Rules"]

_SPACED = re.compile(
    r"(?<![^\W_])(?:(?:[^\W_]|[@$])[\W_]{1,3}){2,}(?:[^\W_]|[@$])(?![^\W_])"
)  # fmt: skip
"""Letters that stand alone: `b a d`, `b.a.d`."""
LEAST_HIDDEN = 4
"""Shortest word that is looked for among letters that stand alone; a shorter one has to be all."""

LEAST_KEPT = 4
"""Letters that are kept at both ends of a long run of the same."""

_Found: TypeAlias = tuple[bool, str, int, int, str]
"""Whether it is in the stripped text, else in the folded one; category, begin, end, how."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found.

    Attributes:
        category: What it is.
        start: Where it begins.
        end: Where it ends.
        text: What stands there.
        how: By what it was found: `word`, `spaced`, `pattern`, `personal`, or `service`.
    """

    category: str
    start: int
    end: int
    text: str
    how: str


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of one category.

    Attributes:
        category: The category.
        whole: Finds them as words of their own.
        hidden: Finds them among letters that stand alone, or None where all are too short.
    """

    category: str
    whole: re.Pattern[str]
    hidden: re.Pattern[str] | None

    @classmethod
    def of(cls, category: str, words: set[str]) -> _Words:
        """Compile words, folded and stripped."""
        long = {word for word in words if " " not in word and len(word) >= LEAST_HIDDEN}
        return cls(
            category,
            re.compile(f"{START}(?:{words_pattern(words)}){END}"),
            re.compile(words_pattern(long)) if long else None,
        )


class Rules:
    """Everything that is looked for in one language.

    Args:
        settings: The settings.
        words: The lists.
        lang: The language, such as `en`.
    """

    def __init__(self, settings: ModerationSettings, words: Words, lang: str) -> None:
        by_category: dict[str, set[str]] = defaultdict(set)
        for one in words.lists:
            if one.lang is None or one.lang == lang or one.lang in settings.langs:
                for word in one.words:
                    by_category[one.category].add(strip(word))
        # Patterns may be written with accents, words are always looked for without.
        self._excepted = words.excepted | {strip(word) for word in words.excepted}
        # Each by itself: no word of one category may hide one of another that begins within it.
        self._words = [_Words.of(name, found) for name, found in by_category.items() if found]
        every = [word for found in by_category.values() for word in found]
        self._heads = Heads(every)
        self._kept = max(LEAST_KEPT, longest_run(every))
        self._patterns: list[tuple[str, re.Pattern[str], Heads | None]] = [
            (category, re.compile(pattern), None)
            for category, patterns in settings.patterns.items()
            for pattern in patterns
        ]
        if settings.lists:
            self._patterns += [
                ("minors", re.compile(MINORS), Heads(MINORS_NEED)),
                ("injection", re.compile(INJECTION), Heads(INJECTION_NEED)),
            ]
        self._personal = settings.lists

    def find(self, text: str) -> Sequence[Hit]:
        """Return what is found in a text, in the order of places."""
        folded = fold(text)
        plain = strip(folded)
        if next(self._all(folded, plain), None) is None:
            return ()
        if text.isascii():
            places: Sequence[int] = range(len(text) + 1)
            return _merged(_hit(text, places, one) for one in self._all(folded, plain))
        # Only now it matters where everything stands.
        folded, folded_places = traced(text, stripped=False)
        plain, plain_places = traced(text, stripped=True)
        return _merged(
            _hit(text, plain_places if one[0] else folded_places, one)
            for one in self._all(folded, plain)
        )

    def _all(self, folded: str, plain: str) -> Iterator[_Found]:
        """Find everything.

        Args:
            folded: The text, folded.
            plain: The same, stripped. A word that is in the one is in the other.
        """
        tokens = tokens_of(plain)
        firsts = {token[:LENGTH] for token in tokens}
        if self._heads.may_hold(firsts):
            short, places = squeezed(plain, self._kept)
            for words in self._words:
                for match in words.whole.finditer(short):
                    if self._is_meant(match[0]):
                        start, end = places[match.start()], places[match.end() - 1] + 1
                        yield True, words.category, start, end, "word"
        if _stand_alone(tokens):
            for spaced in _SPACED.finditer(plain):
                yield from self._in_letters(plain, *spaced.span())
        for category, pattern, need in self._patterns:
            if need is not None and not need.may_hold(firsts):
                continue
            for in_plain in (True,) if plain == folded else (True, False):
                for match in pattern.finditer(plain if in_plain else folded):
                    if match[0] and match[0] not in self._excepted:
                        yield in_plain, category, *match.span(), "pattern"
        if self._personal:
            for start, end, _ in personal(folded):
                if folded[start:end] not in self._excepted:
                    yield False, "personal", start, end, "personal"

    def _in_letters(self, plain: str, start: int, end: int) -> Iterator[_Found]:
        """Find words that are written letter by letter."""
        places = [at for at in range(start, end) if plain[at].isalnum() or plain[at] in "@$"]
        joined, kept = squeezed("".join(plain[at] for at in places), self._kept)
        for words in self._words:
            match = words.whole.fullmatch(joined)
            matches = [match] if match is not None else []
            if not matches and words.hidden is not None:
                matches = list(words.hidden.finditer(joined))
            for match in matches:
                if self._is_meant(match[0]):
                    first, last = places[kept[match.start()]], places[kept[match.end() - 1]]
                    yield True, words.category, first, last + 1, "spaced"

    def _is_meant(self, found: str) -> bool:
        """Return whether what looks like a word is one: `455` is a number."""
        letters = sum(map(str.isalpha, found))
        return letters * 2 >= len(found.replace(" ", "")) and found not in self._excepted


class RuleBook:
    """The rules of all languages, each compiled when it is first asked for.

    Args:
        settings: The settings.
        words: The lists.
    """

    def __init__(self, settings: ModerationSettings, words: Words) -> None:
        self._settings, self.words = settings, words
        self._langs = {one.lang for one in words.lists if one.lang is not None}
        self._rules: dict[str, Rules] = {}

    def of(self, lang: str) -> Rules:
        """Return the rules of a language.

        Args:
            lang: A BCP 47 tag.
        """
        name = lang.replace("_", "-").partition("-")[0].lower()
        if name not in self._langs:
            name = ""  # the lists of all languages
        rules = self._rules.get(name)
        if rules is None:
            rules = self._rules[name] = Rules(self._settings, self.words, name)
        return rules


def _stand_alone(tokens: Sequence[str]) -> bool:
    """Return whether there are letters that stand alone, next to each other."""
    alone = [len(token) == 1 for token in tokens]
    return alone.count(True) > 2 and any(map(and_, alone, alone[1:]))


def _hit(text: str, places: Sequence[int], found: _Found) -> Hit:
    """Return what was found, with its place in the text as it was written."""
    _, category, start, end, how = found
    begin, close = places[start], places[end]
    if close == places[end - 1]:  # the rest of a letter that became two
        close = places[bisect_right(places, close, end)]
    return Hit(category, begin, close, text[begin:close], how)


def _merged(hits: Iterable[Hit]) -> Sequence[Hit]:
    """Return hits in order, each place and category once."""
    found: list[Hit] = []
    ends: dict[str, int] = {}
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        # All before it begin no later; one of them holds it if it ends no sooner.
        if hit.end > ends.get(hit.category, -1):
            ends[hit.category] = hit.end
            found.append(hit)
    return found
