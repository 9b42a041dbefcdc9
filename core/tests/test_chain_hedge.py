"""Two backends work for the same turn only as often as the budget allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.chain.hedge import CREDIT, MOST, HedgeBudget
from palaver.testing.chains import make_chain, tell, wait
from palaver.testing.clock import run
from palaver.testing.scripted import ScriptedBackend


def test_the_first_turn_may_be_saved() -> None:
    """There is one hedge to begin with."""
    budget = HedgeBudget(0.1)
    budget.earn()
    assert budget.take()
    assert not budget.take()
    assert (budget.spent, budget.denied) == (1, 1)


def test_a_share_of_nothing_is_nothing() -> None:
    """With a share of 0 there is never a hedge."""
    budget = HedgeBudget(0.0)
    for _ in range(1_000):
        budget.earn()
    assert not budget.take()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.7, 1.0])
def test_in_the_long_run_it_is_the_share(share: float) -> None:
    """If every turn wants one, that share of turns gets one."""
    budget = HedgeBudget(share)
    for _ in range(1_000):
        budget.earn()
        budget.take()
    assert budget.spent == pytest.approx(1_000 * share + CREDIT, abs=1.5)
    assert budget.spent + budget.denied == 1_000


def test_a_quiet_night_saves_up_only_so_much() -> None:
    """A million turns without a hedge are good for ten."""
    budget = HedgeBudget(0.1)
    for _ in range(10_000):
        budget.earn()
    taken = sum(budget.take() for _ in range(100))
    assert taken == MOST


@given(st.floats(0, 1), st.lists(st.booleans(), max_size=300))
def test_it_never_spends_more_than_it_earned(share: float, turns: list[bool]) -> None:
    """Whenever turns are late, hedges are at most the share of all turns, and the credit."""
    budget = HedgeBudget(share)
    for number, late in enumerate(turns, 1):
        budget.earn()
        if late:
            budget.take()
        assert budget.spent <= share * number + (CREDIT if share else 0) + 1e-6


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_turns_that_are_all_late_hedge_only_their_share(share: float) -> None:
    """A backend that is late for everybody does not double the load of the next."""

    async def main() -> tuple[int, int, int]:
        local = ScriptedBackend("local", [wait(400), "Late."])
        chain = make_chain(local, ScriptedBackend("fast", [wait(50), "Fast."]), hedges=share)
        # A server that is always late would be left alone: here it never is.
        for entry in chain.entries.values():
            entry.servers[0].breaker._limit = 10**9
        for _ in range(200):
            told = await tell(chain, first_token_ms=100)
            assert told.text == "Fast."
            assert told.first_ms == 150
        return chain.hedges.spent, chain.hedges.denied, len(local.calls)

    spent, denied, asked = run(main())
    assert asked == 200
    assert spent + denied == 200
    assert spent == pytest.approx(200 * share + (CREDIT if share else 0), abs=1.5)


def test_a_turn_that_is_not_late_earns_too() -> None:
    """Budget is a share of all turns, not of those that are late."""

    async def main() -> int:
        chain = make_chain(ScriptedBackend("local", "Good evening."), hedges=0.5)
        assert chain.hedges.take(), "the credit"
        for _ in range(4):
            await tell(chain)
        return sum(chain.hedges.take() for _ in range(10))

    assert run(main()) == 2
