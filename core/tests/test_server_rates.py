"""How often something may happen."""

from __future__ import annotations

import time

import pytest

from palaver.server.rates import TokenBucket


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still; its first item is the time."""
    at = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


def test_rate(now: list[float]) -> None:
    """Twice the rate at once, and then so many in a second."""
    bucket = TokenBucket(5)
    assert [bucket.take() for _ in range(11)] == [True] * 10 + [False]
    now[0] += 1
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]


def test_what_happens_anyway_counts(now: list[float]) -> None:
    """What was not asked for is made up for by what comes after it."""
    bucket = TokenBucket(5)
    for _ in range(13):
        bucket.charge()
    now[0] += 0.5
    assert not bucket.take()
    now[0] += 0.5
    assert [bucket.take() for _ in range(3)] == [True, True, False]
