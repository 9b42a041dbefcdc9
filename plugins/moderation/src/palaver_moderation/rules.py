"""What is looked for, compiled once for each language, and what was found."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import and_

from palaver_moderation.config import ModerationSettings
from palaver_moderation.fold import fold, strip, traced
from palaver_moderation.heads import LENGTH, Heads, tokens_of
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
                    by_category[one.category] |= {word, strip(word)}
        self._excepted = words.excepted | {strip(word) for word in words.excepted}
        self._categories = list(by_category)
        self._words = _compiled(list(by_category.values()), START, END)
        self._hidden = _compiled(
            [
                {word for word in found if " " not in word and len(word) >= LEAST_HIDDEN}
                for found in by_category.values()
            ]
        )
        self._heads = Heads(word for found in by_category.values() for word in found)
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
        if not self._any(folded) and (plain == folded or not self._any(plain)):
            return ()
        if len(folded) == len(text) and text.isascii():
            return self._sorted(text, self._all(folded), range(len(text) + 1))
        hits: list[Hit] = []
        for stripped in (False, True):
            seen, places = traced(text, stripped=stripped)
            hits.extend(self._sorted(text, self._all(seen), places))
        return _merged(hits)

    def _any(self, folded: str) -> bool:
        return next(self._all(folded), None) is not None

    def _all(self, folded: str) -> Iterator[tuple[str, int, int, str]]:
        tokens = tokens_of(folded)
        firsts = {token[:LENGTH] for token in tokens}
        if self._words is not None and self._heads.may_hold(firsts):
            for match in self._words.finditer(folded):
                if self._is_meant(match[0]):
                    yield self._category(match), *match.span(), "word"
        if _stand_alone(tokens):
            for spaced in _SPACED.finditer(folded):
                if category := self._in_letters(spaced[0]):
                    yield category, *spaced.span(), "spaced"
        for category, pattern, need in self._patterns:
            if need is not None and not need.may_hold(firsts):
                continue
            for match in pattern.finditer(folded):
                if match[0] and match[0] not in self._excepted:
                    yield category, *match.span(), "pattern"
        if self._personal:
            for start, end, _ in personal(folded):
                if folded[start:end] not in self._excepted:
                    yield "personal", start, end, "personal"

    def _in_letters(self, spaced: str) -> str | None:
        """Return the category of a word that is written letter by letter."""
        joined = "".join(char for char in spaced if char.isalnum() or char in "@$")
        if self._words is not None:
            match = self._words.fullmatch(joined)
            if match is not None and self._is_meant(joined):
                return self._category(match)
        match = self._hidden.search(joined) if self._hidden is not None else None
        return self._category(match) if match is not None and self._is_meant(match[0]) else None

    def _category(self, match: re.Match[str]) -> str:
        return self._categories[int((match.lastgroup or "c0")[1:])]

    def _is_meant(self, found: str) -> bool:
        """Return whether what looks like a word is one: `455` is a number."""
        letters = sum(map(str.isalpha, found))
        return letters * 2 >= len(found.replace(" ", "")) and found not in self._excepted

    def _sorted(
        self, text: str, found: Iterator[tuple[str, int, int, str]], places: Sequence[int]
    ) -> Sequence[Hit]:
        hits = []
        for category, start, end, how in found:
            begin, close = places[start], places[end]
            if close == places[end - 1]:  # the rest of a letter that became two
                close = next(place for place in places[end:] if place > close)
            hits.append(Hit(category, begin, close, text[begin:close], how))
        return sorted(hits, key=lambda hit: (hit.start, hit.end))


class RuleBook:
    """The rules of all languages, each compiled when it is first spoken.

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


def _compiled(groups: Sequence[set[str]], start: str = "", end: str = "") -> re.Pattern[str] | None:
    parts = [f"(?P<c{index}>{words_pattern(words)})" for index, words in enumerate(groups) if words]
    return re.compile(f"{start}(?:{'|'.join(parts)}){end}") if parts else None


def _merged(hits: Sequence[Hit]) -> Sequence[Hit]:
    """Return hits in order, each place and category once."""
    found: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if not any(
            one.category == hit.category and one.start <= hit.start and hit.end <= one.end
            for one in found
        ):
            found.append(hit)
    return found
