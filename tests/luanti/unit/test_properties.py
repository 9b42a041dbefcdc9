"""Whatever comes in whatever order: every turn ends once, and no limit is passed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

limits = st.sampled_from([1, 4, 5, 8])
turn_ids = st.integers(1, 12).map(lambda n: f"t{n}")
messages = st.one_of(
    st.builds(
        lambda turn, seq, text: {"type": "turn.delta", "turn": turn, "seq": seq, "text": text},
        turn_ids, st.integers(0, 9), st.text("ab é😀\x1b.", max_size=12),
    ),
    st.builds(
        lambda turn, seq, text: {"type": "turn.done", "turn": turn, "seq": seq, "text": text},
        turn_ids, st.integers(0, 9), st.text("ab é😀.", max_size=12),
    ),
    st.builds(
        lambda turn, code: {"type": "error", "turn": turn, "code": code, "message": "no"},
        turn_ids, st.sampled_from(["unknown_npc", "overloaded", "internal"]),
    ),
    st.builds(
        lambda turn, seq: {"type": "turn.action", "turn": turn, "seq": seq, "call": "c"},
        turn_ids, st.integers(0, 9),
    ),
    st.builds(
        lambda turn, seq: {"type": "turn.emotion", "turn": turn, "seq": seq, "name": "joy"},
        turn_ids, st.integers(0, 9),
    ),
)  # fmt: skip
answers = st.one_of(
    st.tuples(st.just("good"), st.lists(messages, max_size=6), st.integers(0, 30)),
    st.tuples(st.sampled_from(["fail", "time_out", "lost", "other session"])),
    st.tuples(st.just("text"), st.sampled_from(["", "<html>", '{"a":', "[]", "{}", "[" * 1500])),
    st.tuples(st.just("code"), st.sampled_from([400, 401, 404, 410, 413, 429, 500, 503])),
)
moves = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 3)),
    st.tuples(st.just("step"), st.integers(1, 12)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 3.0, 12.0])),
    st.tuples(st.just("answer"), st.integers(0, 5), answers),
    st.tuples(st.just("cancel"), turn_ids),
    st.tuples(st.just("send")),
)


def answer(talk: Any, which: int, how: tuple[Any, ...]) -> None:
    """Answer one of the requests in flight."""
    flying = [one for one in talk.flying() if one.result is None and not one.lost]
    if not flying:
        return
    one = flying[which % len(flying)]
    session = one.body.get("session", f"s{one.handle}")
    kind, *rest = how
    if kind == "good":
        one.answer(*rest[0], cursor=rest[1], session=session)
    elif kind == "other session":
        one.answer(session="other")
    elif kind == "text":
        one.reply(rest[0])
    elif kind == "code":
        one.refuse(rest[0])
    elif kind == "lost":
        one.lost = True
    else:
        getattr(one, kind)()


def check(talk: Any) -> None:
    """What always holds."""
    assert len([one for one in talk.flying() if not _written_off(talk, one)]) <= talk.limit
    assert talk.state()["inflight"] <= talk.limit
    assert max(Counter(turn.id for turn in talk.done).values(), default=0) <= 1
    polls = [one for one in talk.flying() if one.body["wait_ms"] > 0 and "turn" not in one.body]
    assert len(polls) <= talk.limit


def _written_off(talk: Any, one: Any) -> bool:
    return one.lost and talk.now - one.at > one.timeout + 5


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(limit=limits, script=st.lists(moves, max_size=40))
def test_every_turn_ends_once(game: Any, limit: int, script: list[tuple[Any, ...]]) -> None:
    """And there never are more requests than may be, nor an error."""
    talk = game(settings={"curl_parallel_limit": limit, "llm_agent.queue": 4})
    talk.limit = max(1, limit - 2)
    asked = 0
    cancelled = set()
    talk.step()
    for move, *rest in script:
        if move == "ask":
            talk.ask(npc=f"n{rest[0]}")
            asked += 1
        elif move == "step":
            talk.step(rest[0])
        elif move == "wait":
            talk.wait(rest[0])
        elif move == "answer":
            answer(talk, rest[0], rest[1])
        elif move == "cancel":
            talk.A.turns.cancel(rest[0])
            cancelled.add(rest[0])
        else:
            talk.A.link.send(talk.lua.eval("{type = 'facts.update', set = {a = 1}}"))
        check(talk)
    talk.wait(25)
    check(talk)
    found = talk.stats()
    assert len(talk.done) == asked == found["asked"]
    assert found["asked"] == found["answered"] + found["canned"] + found["cancelled"]
    assert talk.A.turns.open() == 0
    assert found["lua_errors"] == 0, found["lua_error"]
    for turn in talk.done:
        last = [shown for id_, kind, shown in talk.events if (id_, kind) == (turn.id, "text")]
        assert turn.shown == (last[-1] if last else "")
        if turn.by == "canned" and turn.id not in cancelled:
            assert turn.shown
    # And it is as good as new.
    talk.server = lambda one: one.answer(session=one.body.get("session", "new"))
    talk.wait(350)
    assert talk.state()["state"] == "up"
    assert talk.state()["queued"] == 0
    assert talk.state()["inflight"] == 0
