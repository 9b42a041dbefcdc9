"""Words for people: the nearest right name, and lists that read well."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "listed", "nearest"]


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that looks most like the name, or None if none does."""
    lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else None


def did_you_mean(name: str, choices: Iterable[str], *, otherwise: str = "there is") -> str:
    """Return `; did you mean ...?`, or what there is where nothing looks alike.

    Args:
        name: What was written.
        choices: What could have been written.
        otherwise: What introduces the list of choices.
    """
    names = sorted(set(choices))
    best = nearest(name, names)
    if best is not None:
        return f"; did you mean `{best}`?"
    if not names:
        return ""
    return f"; {otherwise} {listed(names)}"


def listed(names: Iterable[str], *, limit: int = 12) -> str:
    """Return the names in backticks, with commas; the rest beyond the limit as a number."""
    names = list(names)
    shown = ", ".join(f"`{name}`" for name in names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
