"""Reasons in a trail are text for people; metrics need a few fixed words instead."""

from __future__ import annotations

import re

__all__ = ["CATEGORIES", "categorize"]

# In this order: what stands first is told from what a longer sentence quotes.
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("turn_refused", r"^refused: "),
    ("filler", r"^filler$"),
    ("shared", r"\bshared with another turn\b"),
    ("lost_race", r"\bwas faster\b"),
    ("breaker", r"\bbreaker\b|\bleft alone\b|\banother turn tries\b"),
    ("cancelled", r"\bcancelled\b"),
    ("budget", r"\bceiling\b|\bspending\b|\bits price\b"),
    ("adapter", r"\badapter\b"),
    ("refusal", r"\ba refusal\b"),
    ("leak", r"\bthe prompt(?:'s markup)? instead\b"),
    ("language", r"\bthe language\b"),
    ("repeat", r"\bjust heard\b|\brepeats?\b"),
    ("moderation", r"\bmoderat|\bwithheld\b|\bcontent.?filter"),
    (
        "timeout",
        (
            r"\btook longer\b|\btime[d-]? ?out\b|\bin time\b|\bwithin \d+ ms\b"
            r"|\bgave its own request up\b"
        ),
    ),
    ("empty", r"\bnothing\b|\bempty\b"),
    ("stall", r"\bstall|\bsilent for\b"),
    ("queue", r"\bqueue|\bno room\b|\bwaits? already\b|\bmore urgent\b"),
    ("no_time", r"\bno time\b|\btime left\b"),
    ("too_long", r"\btoo long\b|\bcontext (?:window|length)\b|\bdoes not fit\b"),
    ("unauthorized", r"\bunauthori[sz]ed\b|\bkey\b|\b40[13]\b"),
    ("overloaded", r"\boverload|\brate.?limit|\btoo many\b|\b(?:429|503|529)\b|\bbusy\b"),
    ("not_found", r"\b404\b|\bno such\b|\bnot found\b|\bdoes not exist\b"),
    ("stream_broken", r"\bstream\b|\bended without\b|\bbroke|\bclosed\b"),
    ("bad_request", r"\brefuses the request\b"),
    ("unavailable", r"\bunavailable\b|\brefused\b|\bconnect|\breach|\bdown\b|\breset\b|\baway\b"),
    ("chain_failed", r"\bevery backend\b"),
    ("bug", r"\bbug\b"),
    ("bad_response", r"\banswer|\b5\d\d\b|\bgarbage\b|\bredirect|\bJSON\b|\berror\b"),
)
_FIND = [(name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _PATTERNS]

CATEGORIES = frozenset({"none", "other", *(name for name, _ in _PATTERNS)})
"""All that `categorize` ever returns."""
MAX_KNOWN = 1_024
MAX_CHARS = 300

_known: dict[str, str] = {}


def categorize(reason: str | None) -> str:
    """Return the category of a reason, out of `CATEGORIES`.

    Args:
        reason: What the trail says, or None.
    """
    if reason is None:
        return "none"
    found = _known.get(reason)
    if found is None:
        head = reason[:MAX_CHARS]
        found = next((name for name, pattern in _FIND if pattern.search(head)), "other")
        if len(_known) >= MAX_KNOWN:
            # Reasons with numbers in them could fill any table; the common ones are back at once.
            _known.clear()
        _known[reason] = found
    return found
