"""The lines of one persona, put in order for quick choosing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from palaver.turn.language import normal_lang
from palaver.turn.tags import without_tags
from palaver.world.lines import PURPOSES, Line

__all__ = ["LineIndex", "Pool"]

STAND_INS: dict[str, tuple[str, ...]] = {
    "threat": ("insult",),
    "insult": ("threat",),
    "quest": ("question", "trade"),
    "trade": ("question", "quest"),
    "farewell": ("thanks",),
    "thanks": ("farewell",),
    "greeting": ("question",),
    "silence": ("greeting",),
    "question": ("quest", "trade"),
}
"""Which lines answer an intent, the fitting ones first, where there is none for it nor for any.

Never what answers a threat or an insult, unless one was made: a friendly player must not be
threatened for want of a better line.
"""
ANYTHING = ("question", "quest", "trade", "greeting")
"""The same for an utterance of no known intent."""

MAX_LANGS = 64


class Pool(NamedTuple):
    """The lines that may answer, in one language.

    Attributes:
        fitting: Those that are for this intent.
        any: Those that answer anything; they come in when all that fit were used.
    """

    fitting: Sequence[Line]
    any: Sequence[Line]


class LineIndex:
    """An index of a sequence of lines, which never changes.

    Attributes:
        lines: The sequence.
        by_text: Id of each line by its text as it is shown.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.by_text = {without_tags(line.text): line.id for line in lines}
        self._by: dict[tuple[str, str], list[Line]] = {}
        for line in lines:
            self._by.setdefault((normal_lang(line.lang), line.intent), []).append(line)
        self._langs = sorted({lang for lang, _ in self._by})
        self._pools: dict[tuple[str, str, str], tuple[Pool, ...]] = {}

    def pools(self, lang: str, persona_lang: str, intent: str) -> tuple[Pool, ...]:
        """Return where to look, one pool after another until one has a line that may be said.

        Args:
            lang: Language of the reply.
            persona_lang: Language of the persona, for want of the other; after it comes English.
            intent: What is answered.
        """
        key = (lang, persona_lang, intent)
        found = self._pools.get(key)
        if found is None:
            # The tags come from players; a few for each intent is what really occurs.
            if len(self._pools) >= MAX_LANGS * 10:
                self._pools.clear()
            found = self._pools[key] = tuple(self._make_pools(lang, persona_lang, intent))
        return found

    def _make_pools(self, lang: str, persona_lang: str, intent: str) -> list[Pool]:
        pools: list[Pool] = []
        for wish in dict.fromkeys((lang, persona_lang, "en")):
            family = self._family(wish)
            if intent in PURPOSES:
                # These answer nothing: no other line can stand in for them.
                if fitting := self._first(family, intent):
                    pools.append(Pool(fitting, ()))
                continue
            fitting = self._first(family, intent)
            anything = self._first(family, "any")
            if fitting or anything:
                pools.append(Pool(fitting, anything))
            others = (self._first(family, other) for other in STAND_INS.get(intent, ANYTHING))
            pools.extend(Pool(lines, ()) for lines in others if lines)
        return pools

    def _family(self, wish: str) -> list[str]:
        """Return the tags that are there of one language: the exact one, wider ones, sisters."""
        tag = normal_lang(wish)
        family: list[str] = []
        while tag:
            if tag in self._langs:
                family.append(tag)
            tag = tag.rpartition("-")[0]
        language = normal_lang(wish).partition("-")[0]
        sisters = (lang for lang in self._langs if lang.partition("-")[0] == language)
        return list(dict.fromkeys((*family, *sisters)))

    def _first(self, family: list[str], intent: str) -> Sequence[Line]:
        """Return the lines of an intent in the first of the languages that has any."""
        return next(
            (lines for lang in family if (lines := self._by.get((lang, intent)))),
            (),
        )
