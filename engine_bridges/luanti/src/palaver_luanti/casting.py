"""Who is meant: from what a mod writes to a persona of the world."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["is_instruction", "persona_called", "persona_in"]

_INSTRUCTION = re.compile(r"\s*(?:you are|you're|act as|pretend|roleplay|role-play)\b", re.I)


def is_instruction(prompt: str) -> bool:
    """Say whether a prompt tells a model what to be, rather than being what a player says."""
    return _INSTRUCTION.match(prompt) is not None


def persona_called(name: str, personas: Mapping[str, str]) -> str | None:
    """Return the persona of an id or a displayed name, in any case, or None."""
    if name in personas:
        return name
    wanted = _plain(name)
    return next((id_ for id_, called in _names(personas) if called == wanted), None)


def persona_in(prompt: str, personas: Mapping[str, str]) -> str | None:
    """Return the persona that a prompt names first, or None.

    Of two that begin at the same place it is the longer one: `Elder Willow`, not `Elder`.
    """
    text = _plain(prompt)
    best: tuple[int, int, str] | None = None
    for id_, name in _names(personas):
        found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
        if found is not None:
            rank = (found.start(), -len(name), id_)
            if best is None or rank < best:
                best = rank
    return best[2] if best else None


def _names(personas: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for id_, shown in personas.items():
        name = _plain(shown)
        for called in dict.fromkeys((name, name.removeprefix("the "), _plain(id_))):
            if called:
                yield id_, called


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").split())
