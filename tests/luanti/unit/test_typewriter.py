"""Text that grows while one looks at it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from luanti_stub.engine import Engine

ENGINE = Engine()
STEP_S = 0.09


def writer(speed: float = 40) -> Any:
    """Return a new one."""
    return ENGINE.A.typewriter.new(speed)


@settings(deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.integers(0, 12), st.text("aé😀 .", min_size=1, max_size=80)), max_size=12
    ),
    speed=st.integers(5, 200),
    step_s=st.sampled_from([0.02, 0.09, 0.5]),
)
def test_no_text_is_more_than_a_second_and_a_half_behind(
    pieces: list[tuple[int, str]], speed: int, step_s: float
) -> None:
    """Whatever comes when: what is shown grows, is a beginning of it, and is complete in time."""
    one = writer(speed)
    now = 0.0
    due: list[tuple[float, int]] = []
    shown = ""
    for steps, text in [*pieces, (int(3 / step_s) + 1, "")]:
        if text:
            one.add(one, text, now)
            due.append((now + 1.5, len(one.all)))
        for _ in range(steps):
            now += step_s
            one.step(one, now)
            grown = one.shown(one)
            assert grown.startswith(shown)
            shown = grown
            assert one.all.startswith(shown)
            for at, size in due:
                assert now < at + step_s + 1e-6 or len(shown) >= size
    assert one.even(one)
    assert shown == "".join(text for _, text in pieces)


def test_the_first_words_are_there_at_once() -> None:
    """At least one whole word, even a long one."""
    one = writer(40)
    one.add(one, "Donaudampfschifffahrt is long.", 5.0)
    assert one.step(one, 5.0) is True
    assert one.shown(one) == "Donaudampfschifffahrt"


@pytest.mark.parametrize("speed", [20, 40])
def test_it_keeps_its_speed(speed: int) -> None:
    """Where there is no hurry."""
    one = writer(speed)
    one.add(one, "x " * (speed // 2), 0.0)
    one.step(one, 0.0)
    first = len(one.shown(one))
    for n in range(1, 6):
        one.step(one, n * STEP_S)
    assert len(one.shown(one)) - first == pytest.approx(speed * 5 * STEP_S, abs=2)


def test_a_step_that_comes_late_shows_more() -> None:
    """The clock counts, not the steps."""
    one = writer(40)
    one.add(one, "x " * 20, 0.0)
    one.step(one, 0.0)
    one.step(one, 0.5)
    assert len(one.shown(one)) == 30


def test_time_that_goes_back_is_no_error() -> None:
    """Clocks are set."""
    one = writer(40)
    one.add(one, "x " * 20, 100.0)
    one.step(one, 100.0)
    assert one.step(one, 50.0) is False
    assert one.step(one, 50.5) is True


def test_a_word_without_an_end_is_not_shown_at_once() -> None:
    """Some languages have no spaces."""
    one = writer(40)
    one.add(one, "言葉" * 100, 0.0)
    one.step(one, 0.0)
    assert len(one.shown(one)) == 24


def test_what_is_stopped_ends_with_an_ellipsis() -> None:
    """Of nothing shown nothing is made."""
    one = writer(40)
    one.add(one, "Once upon a time", 0.0)
    one.stop(one)
    assert one.all == ""
    one = writer(40)
    one.add(one, "Once upon a time", 0.0)
    one.step(one, 0.0)
    one.stop(one)
    assert one.all == one.shown(one) == "Once upon…"
    assert one.even(one)


def test_slack_is_the_time_that_the_rest_takes() -> None:
    """At most that in which it has to be shown."""
    one = writer(40)
    assert one.slack(one) == 0
    one.add(one, "x" * 10, 0.0)
    one.step(one, 0.0)
    assert one.slack(one) == 0
    one.add(one, "x" * 20, 0.0)
    assert one.slack(one) == pytest.approx(0.5)
    one.add(one, "x" * 2000, 0.0)
    assert one.slack(one) == 1.5
