"""Reasons of a trail become one of a few words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver_metrics import reasons
from palaver_metrics.reasons import CATEGORIES, categorize


@pytest.mark.parametrize(
    ("reason", "category"),
    [
        (None, "none"),
        ("filler", "filler"),
        ("shared with another turn that asked the same", "shared"),
        ("fast was faster", "lost_race"),
        ("left alone for another 0.4 s: refuses the key (401)", "breaker"),
        ("another turn tries it just now (failed (500))", "breaker"),
        ("the turn was cancelled", "cancelled"),
        ("the ceiling of $5.00 a day leaves no room for it", "budget"),
        ("spending is off", "budget"),
        ("adapter vampire@1 not loaded yet", "adapter"),
        ("a refusal instead of a reply", "refusal"),
        ("the prompt's markup instead of a reply", "leak"),
        ("the prompt instead of a reply", "leak"),
        ("not in the language de", "language"),
        ("a line this player just heard", "repeat"),
        ("says nothing", "empty"),
        ("answered nothing", "empty"),
        ("no first token within 350 ms", "timeout"),
        ("nothing to show within 350 ms", "timeout"),
        ("connect took longer than 500 ms", "timeout"),
        ("silent for 2000 ms", "stall"),
        ("256 requests wait already", "queue"),
        ("no time left for it", "no_time"),
        (
            "refuses the key (401: bad key); check the variable named by `api_key_env`",
            "unauthorized",
        ),
        ("is overloaded (429)", "overloaded"),
        ("refuses the request (400: bad field)", "bad_request"),
        ("cannot connect to http://127.0.0.1:8000 (Connection refused)", "unavailable"),
        ("http://127.0.0.1:8000 went away before it answered", "unavailable"),
        ("the connection broke inside the stream", "stream_broken"),
        ("failed (500)", "bad_response"),
        ("a bug in the backend: KeyError", "bug"),
        ("every backend of the chain failed", "chain_failed"),
        ("refused: it is noon", "turn_refused"),
        ("Something that nobody wrote a rule for", "other"),
    ],
)
def test_what_the_chain_says(reason: str | None, category: str) -> None:
    """What the core and its backends write into trails has a category that fits."""
    assert categorize(reason) == category


@given(st.text())
def test_anything_has_a_category(reason: str) -> None:
    """Whatever a plugin writes, the labels stay a fixed list."""
    assert categorize(reason) in CATEGORIES


def test_what_is_known_is_bounded() -> None:
    """Reasons with a number in each do not fill the memory."""
    for number in range(5_000):
        categorize(f"the server said {number}")
    assert len(reasons._known) <= reasons.MAX_KNOWN
    assert categorize("x" * 1_000_000) == "other"
