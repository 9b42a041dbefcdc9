"""Fifty NPCs and a Palaver in virtual time: how long players wait, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
from luanti_stub.palaver import Palaver


def village(talk: Any, palaver: Palaver, npcs: int, seconds: float) -> None:
    """Let NPCs be asked again one second after each reply; then let all end."""
    next_at = {f"npc {n}": talk.now + n % 7 * 0.03 for n in range(npcs)}
    noted = talk._done

    def done(turn: Any) -> None:
        noted(turn)
        next_at[turn.npc] = talk.now + 1

    talk._done = done
    end = talk.now + seconds
    while talk.now < end:
        for npc, at in list(next_at.items()):
            if at <= talk.now:
                del next_at[npc]
                talk.ask(npc=npc)
        palaver.run(0.09)
    palaver.run(10)


def check(talk: Any, palaver: Palaver) -> dict[str, Any]:
    """What holds in all of them."""
    found = talk.stats()
    assert found["lua_errors"] == 0, found["lua_error"]
    assert found["asked"] == len(talk.done) == found["answered"] + found["canned"]
    assert talk.most <= talk.A.settings.max_requests
    for turn in talk.done:
        if turn.by == "palaver" and turn.status == "completed":
            assert turn.shown == palaver.words(turn.id)
    return found


@pytest.mark.parametrize("tokens", [12, 20, 60])
def test_one_npc_costs_at_most_eight_requests_a_turn(game: Any, tokens: int) -> None:
    """And has its first words one server step after Palaver has them."""
    talk = game()
    palaver = Palaver(talk, tokens=tokens)
    palaver.run(1)
    before = len(talk.requests)
    village(talk, palaver, 1, 30)
    found = check(talk, palaver)
    assert found["canned"] == 0
    assert (len(talk.requests) - before) / found["asked"] <= 8
    assert found["first_words_ms"]["max"] <= 300 + 90 + 20 + 90


def test_a_long_and_slow_reply_costs_less_and_less(game: Any) -> None:
    """A request for each of sixty tokens would be sixty."""
    talk = game()
    palaver = Palaver(talk, tokens=60, per_s=4)
    palaver.run(1)
    talk.ask()
    before = len(talk.requests)
    palaver.run(18)
    assert talk.done[0].status == "completed"
    assert len(talk.requests) - before <= 22


def test_fifty_npcs_with_room(game: Any) -> None:
    """`curl_parallel_limit = 64`: nobody waits for a slot."""
    talk = game(settings={"curl_parallel_limit": 64})
    palaver = Palaver(talk)
    palaver.run(1)
    village(talk, palaver, 50, 20)
    found = check(talk, palaver)
    assert found["asked"] > 250
    assert found["canned"] == 0
    assert found["first_words_ms"]["p50"] <= 450
    assert found["first_words_ms"]["p99"] < 700
    assert found["requests"] / found["asked"] < 3


@pytest.mark.parametrize("limit", [8, 4, 1])
def test_fifty_npcs_where_slots_are_short(game: Any, limit: int) -> None:
    """Turns go together, and all are answered all the same."""
    talk = game(settings={"curl_parallel_limit": limit})
    palaver = Palaver(talk)
    palaver.run(1)
    village(talk, palaver, 50, 20)
    found = check(talk, palaver)
    assert found["canned"] == 0
    assert found["first_words_ms"]["p99"] < 1500
    assert found["requests"] / found["asked"] < 3


@pytest.mark.parametrize("away_s", [0.05, 1, 12])
def test_palaver_is_killed_and_comes_back(game: Any, away_s: float) -> None:
    """Canned lines at once, and it is found again within five seconds."""
    talk = game(settings={"curl_parallel_limit": 64})
    palaver = Palaver(talk)
    palaver.run(1)
    back: list[float] = []
    plan = {talk.now + 6: "kill", talk.now + 6 + away_s: "start"}
    run = palaver.run

    def with_faults(seconds: float) -> None:
        for at, what in sorted(plan.items()):
            if talk.now >= at:
                del plan[at]
                if what == "kill":
                    palaver.kill()
                else:
                    palaver.alive = True
                    back.append(talk.now)
        run(seconds)

    palaver.run = with_faults  # type: ignore[method-assign]
    village(talk, palaver, 50, 30)
    found = check(talk, palaver)
    assert found["canned_why"].keys() <= {"away"}
    assert found["answered"] > found["asked"] / 3
    killed = back[0] - away_s
    for turn in talk.done:
        if turn.by == "canned":
            assert turn.done_at - turn.asked_at < 3
    again = min(
        turn.first_at for turn in talk.done if turn.asked_at > killed + 0.2 and turn.first_at
    )
    assert again - back[0] < 5


def test_a_session_that_ends_between_two_turns_costs_a_moment(game: Any) -> None:
    """A restart that nobody noticed."""
    talk = game()
    palaver = Palaver(talk)
    palaver.run(1)
    palaver.kill()
    palaver.alive = True
    turn = talk.ask()
    palaver.run(4)
    assert (turn.by, turn.status) == ("palaver", "completed")
    assert turn.first_at - turn.asked_at < 0.8


def test_palaver_hangs(game: Any) -> None:
    """It takes connections and says nothing: lines come by the clock, later at once."""
    talk = game(settings={"curl_parallel_limit": 8})
    palaver = Palaver(talk)
    palaver.run(1)
    talk.server = None
    village(talk, palaver, 50, 40)
    found = check(talk, palaver)
    assert found["answered"] == 0
    assert found["canned"] == found["asked"]
    assert all(turn.done_at - turn.asked_at < 2.5 + 1.5 + 0.2 for turn in talk.done)
    talk.server = palaver._take
    assert palaver.session is not None
    palaver.run(45)
    talk.ask()
    palaver.run(4)
    assert talk.done[len(talk.done) - 1].by == "palaver"
