"""The core's own checks of an opening: what no character would say.

Each looks at the beginning of a reply and is done as early as it can: what is held back is time
that the player waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from palaver.chain.checks import GO, OK, WAIT, Checker, Objection, Verdict
from palaver.chain.opening_language import language
from palaver.chain.opening_refusals import refusal
from palaver.chain.opening_words import beginnings, instructions, plain

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["opening_checker"]


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


_TAGS = ("s", "system", "user", "assistant", "prompt", "instructions", "rules", "persona", "think")
_MARKUP = (
    "<|",
    # Not every bracket: some characters <sigh>.
    *(f"<{slash}{tag}>" for tag in _TAGS for slash in ("", "/")),
    *("[inst]", "[/inst]", "<<sys>>", "<</sys>>", "###", "{{"),
    *(f"{name}{space}:" for name in ("system", "user", "assistant") for space in ("", " ")),
    *("instruction:", "instructions:"),
)
"""How the markup of prompts begins."""
_ALMOST_MARKUP = beginnings(_MARKUP)


def _leak(turn: Turn) -> Checker:
    heads: tuple[str, ...] | None = None

    def check(text: str, whole: bool) -> Verdict:
        nonlocal heads
        raw = text.lstrip().casefold()
        if raw.startswith(_MARKUP):
            return Objection("the prompt's markup instead of a reply")
        said = plain(text)
        if heads is None:
            heads = instructions(turn)[1]
        if said.startswith(heads):
            return Objection("the prompt instead of a reply")
        if whole:
            return OK
        if raw in _ALMOST_MARKUP or any(head.startswith(said) for head in heads):
            return WAIT
        return OK

    return check


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
    long = tuple(one[:_REPEAT_CHARS] for one in heard if len(one) >= _REPEAT_CHARS)

    def check(text: str, whole: bool) -> Verdict:
        said = plain(text)
        if (whole and said in heard) or said.startswith(long):
            return Objection("a line this player just heard")
        return WAIT if not whole and any(one.startswith(said) for one in heard) else OK

    return check


_MAKERS: dict[str, Callable[[Turn], Checker | None]] = {
    "empty": _empty,
    "refusal": refusal,
    "leak": _leak,
    "language": language,
    "repeat": _repeat,
}
