"""What a check of a reply says; see the hook `palaver_check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["GO", "OK", "WAIT", "Checker", "Objection", "Pass", "Verdict"]


class Pass(Enum):
    """What a checker says where it has nothing against a text."""

    OK = "ok"
    """The reply is fine, whatever follows: it is not asked again."""
    GO = "go"
    """Fine so far; it wants to be asked again at the end of each sentence."""
    WAIT = "wait"
    """It cannot tell yet: the opening should be held back."""


OK: Final = Pass.OK
GO: Final = Pass.GO
WAIT: Final = Pass.WAIT


@dataclass(frozen=True, slots=True)
class Objection:
    """A reply that must not be shown.

    Attributes:
        reason: Why, short, for trail and log; the player never sees it.
    """

    reason: str


Verdict = Pass | Objection
Checker = Callable[[str, bool], Verdict]
"""Takes everything a backend wants to show so far, and whether that is all; returns a verdict."""
