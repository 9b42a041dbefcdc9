"""A server that fails is left alone for a while, tried with one turn, and soon back."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.chain.backend import BackendSettings
from palaver.chain.breaker import KEY_REST_S, MAX_REST_S, Breaker


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, *, failures: int = 3, dice: float = 0.0) -> Breaker:
    """Return a breaker with the default rests."""
    return Breaker("backend local", failures, 0.5, 4.0, clock, lambda: dice)


def test_it_opens_after_failures_in_a_row() -> None:
    """Two failures are bad luck, three are a server that is away."""
    breaker = make(Clock())
    breaker.failed("down")
    breaker.failed("down")
    breaker.succeeded()
    breaker.failed("down")
    breaker.failed("down")
    assert breaker.state == "closed"
    assert breaker.allows()
    breaker.failed("down")
    assert breaker.state == "open"
    assert not breaker.allows()
    assert (breaker.reason, breaker.opened, breaker.rest_s) == ("down", 1, 0.5)


def test_one_probe_at_a_time() -> None:
    """After its rest one turn may try it, and the others may not."""
    clock = Clock()
    breaker = make(clock, failures=1)
    breaker.failed("down")
    clock.now += 0.5
    assert breaker.state == "half_open"
    assert breaker.allows()
    breaker.enter()
    assert breaker.state == "half_open"
    assert not breaker.allows()
    breaker.succeeded()
    assert breaker.state == "closed"
    assert (breaker.reason, breaker.rest_s) == (None, 0.0)


def test_a_probe_that_tells_nothing_lets_the_next_one_try() -> None:
    """A player who interrupts the probe does not leave the server alone for ever."""
    clock = Clock()
    breaker = make(clock, failures=1)
    breaker.failed("down")
    clock.now += 0.5
    breaker.enter()
    breaker.left()
    assert breaker.allows()


def test_the_rest_doubles_up_to_its_longest() -> None:
    """Each failed probe doubles the rest, so that a dead server costs less and less."""
    clock = Clock()
    breaker = make(clock, failures=1)
    breaker.failed("down")
    rests = [breaker.rest_s]
    for _ in range(5):
        clock.now += breaker.rest_s
        breaker.enter()
        breaker.failed("down")
        rests.append(breaker.rest_s)
    assert rests == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    clock.now += 4
    breaker.enter()
    breaker.succeeded()
    breaker.failed("down")
    assert breaker.rest_s == 0.5, "once it was back it begins anew"


@given(st.floats(0, 1), st.integers(1, 12))
def test_a_server_that_comes_back_is_tried_within_five_seconds(dice: float, probes: int) -> None:
    """However long it was away, and whatever chance says."""
    settings = BackendSettings(type="test")
    clock = Clock()
    breaker = Breaker(
        "backend local",
        settings.breaker_failures,
        settings.breaker_ms / 1000,
        settings.breaker_max_ms / 1000,
        clock,
        lambda: dice,
    )
    for _ in range(settings.breaker_failures):
        breaker.failed("down")
    for _ in range(probes):
        assert 0 < breaker.rest_s <= 5
        clock.now += breaker.rest_s
        assert breaker.allows()
        breaker.enter()
        breaker.failed("down")


def test_gateways_do_not_probe_all_at_once() -> None:
    """Chance shortens each rest by up to a fifth."""
    breaker = make(Clock(), failures=1, dice=1.0)
    breaker.failed("down")
    assert breaker.rest_s == pytest.approx(0.4)


def test_failures_of_requests_from_before_change_nothing() -> None:
    """What was under way when it opened does not lengthen the rest."""
    breaker = make(Clock(), failures=1)
    breaker.failed("down")
    for _ in range(50):
        breaker.failed("down as well")
    assert (breaker.rest_s, breaker.opened, breaker.reason) == (0.5, 1, "down")


@pytest.mark.parametrize("dice", [0.0, 1.0])
def test_a_server_is_left_alone_for_at_least_as_long_as_it_asks(dice: float) -> None:
    """`Retry-After` is obeyed at once and at least, with a little chance on top."""
    breaker = make(Clock(), dice=dice)
    breaker.rest(30, "too many requests")
    assert breaker.state == "open"
    assert 30 <= breaker.rest_s <= 36
    breaker.rest(1, "too many requests")
    assert breaker.rest_s >= 30, "a shorter wish does not end a longer one"


def test_no_server_can_ask_for_ever() -> None:
    """A wrong `Retry-After` of a year is bounded."""
    breaker = make(Clock())
    breaker.rest(31_536_000, "too many requests")
    assert breaker.rest_s == MAX_REST_S


def test_a_refused_key_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand turns with a wrong key leave one line, not a thousand."""
    clock = Clock()
    breaker = make(clock)
    with caplog.at_level(logging.INFO, "palaver.chain"):
        for _ in range(1_000):
            if breaker.allows():
                breaker.enter()
            breaker.unauthorized("the key was refused; set API_KEY")
            clock.now += 1.0
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert told[0].endswith(" s: the key was refused; set API_KEY")


def test_the_log_tells_the_rest_with_its_chance(caplog: pytest.LogCaptureFixture) -> None:
    """What the log says of a rest is what trails count down from."""
    breaker = make(Clock(), dice=0.5)
    breaker.unauthorized("the key was refused")
    assert breaker.rest_s == pytest.approx(KEY_REST_S * 1.1)
    rest = f"{breaker.rest_s:.1f} s"
    assert caplog.messages == [f"backend local is left alone for {rest}: the key was refused"]


def test_what_was_told_at_start_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """A missing key is told when the server starts; the log has no second line of it."""
    breaker = make(Clock())
    breaker.known = frozenset({"the variable API_KEY is not set"})
    breaker.unauthorized("the variable API_KEY is not set")
    assert breaker.state == "open"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_server_that_stays_away_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does each failed probe leave a line; that it is back does."""
    clock = Clock()
    breaker = make(clock, failures=1)
    with caplog.at_level(logging.INFO, "palaver.chain"):
        for _ in range(20):
            breaker.enter()
            breaker.failed("down")
            clock.now += 5
        breaker.enter()
        breaker.succeeded()
        breaker.succeeded()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[-1] == "backend local is back"


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["ask", "succeeded", "failed", "left", "rest", "unauthorized"]),
        st.floats(0, 10),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_it_lets_somebody_through_again(steps: list[str | float]) -> None:
    """No order of events leaves a server alone for ever; at most one probe is under way."""
    clock = Clock()
    breaker = make(clock)
    asked = 0
    for step in steps:
        if isinstance(step, float):
            clock.now += step
        elif step == "ask":
            if breaker.allows():
                breaker.enter()
                asked += 1
        elif step == "rest":
            breaker.rest(7, "busy")
        elif step == "unauthorized":
            breaker.unauthorized("wrong key")
        elif asked:
            asked -= 1
            if step == "failed":
                breaker.failed("down")
            else:
                getattr(breaker, step)()
        if breaker.state != "half_open":
            assert breaker.allows() is (breaker.state == "closed")
        assert 0 <= breaker.rest_s <= MAX_REST_S * 1.2
    for _ in range(asked):
        breaker.left()
    clock.now += MAX_REST_S * 1.2
    assert breaker.allows()
