"""The one connection: what goes out, what is believed, and what happens without it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from luanti_stub.engine import Request

GARBAGE: dict[str, Any] = {
    "HTML": lambda one: one.reply("<html><body>502 Bad Gateway</body></html>"),
    "nothing": lambda one: one.reply(""),
    "half a JSON": lambda one: one.reply('{"session": "s1", "cursor": 3, "mess'),
    "nested 2,000 deep": lambda one: one.reply("[" * 2000 + "]" * 2000),
    "nested in a field": lambda one: one.reply('{"a":' * 2000 + "1" + "}" * 2000),
    "a list": lambda one: one.reply([1, 2, 3]),
    "wrong types": lambda one: one.reply({"session": 5, "cursor": "x", "messages": "no"}),
    "no session": lambda one: one.reply({"cursor": 1, "messages": []}),
    "a cursor that is none": lambda one: one.reply({"session": "s1", "cursor": -1.5}),
    "another session": lambda one: one.answer(session="s9"),
    "500": lambda one: one.refuse(500),
    "503": lambda one: one.refuse(503),
    "429": lambda one: one.refuse(429),
    "404": lambda one: one.reply("not here", 404),
    "no connection": lambda one: one.fail(),
    "a timeout": lambda one: one.time_out(),
    "a timeout in the middle of an error": lambda one: one.time_out(410, '{"error": {'),
    "a timeout in the middle of a good answer": lambda one: one.time_out(
        200, '{"session": "s1", "cursor": 1, "messages": []}'
    ),
}


def delta(seq: int, text: str = "Well met.", turn: str = "t1") -> dict[str, Any]:
    """Return a piece of text."""
    return {"type": "turn.delta", "turn": turn, "seq": seq, "text": text}


def done(seq: int, text: str = "Well met.", turn: str = "t1") -> dict[str, Any]:
    """Return the end of a turn."""
    return {"type": "turn.done", "turn": turn, "seq": seq, "status": "completed", "text": text}


# What goes out


def test_the_session_is_opened_in_the_first_step_with_the_whole_state(game: Any) -> None:
    """Before anybody asks."""
    talk = game()
    fresh = "function() return {{type = 'npc.upsert', npc = 'mira', persona = 'mira'}} end"
    talk.A.link.on_fresh(talk.lua.eval(fresh))
    opening = talk.connect()
    assert opening.body["start"]["protocol"] == 1
    assert opening.body["start"]["game"] == "meadow"
    assert "heard" in opening.body["start"]["capabilities"]
    assert opening.body["cursor"] == 0
    assert opening.sent == ["npc.upsert"]
    assert talk.state()["state"] == "up"


def test_an_ask_goes_out_in_the_call_itself_with_what_was_queued(talk: Any) -> None:
    """Not a step later, and in order."""
    talk.A.link.send(talk.table_from({"type": "facts.update", "set": {"hour": 8}}))
    talk.ask(extra=[{"type": "facts.update", "npc": "mira", "set": {"mood": "good"}}])
    ask = talk.requests[-1]
    assert ask.at == talk.now
    assert ask.sent == ["facts.update", "facts.update", "turn.start"]
    assert ask.body["turn"] == "t1"
    assert ask.body["wait_ms"] == 2000
    assert ask.body["session"] == "s1"


def test_trap_1_only_post_is_used(talk: Any) -> None:
    """PUT and DELETE stick to the engine's handles up to 5.8."""
    talk.ask()
    talk.wait(3)
    assert {one.method for one in talk.requests} == {"POST"}


def test_trap_2_there_always_is_a_body(talk: Any) -> None:
    """Without one, the engine reads its standard input and stands still."""
    talk.ask()
    talk.wait(300)
    assert all(one.data for one in talk.requests)


def test_time_limits_are_whole_seconds_above_what_the_server_waits(talk: Any) -> None:
    """5.6.1 makes no limit of half a second."""
    talk.ask()
    talk.last("turn.start").answer(delta(1))
    talk.wait(1)
    assert len(talk.requests) >= 3
    for one in talk.requests:
        assert one.timeout == int(one.timeout) >= 1
        assert one.timeout > one.body["wait_ms"] / 1000 + 2


def test_trap_8_the_token_is_in_a_header_and_nowhere_else(game: Any) -> None:
    """The engine writes addresses into its log."""
    talk = game(settings={"llm_agent.token": "key-77"})
    opening = talk.connect()
    assert opening.headers == ["Content-Type: application/json", "Authorization: Bearer key-77"]
    assert "key-77" not in opening.url + opening.data + "".join(talk.log())


def test_trap_6_all_turns_share_one_poll(game: Any) -> None:
    """One each would take every slot of every mod."""
    talk = game(settings={"curl_parallel_limit": 64})
    talk.connect()
    for n in range(10):
        talk.ask(npc=f"npc {n}")
    asks = talk.requests[-10:]
    assert {one.body["turn"] for one in asks} == {f"t{n}" for n in range(1, 11)}
    talk.step(5)
    assert talk.requests[-1] is asks[-1], "no poll while asks hold all turns"
    for n, one in enumerate(asks, 1):
        one.answer(delta(n, turn=f"t{n}"))
    talk.step(5)
    polls = [one for one in talk.flying() if "turn" not in one.body]
    assert len(polls) == 1
    assert polls[0].body["wait_ms"] == 8000


def test_there_is_no_poll_without_an_open_turn(talk: Any) -> None:
    """A request that waits would make the next ask start later."""
    talk.ask()
    talk.requests[-1].answer(delta(1), done(2))
    talk.wait(2)
    assert talk.flying() == [talk.last("turn.heard")]
    assert talk.last("turn.heard").body["wait_ms"] == 0


@pytest.mark.parametrize("limit", [1, 8])
def test_polls_that_bring_nothing_become_seldom(game: Any, limit: int) -> None:
    """A server that does not wait is not asked eleven times a second, but turns still go out."""
    talk = game(settings={"curl_parallel_limit": limit, "llm_agent.first_words_s": 10})
    talk.connect()
    talk.server = lambda one: one.answer({"type": "turn.done"}, {"type": "new.thing"})
    talk.ask()
    talk.wait(5)
    talk.ask(npc="bob")
    talk.step()
    assert "turn.start" in talk.requests[-1].sent
    talk.wait(4)
    assert len(talk.requests) < 15


def test_a_message_waits_a_second_for_company_or_not_at_all(talk: Any) -> None:
    """`now` is for what somebody waits for."""
    before = len(talk.requests)
    talk.A.link.send(talk.table_from({"type": "player.upsert", "player": "ada"}))
    talk.wait(0.8)
    assert len(talk.requests) == before
    talk.wait(0.4)
    assert talk.requests[-1].sent == ["player.upsert"]
    talk.requests[-1].answer()
    message = talk.table_from({"type": "action.result", "turn": "t1", "call": "c", "ok": True})
    talk.A.link.send(message, talk.table(now=True))
    talk.step()
    assert talk.requests[-1].sent == ["action.result"]


def test_what_nobody_can_read_is_not_sent(talk: Any) -> None:
    """Nor what is larger than a message may be; and the rest is."""
    assert talk.A.link.send(talk.lua.eval("{type = 'facts.update', set = {f = print}}"))[0] is None
    large = talk.table_from({"type": "facts.update", "set": {"bag": "x" * 70_000}})
    assert talk.A.link.send(large) == (None, "it has more than 60,000 bytes")
    assert len(talk.log("warning")) == 2
    talk.ask()
    assert talk.requests[-1].sent == ["turn.start"]


def test_a_large_state_is_sent_in_order_one_request_after_the_other(game: Any) -> None:
    """Side by side the second could be handled first; turns wait behind it."""
    talk = game()
    talk.A.link.on_fresh(
        talk.lua.eval(
            "function() local t = {} for i = 1, 450 do"
            " t[i] = {type = 'npc.upsert', npc = 'n' .. i, persona = 'p'} end return t end"
        )
    )
    talk.server = lambda one: one.answer()
    talk.step()
    talk.ask()
    talk.step(4)
    names = [message.get("npc") for one in talk.requests for message in one.body["messages"]]
    assert names == [f"n{i}" for i in range(1, 451)] + ["mira"]
    assert [len(one.sent) for one in talk.requests[:3]] == [200, 200, 51]
    assert talk.most == 1


def test_a_session_that_is_idle_is_kept(talk: Any) -> None:
    """So that the first to speak after an hour does not wait for a new one."""
    before = len(talk.requests)
    talk.server = lambda one: one.answer()
    talk.wait(1000)
    assert len(talk.requests) - before == 4


# The budget


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 8, 64])
def test_the_budget_holds_whatever_comes(game: Any, limit: int) -> None:
    """Also where nobody answers, and one slot is left for the poll."""
    talk = game(settings={"curl_parallel_limit": limit})
    talk.connect()
    most = max(1, limit - 2)
    for n in range(80):
        talk.ask(npc=f"npc {n}")
        assert len(talk.flying()) <= most
    talk.step(3)
    assert len(talk.flying()) <= most
    assert len([one for one in talk.flying() if "turn" in one.body]) <= max(0, most - 2)


def test_turns_without_a_slot_go_together_with_the_poll(game: Any) -> None:
    """And none of them waits for a slot to get free."""
    talk = game(settings={"curl_parallel_limit": 5})
    talk.connect()
    for n in range(8):
        talk.ask(npc=f"npc {n}")
    talk.step()
    ask, poll = talk.flying()
    assert ask.body["turn"] == "t1"
    assert poll.sent == ["turn.start"] * 7
    assert poll.body["wait_ms"] == 8000
    talk.ask(npc="late")
    talk.step()
    assert talk.flying()[-1].sent == ["turn.start"]
    assert talk.flying()[-1].body["wait_ms"] == 0


def test_what_hangs_from_before_leaves_the_poll_its_slot(game: Any) -> None:
    """Requests of a connection that broke cannot be taken back; they count, but block nobody."""
    talk = game(settings={"curl_parallel_limit": 8})
    talk.connect()
    for n in range(4):
        talk.ask(npc=f"npc {n}")
        talk.requests[-1].lost = True
    talk.A.link.send(talk.lua.eval("{type = 'facts.update', set = {a = 1}}"), talk.table(now=True))
    talk.step()
    talk.requests[-1].fail()
    talk.step()
    assert talk.state()["state"] == "down"
    talk.server = lambda one: one.answer() if one.body["wait_ms"] == 0 else None
    talk.wait(1.3)
    assert talk.state()["state"] == "up"
    talk.ask(npc="late 1")
    talk.ask(npc="late 2")
    talk.step()
    assert talk.state()["inflight"] == 5
    assert talk.requests[-1].sent == ["turn.start", "turn.start"]
    assert talk.requests[-1].body["wait_ms"] == 8000


def test_the_oldest_of_too_many_falls_out_of_the_queue(game: Any) -> None:
    """And says a canned line at once."""
    talk = game(settings={"curl_parallel_limit": 3, "llm_agent.queue": 5})
    talk.connect()
    talk.A.link.send(talk.lua.eval("{type = 'facts.update', set = {a = 1}}"), talk.table(now=True))
    talk.step()
    assert len(talk.flying()) == 1
    turns = [talk.ask(npc=f"npc {n}") for n in range(7)]
    assert [turn.by for turn in turns] == ["canned"] * 2 + ["palaver"] * 5
    assert turns[0].why == "busy"
    talk.step()
    assert {event[0] for event in talk.events} == {"t1", "t2"}
    assert talk.stats()["dropped"] == 2


def test_a_request_that_never_ends_is_written_off(talk: Any) -> None:
    """Five seconds after its time limit; until then it is in the budget."""
    talk.ask()
    talk.requests[-1].lost = True
    talk.server = lambda one: one.answer()
    talk.wait(9.8)
    assert talk.state()["inflight"] == 1
    assert talk.state()["state"] == "up"
    talk.wait(0.3)
    assert talk.state()["inflight"] == 0
    assert talk.state()["state"] == "down"
    assert talk.stats()["errors_why"] == {"no answer": 1}


def test_a_refusal_is_a_warning_once_and_stands_in_the_status(game: Any) -> None:
    """The persona of a new NPC is missing: its turns say less than why it was refused."""
    talk = game()
    persona = "there is no persona 'marta'; this world has `mira`"
    refusal = {"type": "error", "code": "unknown_persona", "message": persona}

    def server(one: Any) -> None:
        npc = {"type": "error", "code": "unknown_npc", "message": "no NPC"}
        turn = one.body.get("turn")
        one.answer(refusal, *([npc | {"turn": turn}] if turn else []))

    talk.connect()
    talk.server = server
    talk.ask(npc="marta")
    talk.ask(npc="marta")
    talk.wait(3)
    assert len(talk.done) == 2
    assert talk.stats()["refusal"] == persona
    told = [line for line in talk.log("warning") if "refuses a message" in line]
    assert len(told) == 1
    assert persona in told[0]


def test_an_engine_that_raises_does_no_harm(talk: Any) -> None:
    """Neither when it is asked nor when it is looked at."""
    talk.refuses = True
    turn = talk.ask()
    assert turn.by == "canned"
    assert talk.state()["state"] == "down"
    talk.refuses = False
    talk._get = lambda handle: 1 / 0
    talk.wait(20)
    assert len(talk.done) == 1


# What is believed


@pytest.mark.parametrize("kind", GARBAGE, ids=str)
@pytest.mark.parametrize("where", ["opening", "ask", "poll", "flush"])
def test_whatever_answers_it_is_no_error(game: Any, kind: str, where: str) -> None:
    """It is counted, the NPC has a line at once, and later all goes on."""
    talk = game()
    spoil = GARBAGE[kind]
    if where == "opening":
        talk.step()
        turn = talk.ask()
        spoil(talk.requests[-1])
    else:
        talk.connect()
        turn = talk.ask()
        if where == "ask":
            spoil(talk.requests[-1])
        else:
            talk.requests[-1].answer(delta(1, "Well "))
            talk.step()
            poll = talk.requests[-1]
            assert "turn" not in poll.body
            if where == "poll":
                spoil(poll)
            else:
                message = talk.lua.eval("{type = 'facts.update', set = {a = 1}}")
                talk.A.link.send(message, talk.table(now=True))
                talk.step()
                spoil(talk.requests[-1])
    if kind == "another session" and where == "opening":
        return
    talk.step()
    assert talk.stats()["errors"] == 1
    assert talk.stats()["lua_errors"] == 0, talk.stats()["lua_error"]
    assert talk.state()["state"] == "down"
    assert len(talk.log("warning")) == 1
    if where in ("opening", "ask"):
        assert turn.by == "canned"
        assert turn.shown
    before = len(talk.requests)
    talk.server = lambda one: one.fail()
    talk.wait(4)
    talk.server = lambda one: one.answer(session="s2" if "start" in one.body else "s1")
    talk.wait(10)
    assert talk.state()["state"] == "up"
    assert len(talk.requests) > before
    assert len(talk.done) == 1


def test_messages_that_are_none_are_passed_over(talk: Any) -> None:
    """The good ones between them count."""
    talk.ask()
    bad: list[Any] = [
        1, "x", [], {"type": 5}, {"type": "turn.delta"}, {"type": "turn.delta", "turn": "t1"},
        {"type": "turn.delta", "turn": {"a": 1}, "text": "x"}, {"type": "turn.delta", "turn": "t9"},
        {"type": "turn.delta", "turn": "t1", "seq": "x", "text": 7}, {"type": "new.thing"},
        {"type": "turn.emotion", "turn": "t1", "seq": 2, "name": [1]}, {"type": "error"},
        {"type": "error", "code": {}, "message": []}, {"type": "turn.accepted", "turn": "t1"},
    ]  # fmt: skip
    talk.requests[-1].answer(*bad, delta(5), {"type": "turn.done", "turn": "t1", "seq": 6})
    talk.wait(2)
    assert talk.done[0].shown == "Well met."
    assert talk.stats()["lua_errors"] == 0


def test_numbers_may_have_a_fraction_of_nothing(talk: Any) -> None:
    """The engine's JSON has no others."""
    talk.ask()
    talk.requests[-1].reply(
        '{"session":"s1","cursor":0.0,"messages":[{"type":"turn.delta","turn":"t1","seq":1.0,"text":"Hi"}]}'
    )
    talk.step()
    assert talk.done == []
    assert talk.events == [("t1", "text", "Hi")]


def test_a_poll_moves_the_cursor_and_an_ask_does_not(talk: Any) -> None:
    """What an ask brings is of one turn only."""
    talk.ask()
    talk.requests[-1].answer(delta(7, "Well "), cursor=7)
    talk.step()
    assert talk.requests[-1].body["cursor"] == 0
    talk.requests[-1].answer(delta(9, "met."), cursor=9)
    talk.step()
    assert talk.requests[-1].body["cursor"] == 9


def test_an_answer_with_two_thousand_messages_is_bounded(talk: Any) -> None:
    """Two hundred of them fit into a step."""
    talk.ask()
    talk.requests[-1].answer(*[delta(n, "x") for n in range(1, 2001)])
    talk.step()
    assert talk.A.turns.get("t1").all == "x" * 200


# Without Palaver


def test_without_http_there_is_one_message_with_what_to_do(game: Any) -> None:
    """And canned lines, never a crash."""
    talk = game(allowed=False)
    turns = [talk.ask(npc=f"npc {n}") for n in range(20)]
    talk.A.link.send(talk.lua.eval("{type = 'player.upsert', player = 'ada'}"))
    talk.wait(10)
    assert [one for one in talk.log() if "secure.http_mods = llm_agent" in one] == talk.log("error")
    assert len(talk.log("error")) == 1
    assert "minetest.conf" in talk.log("error")[0]
    assert all(turn.by == "canned" and turn.why == "http" for turn in turns)
    assert len(talk.done) == 20
    assert talk.requests == []
    assert talk.state()["state"] == "off"
    assert talk.state()["queued"] == 0


def test_an_engine_without_curl_is_told_from_one_that_forbids_it(game: Any) -> None:
    """The setting alone would not help."""
    talk = game(curl=False)
    assert "without cURL" in talk.log("error")[0]
    talk.ask()
    talk.step()
    assert talk.events[0][1] == "text"


def test_while_it_is_away_a_line_comes_in_the_same_step(talk: Any) -> None:
    """And no request goes out for it."""
    talk.ask()
    talk.requests[-1].fail()
    talk.step()
    before = len(talk.requests)
    turn = talk.ask(npc="bob")
    assert turn.by == "canned"
    assert turn.why == "away"
    assert turn.shown == "", "callbacks never come inside `start`"
    talk.step()
    assert turn.shown
    assert len(talk.requests) == before


def test_the_waits_between_probes_double_and_one_is_open_at_a_time(game: Any) -> None:
    """1, 2, 4 ... 30 seconds, each with a random part; far apart when nobody asks."""
    talk = game(server=lambda one: one.fail())
    talk.wait(100)
    times = [one.at for one in talk.requests]
    gaps = [b - a for a, b in pairwise(times)]
    for gap, base in zip(gaps, [1, 2, 4, 8, 16], strict=False):
        assert base * 0.75 <= gap <= base + 0.3
    assert talk.most == 1
    before = len(talk.requests)
    talk.wait(1000)
    assert 3 <= len(talk.requests) - before <= 6


def test_a_probe_that_hangs_is_the_only_one(game: Any) -> None:
    """Until its time limit passes."""
    talk = game()
    talk.wait(2.5)
    talk.ask()
    talk.step(3)
    assert len(talk.requests) == 1


def test_while_players_ask_it_is_found_again_within_four_seconds(game: Any) -> None:
    """However long it was away."""
    talk = game(server=lambda one: one.fail())
    for _ in range(60):
        talk.ask()
        talk.wait(1)
    assert talk.state()["failures"] > 10
    talk.server = lambda one: one.answer()
    start = talk.now
    while talk.state()["state"] != "up":
        talk.ask()
        talk.wait(0.5)
    assert talk.now - start < 4


def test_it_can_be_tried_again_by_hand(game: Any) -> None:
    """An admin has started Palaver and does not want to wait."""
    talk = game(server=lambda one: one.fail())
    talk.wait(60)
    talk.server = lambda one: one.answer()
    talk.A.link.retry()
    talk.step(2)
    assert talk.state()["state"] == "up"


def test_another_wrong_address_is_tried_at_once_and_named(game: Any) -> None:
    """Whenever an admin corrects it: with a warning of its own, and a back-off from the start."""
    talk = game(server=lambda one: one.fail())
    talk.wait(60)
    assert len(talk.log("warning")) == 1
    talk.A.settings.url = "http://127.0.0.1:9998"
    talk.A.link.retry()
    before = len(talk.requests)
    talk.step(2)
    assert [one.url.split("/luanti")[0] for one in talk.requests[before:]] == [
        "http://127.0.0.1:9998"
    ]
    assert len(talk.log("warning")) == 2
    assert "http://127.0.0.1:9998 (" in talk.log("warning")[1]
    assert talk.state()["failures"] == 1
    assert talk.state()["retry_in_s"] <= 1
    talk.wait(60)
    assert len(talk.log("warning")) == 2


def test_a_probe_that_hangs_at_the_old_address_keeps_no_other_waiting(game: Any) -> None:
    """And when it ends at last, that says nothing of the new one."""
    talk = game()
    talk.step()
    (old,) = talk.requests
    talk.A.settings.url = "http://127.0.0.1:9998"
    talk.A.link.retry()
    talk.step()
    assert talk.requests[-1].url.startswith("http://127.0.0.1:9998/")
    talk.requests[-1].answer()
    talk.step()
    old.fail()
    talk.step(2)
    assert talk.state()["state"] == "up"
    assert talk.log("warning") == []


@pytest.mark.parametrize("code", [401, 403])
def test_a_wrong_token_is_named_once(game: Any, code: int) -> None:
    """With the setting to change."""
    talk = game(server=lambda one: one.refuse(code, "unauthorized"))
    for _ in range(60):
        talk.ask()
        talk.wait(1)
    assert len(talk.log("error")) == 1
    for way in ("llm_agent.token", "minetest.conf", "/set -n llm_agent.token", "/llm_agent reload"):
        assert way in talk.log("error")[0]
    assert talk.state()["state"] == "down"
    assert len(talk.requests) <= 4
    assert {turn.by for turn in talk.done} == {"canned"}


def test_going_and_coming_back_is_one_line_each(talk: Any) -> None:
    """However many probes there were."""
    talk.server = lambda one: one.fail()
    for _ in range(30):
        talk.ask()
        talk.wait(1)
    talk.server = lambda one: one.answer(session="s2" if "start" in one.body else "s1")
    talk.wait(40)
    assert len(talk.log("warning")) == 1
    assert len([line for line in talk.log("action") if "connected" in line]) == 2


# Sessions


def test_a_lost_session_is_replaced_and_the_question_asked_again(talk: Any) -> None:
    """With the whole state before it; the player only waits a little longer."""
    fresh = "function() return {{type = 'npc.upsert', npc = 'mira', persona = 'mira'}} end"
    talk.A.link.on_fresh(talk.lua.eval(fresh))
    turn = talk.ask()
    talk.requests[-1].refuse(410, "unknown_session")
    talk.step()
    opening = talk.requests[-1]
    assert opening.sent == ["npc.upsert"]
    assert "session" not in opening.body
    assert opening.body["cursor"] == 0
    opening.answer(session="s2", fresh=True)
    talk.step()
    ask = talk.requests[-1]
    assert ask.sent == ["turn.start"]
    assert (ask.body["session"], ask.body["turn"]) == ("s2", "t1")
    ask.answer(delta(1), done(2), session="s2")
    talk.wait(1)
    assert (turn.by, turn.shown) == ("palaver", "Well met.")
    assert talk.log("warning") == []


def test_turns_of_a_lost_session_are_lost(talk: Any) -> None:
    """What was shown stays, with an ellipsis; the others say a canned line."""
    shown = talk.ask()
    talk.requests[-1].answer(delta(1, "Once upon"))
    talk.step(5)
    talk.requests[-1].refuse(410)
    talk.step()
    assert shown.shown == "Once upon…"
    assert shown.status == "cut"
    assert len(talk.done) == 1


def test_a_server_that_forgets_at_once_is_not_asked_for_ever(game: Any) -> None:
    """It counts as away, with a back-off that grows."""

    def forgetful(one: Request) -> None:
        if "start" in one.body:
            one.answer(session=f"s{one.handle}", fresh=True)
        else:
            one.refuse(410)

    talk = game(server=forgetful)
    for _ in range(60):
        talk.ask()
        talk.wait(1)
    assert len(talk.requests) < 80
    assert talk.state()["failures"] > 10
    assert len(talk.done) == 60


def test_what_was_on_its_way_when_the_connection_broke_is_sent_again(talk: Any) -> None:
    """Facts may come twice, turns not: their players have had a canned line."""
    message = talk.lua.eval("{type = 'facts.update', set = {a = 1}}")
    talk.ask(extra=[{"type": "facts.update", "npc": "mira", "set": {"a": 1}}])
    talk.requests[-1].fail()
    talk.step()
    talk.A.link.send(message)
    talk.server = lambda one: one.answer()
    talk.wait(4)
    sent = [kind for one in talk.requests[2:] for kind in one.sent]
    assert sent == ["facts.update", "turn.cancel", "facts.update"]


def test_a_line_that_has_begun_survives_a_short_cut(talk: Any) -> None:
    """The session lives on, and the poll goes on where it was."""
    turn = talk.ask()
    talk.requests[-1].answer(delta(1, "Once upon "))
    talk.step(2)
    talk.requests[-1].fail()
    talk.step()
    assert talk.state()["state"] == "down"
    talk.server = lambda one: (
        one.answer() if one.body["wait_ms"] == 0 else one.answer(delta(2, "a time."), done(3))
    )
    talk.wait(4)
    assert (turn.by, turn.status) == ("palaver", "completed")
    assert turn.shown == "Once upon a time."


def test_a_line_that_has_begun_ends_when_the_first_probe_fails(talk: Any) -> None:
    """Nobody is left in the middle of a word for twenty seconds."""
    turn = talk.ask()
    talk.requests[-1].answer(delta(1, "Once upon "))
    talk.step(2)
    talk.server = lambda one: one.fail()
    talk.requests[-1].fail()
    talk.wait(2)
    assert len(talk.done) == 1
    assert turn.shown == "Once upon…"
    assert turn.status == "cut"


def test_a_request_that_is_refused_is_not_repeated(talk: Any) -> None:
    """It would be refused again; but Palaver is there."""
    talk.ask()
    talk.requests[-1].refuse(413, "too_large", "a body has at most 1,000,000 bytes")
    talk.step(3)
    assert talk.events[0][1:2] == ("text",)
    assert talk.A.turns.get("t1").by == "canned"
    assert talk.state()["state"] == "up"
    assert "1,000,000 bytes" in talk.log("warning")[0]


def test_an_npc_that_the_server_does_not_know_is_told_and_asked_again_once(talk: Any) -> None:
    """The state was lost, or a request has overtaken another."""
    fresh = "function() return {{type = 'npc.upsert', npc = 'mira', persona = 'mira'}} end"
    talk.A.link.on_fresh(talk.lua.eval(fresh))
    turn = talk.ask()
    error = {"type": "error", "code": "unknown_npc", "message": "?", "turn": "t1"}
    talk.requests[-1].answer(error)
    talk.step()
    assert talk.requests[-1].sent == ["npc.upsert", "turn.start"]
    talk.requests[-1].answer(error)
    talk.step()
    assert turn.by == "canned"
    assert turn.shown
    assert talk.requests[-1].sent == ["npc.upsert", "turn.start"]


def test_messages_are_not_kept_without_bound_while_it_is_away(talk: Any) -> None:
    """What is lost comes with the whole state, later."""
    fresh = "function() return {{type = 'npc.upsert', npc = 'mira', persona = 'mira'}} end"
    talk.A.link.on_fresh(talk.lua.eval(fresh))
    talk.server = lambda one: one.fail()
    talk.ask()
    talk.step()
    talk.lua.eval(
        "function(A) for i = 1, 12000 do"
        " A.link.send({type = 'facts.update', set = {n = i}}) end end"
    )(talk.A)
    assert talk.state()["queued"] == 10_000
    talk.server = lambda one: one.answer()
    before = len(talk.requests)
    talk.wait(20)
    assert talk.state()["queued"] == 0
    sent = [message for one in talk.requests[before:] for message in one.body["messages"]]
    assert sent[0]["type"] == "npc.upsert"
    assert sent[-1]["set"] == {"n": 12000}


def test_an_hour_of_silence_does_not_delay_the_first_answer(talk: Any) -> None:
    """A new session gets the state; what has piled up before it says nothing new."""
    fresh = "function() return {{type = 'npc.upsert', npc = 'mira', persona = 'mira'}} end"
    talk.A.link.on_fresh(talk.lua.eval(fresh))
    talk.server = lambda one: one.fail()
    talk.ask()
    talk.step()
    talk.lua.eval(
        "function(A) for i = 1, 3000 do A.link.send({type = 'facts.update', set = {n = i}}) end end"
    )(talk.A)

    def server(one: Request) -> None:
        if "start" in one.body:
            one.answer(session="s2", fresh=True)
        elif one.body["session"] == "s1":
            one.refuse(410, "unknown_session")

    talk.server = server
    before = len(talk.requests)
    while talk.state()["state"] != "up":
        talk.step()
    talk.step()
    talk.ask()
    talk.step()
    sent = [one.sent for one in talk.requests[before:]]
    assert sent[-1] == ["turn.start"]
    assert sum(len(one) for one in sent) == 2, "only the state and the question"


def test_a_new_token_needs_no_restart(talk: Any) -> None:
    """After `/set` and `/llm_agent reload` the next request has it."""
    talk.A.settings.token = "fresh"
    talk.ask()
    assert "Authorization: Bearer fresh" in talk.requests[-1].headers
