"""Turns: each ends once, whatever happens."""

from __future__ import annotations

from typing import Any

import pytest
from luanti_stub.engine import STEP_S

LONG = "The forest path leads north until the old mill, and then along the river. " * 4


def accepted(seq: int, turn: str = "t1") -> dict[str, Any]:
    """Return the beginning of a turn."""
    return {"type": "turn.accepted", "turn": turn, "seq": seq, "npc": "mira", "tier": "x"}


def delta(seq: int, text: str, turn: str = "t1") -> dict[str, Any]:
    """Return a piece of text."""
    return {"type": "turn.delta", "turn": turn, "seq": seq, "text": text}


def done(seq: int, text: str, turn: str = "t1", **more: Any) -> dict[str, Any]:
    """Return the end of a turn."""
    fields = {"type": "turn.done", "turn": turn, "seq": seq, "status": "completed", "text": text}
    return fields | more


def sent(talk: Any, kind: str) -> list[dict[str, Any]]:
    """Return all messages of a type that went out."""
    messages = [message for one in talk.requests for message in one.body["messages"]]
    return [message for message in messages if message["type"] == kind]


# Asking


def test_a_turn_says_who_speaks_to_whom(talk: Any) -> None:
    """With a limit for the first words that is a little less than the player's patience."""
    turn = talk.ask("mira", "Good\nevening!", audience=["bob"], priority="scene", lang="de")
    assert talk.last("turn.start").body["messages"] == [
        {
            "type": "turn.start", "turn": "t1", "npc": "mira", "player": "ada",
            "text": "Good evening!", "audience": ["bob"], "priority": "scene", "lang": "de",
            "first_text_ms": 2000,
        }
    ]  # fmt: skip
    assert (turn.state, turn.by, turn.text, turn.shown) == ("asked", "palaver", "Good evening!", "")


def test_what_was_typed_is_bounded_and_clean(talk: Any) -> None:
    """Ten thousand characters, escapes, JSON and the marks of formspecs."""
    talk.ask(text='\x1b(c@red){"type":"x"}];\\[ ' + "x" * 10_000)
    text = talk.last("turn.start").body["messages"][0]["text"]
    assert text.startswith('{"type":"x"}];\\[ xxx')
    assert len(text) == 2000


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"text": "x"}, "npc"),
        ({"npc": "", "text": "x"}, "npc"),
        ({"npc": "n" * 129, "text": "x"}, "npc"),
        ({"npc": "mira"}, "text"),
        ({"npc": "mira", "text": 5}, "text"),
    ],
)
def test_what_is_no_turn_is_not_started(talk: Any, wish: dict[str, Any], why: str) -> None:
    """And has no callbacks."""
    assert talk.A.turns.start(talk.table_from(wish)) == (None, why)
    assert talk.stats()["asked"] == 0


def test_nonsense_beside_the_text_is_left_out(talk: Any) -> None:
    """Another mod's mistake costs nobody an answer."""
    talk.ask(audience="bob", priority="now!", lang="French!", speaker=5)
    message = talk.last("turn.start").body["messages"][0]
    assert not {"audience", "priority", "lang", "speaker"} & set(message)


def test_there_are_never_too_many_turns(game: Any) -> None:
    """One more is refused."""
    talk = game()
    wish = talk.table_from({"npc": "mira", "text": "x"})
    found = [talk.A.turns.start(wish) for _ in range(501)]
    assert found[500] == (None, "busy")
    assert talk.A.turns.open() == 500


def test_open_turns_are_found_by_player_and_npc(talk: Any) -> None:
    """The oldest first."""
    talk.ask("mira", player="ada")
    talk.ask("bob", player="ada")
    talk.ask("mira", player="eve")
    of_player = [turn.id for turn in talk.A.turns.of_player("ada").values()]
    of_npc = [turn.id for turn in talk.A.turns.of_npc("mira").values()]
    assert (of_player, of_npc) == (["t1", "t2"], ["t1", "t3"])
    assert talk.A.turns.get("t2").npc == "bob"


# Text


def test_a_reply_that_is_there_at_once_is_shown_in_the_same_step(talk: Any) -> None:
    """A cached or static one: the first words are in the step in which the answer is."""
    turn = talk.ask()
    text = "Good evening, traveller. The mill is closed."
    talk.requests[-1].answer(accepted(1), delta(2, text), done(3, text, cached=True))
    talk.step()
    assert turn.shown == "Good eveni"
    assert turn.cached is True
    assert len(talk.requests) == 2, "and nothing else is asked for"
    talk.wait(1.5)
    assert turn.shown == text
    assert talk.events[-1] == ("t1", "done", "palaver")


def test_text_grows_by_the_step_and_only_forwards(talk: Any) -> None:
    """At its speed, in whole letters."""
    text = "Füße und Bärte: 😀 für alle. " * 2
    turn = talk.ask()
    talk.requests[-1].answer(delta(1, text))
    talk.wait(1)
    seen = [shown for _, kind, shown in talk.events if kind == "text"]
    assert len(seen) >= 10
    assert all(text.startswith(one) for one in seen)
    assert [len(one) for one in seen] == sorted({len(one) for one in seen})
    assert 40 <= len(turn.shown) < len(text)


def test_what_ask_and_poll_both_bring_is_shown_once(talk: Any) -> None:
    """Told apart by `seq`, in whatever order they come."""
    talk.A.link.send(talk.lua.eval("{type = 'facts.update', set = {a = 1}}"), talk.table(now=True))
    talk.step()
    flush = talk.requests[-1]
    turn = talk.ask()
    talk.requests[-1].answer(accepted(1), delta(2, "Once "))
    flush.answer(accepted(1), delta(2, "Once "), delta(3, "upon "), cursor=3)
    talk.step()
    assert turn.all == "Once upon "
    talk.requests[-1].answer(delta(2, "Once "), delta(3, "upon "), delta(4, "a time."), cursor=4)
    talk.step()
    assert turn.all == "Once upon a time."


def test_pieces_that_got_lost_come_with_the_end(talk: Any) -> None:
    """It has the whole text."""
    turn = talk.ask()
    talk.requests[-1].answer(delta(1, "Où "), done(9, "Où es-tu?"))
    talk.wait(1)
    assert turn.shown == "Où es-tu?"


def test_escapes_of_a_model_are_not_shown(talk: Any) -> None:
    """Nor do they make the end come twice."""
    turn = talk.ask()
    text = "\x1b(c@#f00)Red\x00 and\n\x1b(T@x)blue."
    talk.requests[-1].answer(delta(1, text), done(2, text))
    talk.wait(1)
    assert turn.shown == "Red and blue."


def test_an_endless_reply_is_bounded(talk: Any) -> None:
    """As on the wire."""
    talk.ask()
    talk.requests[-1].answer(*[delta(n, "x" * 1000) for n in range(1, 51)], done(60, "x"))
    talk.wait(3)
    assert len(talk.done[0].shown) == 8000


def test_emotions_come_with_the_text_that_they_colour(talk: Any) -> None:
    """Actions at once: the server waits for their answer."""
    talk.ask()
    talk.requests[-1].answer(
        delta(1, "I am glad to see you here, and "),
        {"type": "turn.emotion", "turn": "t1", "seq": 2, "name": "anger", "intensity": 1},
        {"type": "turn.action", "turn": "t1", "seq": 3, "call": "c1", "name": "wave", "args": {}},
        delta(4, "late!"),
        done(5, ""),
    )
    talk.wait(3)
    kinds = [kind for _, kind, _ in talk.events]
    assert kinds[0] == "action"
    before = talk.events[kinds.index("emotion") - 1][2]
    after = talk.events[kinds.index("emotion") + 1][2]
    assert len(before) < len("I am glad to see you here, and ") <= len(after)


def test_a_turn_of_deeds_alone_is_an_answer(talk: Any) -> None:
    """No canned line is put behind them."""
    turn = talk.ask()
    action = {"type": "turn.action", "turn": "t1", "seq": 1, "call": "c", "name": "x", "args": {}}
    talk.requests[-1].answer(action, done(2, ""))
    talk.step()
    assert (turn.state, turn.by, turn.shown) == ("ended", "palaver", "")
    assert talk.stats()["answered"] == 1


def test_an_end_without_a_word_is_filled_with_a_line(talk: Any) -> None:
    """Somebody stands there and waits."""
    turn = talk.ask()
    talk.requests[-1].answer(accepted(1), done(2, "", status="cancelled"))
    talk.step()
    assert turn.by == "canned"
    assert turn.shown


# What was heard


def test_what_was_shown_to_the_end_was_heard(talk: Any) -> None:
    """And not before."""
    talk.ask()
    talk.requests[-1].answer(delta(1, LONG[:40]), done(2, LONG[:40]))
    talk.step(3)
    assert sent(talk, "turn.heard") == []
    talk.wait(3)
    assert sent(talk, "turn.heard") == [{"type": "turn.heard", "turn": "t1"}]
    assert sent(talk, "turn.cancel") == []


def test_who_breaks_off_says_what_was_heard(talk: Any) -> None:
    """So that the NPC remembers no more than that."""
    turn = talk.ask()
    talk.requests[-1].answer(delta(1, LONG))
    talk.step(4)
    shown = turn.shown
    assert talk.A.turns.cancel("t1") is True
    assert (turn.state, turn.status) == ("ended", "cancelled")
    assert len(talk.done) == 1
    talk.step()
    cancel = {"type": "turn.cancel", "turn": "t1", "heard": shown}
    assert sent(talk, "turn.cancel") == [cancel]
    assert talk.A.turns.cancel("t1") is False
    assert talk.stats()["cancelled"] == 1
    events = list(talk.events)
    talk.flying()[0].answer(delta(2, "more"), done(3, ""))
    talk.wait(2)
    assert talk.events == events


def test_what_is_shown_after_the_end_can_still_be_broken_off(talk: Any) -> None:
    """The server has sent all of it, but the player has not read it."""
    talk.ask()
    talk.requests[-1].answer(delta(1, LONG), done(2, LONG))
    talk.step(2)
    talk.A.turns.cancel("t1", "The forest")
    talk.step(2)
    assert sent(talk, "turn.cancel") == [
        {"type": "turn.cancel", "turn": "t1", "heard": "The forest"}
    ]


def test_a_player_who_leaves_takes_their_turns_along(talk: Any) -> None:
    """Quietly: nothing is shown to nobody."""
    talk.ask(player="ada")
    talk.ask(player="bob")
    player = talk.lua.eval("{get_player_name = function() return 'ada' end}")
    talk.core.run("on_leaveplayer", player)
    assert [turn.player for turn in talk.done] == ["ada"]
    assert talk.A.turns.open() == 1


def test_a_turn_that_was_never_sent_is_not_called_off(game: Any) -> None:
    """The server knows nothing of it."""
    talk = game()
    talk.step()
    talk.ask()
    talk.A.turns.cancel("t1")
    talk.requests[-1].answer()
    talk.wait(3)
    assert sent(talk, "turn.start") == []
    assert sent(talk, "turn.cancel") == []


# Limits


def test_first_words_have_a_limit_that_needs_no_answer(talk: Any) -> None:
    """A canned line, and the server is told to stop."""
    turn = talk.ask()
    talk.step(int(2.4 / STEP_S))
    assert turn.by == "palaver"
    talk.wait(0.2)
    assert (turn.by, turn.why) == ("canned", "late")
    assert turn.shown
    talk.wait(2)
    assert sent(talk, "turn.cancel") == [{"type": "turn.cancel", "turn": "t1", "heard": ""}]
    assert len(talk.done) == 1
    talk.last("turn.start").answer(delta(1, "Too late."), done(2, "Too late."))
    talk.wait(2)
    assert "Too late." not in turn.shown
    assert talk.stats()["canned_why"] == {"late": 1}


def test_a_line_that_stops_in_the_middle_ends_at_its_limit(talk: Any) -> None:
    """With what was shown, and an ellipsis."""
    turn = talk.ask()
    talk.requests[-1].answer(delta(1, "Once upon a time "))
    talk.server = lambda one: one.answer() if one.body["wait_ms"] == 0 else None
    for _ in range(19):
        talk.step()
        talk.requests[-1].answer()
        talk.wait(1)
    talk.wait(3)
    assert turn.shown == "Once upon a time…"
    assert (turn.by, turn.status, turn.why) == ("palaver", "cut", "late")
    assert sent(talk, "turn.cancel")[0]["heard"] == "Once upon a time "
    assert sent(talk, "turn.heard") == []
    assert talk.stats()["cut"] == talk.stats()["answered"] == 1


def test_an_action_gives_more_time_for_the_words_after_it(talk: Any) -> None:
    """The server holds them until the game has answered."""
    turn = talk.ask()
    talk.step(20)
    talk.requests[-1].answer(
        {"type": "turn.action", "turn": "t1", "seq": 1, "call": "c", "name": "x", "args": {}}
    )
    talk.server = lambda one: None
    talk.wait(2)
    assert turn.by == "palaver"
    talk.wait(1)
    assert turn.by == "canned"


def test_a_long_reply_that_is_there_is_not_cut_by_the_limit(game: Any) -> None:
    """The clock is for what does not come."""
    talk = game(settings={"llm_agent.turn_s": 1})
    talk.connect()
    turn = talk.ask()
    talk.step(9)
    talk.requests[-1].answer(delta(1, LONG), done(2, LONG))
    talk.wait(3)
    assert turn.shown == LONG


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("overloaded", "busy"),
        ("rate_limited", "busy"),
        ("bad_message", "refused"),
        ("internal", "refused"),
    ],
)
def test_a_turn_that_is_refused_is_a_canned_line(talk: Any, code: str, why: str) -> None:
    """And the connection is as well as before."""
    turn = talk.ask()
    talk.requests[-1].answer({"type": "error", "code": code, "message": "no", "turn": "t1"})
    talk.step()
    assert (turn.by, turn.why) == ("canned", why)
    assert turn.shown
    assert talk.state()["state"] == "up"
    assert sent(talk, "turn.cancel") == []
    talk.wait(10)
    stats = talk.stats()
    assert stats["canned_why"] == {why: 1}
    assert stats["asked"] == stats["answered"] + stats["canned"] + stats["cancelled"] == 1


# Callbacks


@pytest.mark.parametrize("which", ["on_text", "on_action", "on_emotion", "on_done"])
def test_trap_3_a_callback_that_fails_ends_no_turn_and_no_server(talk: Any, which: str) -> None:
    """Its own, or another."""
    wish = talk.table_from({"npc": "mira", "text": "x"})
    wish[which] = talk.lua.eval("function() error('mine') end")
    turn = talk.A.turns.start(wish)
    other = talk.ask("bob")
    messages = [
        {"type": "turn.emotion", "turn": "t1", "seq": 1, "name": "joy", "intensity": 1},
        {"type": "turn.action", "turn": "t1", "seq": 2, "call": "c", "name": "x", "args": {}},
        delta(3, "Hi."), done(4, "Hi."),
    ]  # fmt: skip
    talk.requests[-2].answer(*messages)
    talk.requests[-1].answer(*[message | {"turn": "t2"} for message in messages])
    talk.wait(2)
    assert turn.state == other.state == "ended"
    assert turn.shown == other.shown == "Hi."
    assert "mine" in talk.stats()["lua_error"]


def test_a_callback_may_start_and_cancel_turns(talk: Any) -> None:
    """Its own and others, in the middle of a step."""
    wish = talk.table_from({"npc": "mira", "text": "x"})
    ended: list[str] = []

    def on_text(turn: Any, shown: str) -> None:
        talk.ask("bob")
        talk.A.turns.cancel("t2")
        talk.A.turns.cancel(turn.id)

    wish["on_text"] = on_text
    wish["on_done"] = lambda turn: ended.append(turn.id)
    talk.A.turns.start(wish)
    talk.ask("eve")
    talk.requests[-2].answer(delta(1, "Hi."), done(2, "Hi."))
    talk.requests[-1].answer(delta(1, "Ho.", "t2"), done(2, "Ho.", "t2"))
    talk.step()
    assert ended == ["t1"]
    assert [turn.id for turn in talk.done] == ["t2"]
    assert [turn.id for turn in talk.A.turns.of_npc("bob").values()] == ["t3"]
    assert talk.stats()["lua_errors"] == 0


def test_all_turns_are_counted(talk: Any) -> None:
    """Asked is answered and canned and cancelled."""
    talk.server = lambda one: None
    for n in range(12):
        talk.ask(npc=f"n{n}")
        ask = talk.requests[-1]
        if n % 3 == 0:
            ask.answer(delta(1, "Hi.", f"t{n + 1}"), done(2, "Hi.", f"t{n + 1}"))
        elif n % 3 == 1:
            talk.A.turns.cancel(f"t{n + 1}")
        talk.step()
    talk.wait(30)
    found = talk.stats()
    assert found["asked"] == found["answered"] + found["canned"] + found["cancelled"] == 12
    assert len(talk.done) == 12
    assert len({turn.id for turn in talk.done}) == 12
