"""One quality signal: its baseline, when it alarms, and when it is quiet."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.quality.signal import SPANS, Signal

LEAST = 300


def feed(signal: Signal, share: float, count: int, seed: int = 1) -> int:
    """Give a signal turns of which a share is bad; returns how often its alert changed."""
    dice = random.Random(seed)
    return sum(signal.add(float(dice.random() < share)) for _ in range(count))


def until(signal: Signal, share: float, done: Callable[[], bool], most: int, seed: int = 2) -> int:
    """Give a signal turns until something is true; returns how many it took."""
    dice = random.Random(seed)
    for count in range(most):
        if done():
            return count
        signal.add(float(dice.random() < share))
    return most


@pytest.mark.parametrize("share", [0.0, 0.002, 0.01, 0.05, 0.2, 0.5, 1.0])
def test_chance_raises_no_alert(share: float) -> None:
    """A signal that stays as it is raises no alert in 30,000 turns."""
    signal = Signal(0.1, LEAST)
    assert feed(signal, share, 30_000) == 0
    assert not signal.alert
    assert signal.baseline == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("before", "after", "within"),
    [(0.0, 0.3, 200), (0.02, 0.2, 400), (0.1, 0.3, 400), (0.2, 0.25, 20_000), (0.5, 1.0, 100)],
    ids=["from nothing", "tenfold", "threefold", "by a quarter", "all of them"],
)
def test_a_change_for_the_worse_raises_one(before: float, after: float, within: int) -> None:
    """The larger the change, the sooner; and it ends when things are as they were."""
    signal = Signal(0.1, LEAST)
    feed(signal, before, 20_000)
    assert until(signal, after, lambda: signal.alert, within) < within
    worst, baseline = signal.difference
    assert worst > baseline * 1.1
    assert until(signal, before, lambda: not signal.alert, 30_000) < 30_000


def test_a_change_for_the_better_raises_none() -> None:
    """Fewer bad turns are no reason to call anybody."""
    signal = Signal(0.1, LEAST)
    feed(signal, 0.5, 5_000)
    assert feed(signal, 0.1, 5_000) == 0


def test_less_than_a_tenth_raises_none() -> None:
    """However sure it is, a difference within `worse_by` is not told."""
    signal = Signal(0.5, LEAST)
    feed(signal, 0.4, 20_000)
    assert feed(signal, 0.44, 20_000) == 0


def test_there_is_no_baseline_at_first() -> None:
    """Before `least_samples` nothing is known, and nothing alarms."""
    signal = Signal(0.1, LEAST)
    assert feed(signal, 0.0, 200) == 0
    assert feed(signal, 1.0, LEAST - 201) == 0
    assert not signal.known


def test_a_score_alarms_when_it_falls() -> None:
    """For the judge higher is better: 4.5 is usual, 3.5 is an alert, 5 is none."""
    dice = random.Random(3)
    signal = Signal(0.1, LEAST, higher_is_better=True)
    changes = [signal.add(float(dice.choice((4, 5)))) for _ in range(2_000)]
    changes += [signal.add(5.0) for _ in range(500)]
    assert not any(changes)
    falls = [signal.add(float(dice.choice((3, 4)))) for _ in range(2_000)]
    assert falls.count(True) >= 1
    assert signal.difference[0] < 4.2


def test_a_change_that_stays_is_the_new_normal() -> None:
    """An alert that nobody mends ends some day, with the baseline where things are now."""
    signal = Signal(0.1, LEAST)
    feed(signal, 0.1, 2_000)
    feed(signal, 0.4, 300)
    assert signal.alert
    assert until(signal, 0.4, lambda: not signal.alert, 400_000) < 400_000
    assert signal.baseline == pytest.approx(0.4, abs=0.05)


def test_it_goes_on_after_a_restart() -> None:
    """With its state restored it does what it would have done without a restart."""
    one = Signal(0.1, LEAST)
    feed(one, 0.1, 5_000)
    feed(one, 0.6, 200)
    two = Signal(0.1, LEAST)
    two.restore(one.state())
    assert two.alert
    assert two.state() == one.state()
    for value in (1.0, 0.0, 0.0):
        assert one.add(value) == two.add(value)
    assert two.state() == one.state()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"samples": "many"},
        {"samples": -1, "baseline": 0, "variance": 0, "recent": [0, 0, 0]},
        {"samples": 1, "baseline": math.nan, "variance": 0, "recent": [0, 0, 0]},
        {"samples": 1, "baseline": 0, "variance": 0, "recent": [0]},
        {"samples": 1, "baseline": 0, "variance": 0, "recent": None},
    ],
    ids=["empty", "text", "negative", "no number", "too few", "none"],
)
def test_a_state_that_is_none(state: dict[str, Any]) -> None:
    """It is refused, and says so."""
    with pytest.raises(ValueError, match=r"state|literal"):
        Signal(0.1, LEAST).restore(state)


@given(st.lists(st.floats(0, 1), max_size=400), st.booleans())
def test_averages_stay_within_what_they_average(values: list[float], higher: bool) -> None:
    """No sequence of numbers between 0 and 1 breaks it, or leads out of there."""
    signal = Signal(0.1, 50, higher_is_better=higher)
    for value in values:
        signal.add(value)
    for mean in (signal.baseline, *signal.recent):
        assert -1e-9 <= mean <= 1 + 1e-9
    assert len(signal.recent) == len(SPANS)
