"""What the checks of an opening compare: a reply in plain words, and the lines of the prompt."""

# ruff: noqa: RUF001  # quotation marks of many languages

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["beginnings", "begun", "instructions", "plain"]

_SPACE = re.compile(r"\s+")
_EDGES = "\"'“”„«»‘’*_()[]…. -–—"


# Remembered: several checks compare the same opening, and the same earlier replies turn after turn.
@lru_cache(maxsize=512)
def plain(text: str) -> str:
    """Return a text for comparing: lower case, single spaces, plain apostrophes, no quotes."""
    text = text.replace("’", "'").replace("ʼ", "'")
    return _SPACE.sub(" ", text.casefold()).strip(_EDGES)


def begun(text: str) -> str:
    """Return it likewise, but with what ends it: whether a sentence is over may count."""
    text = text.replace("’", "'").replace("ʼ", "'")
    return _SPACE.sub(" ", text.casefold()).lstrip(_EDGES)


def beginnings(texts: Iterable[str]) -> frozenset[str]:
    """Return everything that one of these could still become, the empty text too."""
    return frozenset(text[:end] for text in texts for end in range(len(text)))


_LEAST_LINE = 24
HEAD_CHARS = 40
"""A line of the prompt that is repeated this far is no accident."""


def instructions(turn: Turn) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines of the system prompt that are instructions, not examples of speech.

    Args:
        turn: The turn.

    Returns:
        The lines, in plain words, and how they begin.
    """
    if turn.prompt is None:
        return (), ()
    sections = turn.prompt.sections
    return _lines(tuple(section.text for section in sections if section.role == "system"))


@lru_cache(maxsize=128)
def _lines(texts: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    # Remembered: a persona's part of the prompt is the same in turn after turn.
    lines = []
    short: list[str] = []
    for line in (line.strip() for text in texts for line in text.splitlines()):
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
    # A ruled line has no words, and every reply would begin like it.
    kept = tuple(line for line in lines if line)
    return kept, tuple(dict.fromkeys(line[:HEAD_CHARS] for line in kept))
