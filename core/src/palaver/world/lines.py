"""Authored lines: what an NPC says when no model answers.

A CSV in the world's `lines` folder with the columns `id,text,intent,mood,when,lang`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["COLUMNS", "INTENTS", "Line"]

COLUMNS = ("id", "text", "intent", "mood", "when", "lang")
INTENTS = (
    "greeting",
    "threat",
    "trade",
    "question",
    "quest",
    "farewell",
    "insult",
    "thanks",
    "silence",
)
"""What a player's utterance can be; a line may also say `any`, a turn also `other`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One authored line.

    Attributes:
        id: Unique in its file.
        text: What is said.
        intent: The utterance it answers, one of `INTENTS`, or `any`.
        mood: The NPC's mood it fits, or empty for every mood.
        when: Condition on facts that must hold, or None.
        lang: Its language, a BCP 47 tag.
        number: Line in the file, from 1.
    """

    id: str
    text: str
    intent: str
    mood: str
    when: Callable[[Mapping[str, Any]], bool] | None
    lang: str
    number: int
