"""Built-in behaviour, made of the same hooks that plugins use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from palaver.chain.opening_checks import opening_checker
from palaver.hookspecs import hookimpl
from palaver.turn.intent import classify
from palaver.turn.tags import TagFilter

if TYPE_CHECKING:
    from palaver.chain.checks import Checker
    from palaver.turn.events import Filter
    from palaver.turn.model import Turn

__all__ = ["palaver_check", "palaver_filter", "palaver_turn_received"]


@hookimpl(tryfirst=True)
def palaver_turn_received(turn: Turn) -> None:
    """Set the intent; a cue has none of its own, so it counts as `other`."""
    if not turn.intent:
        turn.intent = "other" if turn.cue is not None else classify(turn.text)


@hookimpl(tryfirst=True)
def palaver_filter(turn: Turn) -> Filter:
    """Turn inline tags into events before anything else sees the text."""
    return TagFilter(turn, turn.actions, turn.persona.front.emotions)


@hookimpl(tryfirst=True)
def palaver_check(turn: Turn) -> Checker | None:
    """Look for what no character would say, as far as the turn's tier wants that."""
    return opening_checker(turn)
