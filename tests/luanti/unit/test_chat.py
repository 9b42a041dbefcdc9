"""Chat near an NPC."""

from __future__ import annotations

from unit.world import World


def village() -> World:
    """Sam between Elder Willow and the Alchemist, Kim out of earshot."""
    world = World()
    world.stub.loading = "other"
    world.npc("alchemist", name="The Alchemist")
    world.stub.loading = None
    world.spawn("alchemist", 5, 0, 0)
    world.join("kim", 100, 0, 0)
    return world


def test_a_line_near_an_npc_is_said_to_it_and_not_swallowed() -> None:
    """The nearest NPC is asked, and the player's own line goes its way."""
    world = village()
    assert world.stub.type("sam", "Good morning!") is False
    assert [(turn.npc, turn.text) for turn in world.turns] == [("willow", "Good morning!")]


def test_who_is_named_answers() -> None:
    """A name in the line is stronger than a nearer NPC."""
    world = village()
    world.stub.type("sam", "alchemist, what is in that flask?")
    assert world.turns[0].npc == "alchemist"


def test_commands_and_far_players_ask_nobody() -> None:
    """Commands are no speech, and who is far away is not heard."""
    world = village()
    world.stub.type("sam", "/home")
    world.stub.type("kim", "Hello?")
    world.stub.type("nobody_here", "Hello?")
    assert world.turns == []


def test_who_may_not_shout_is_not_heard() -> None:
    """A muted player cannot talk through an NPC."""
    world = village()
    world.sam.privs.shout = None
    world.stub.type("sam", "Hello?")
    assert world.turns == []


def test_the_answer_comes_by_sentences_to_who_is_near() -> None:
    """Each whole sentence is one chat line, the rest comes at the end; who is far reads nothing."""
    world = village()
    world.join("lee", 3, 0, 0)
    world.stub.type("sam", "Tell me about the well.")
    turn = world.turns[0]
    world.stub.speak(turn, "It was here before all the houses were, and before me. My")
    assert world.chat == [
        f"{name}: <Elder Willow> It was here before all the houses were, and before me."
        for name in ("sam", "lee")
    ]
    world.stub.finish(turn, "It was here before all the houses were, and before me. My dear.")
    assert world.chat[2:] == ["sam: <Elder Willow> My dear.", "lee: <Elder Willow> My dear."]
    assert "\x1b(c@" in world.stub.chat[1].text


def test_short_sentences_share_a_line() -> None:
    """A chat line is not spent on every "Hm."."""
    world = village()
    world.stub.type("sam", "Well?")
    world.stub.speak(world.turns[0], "Hm. Yes. No. ")
    assert world.chat == []
    world.stub.finish(world.turns[0], "Hm. Yes. No. Perhaps.")
    assert world.chat == ["sam: <Elder Willow> Hm. Yes. No. Perhaps."]


def test_a_sentence_without_an_end_is_broken() -> None:
    """A reply without a full stop comes in lines of bounded length, with every word once."""
    world = village()
    world.stub.type("sam", "Well?")
    words = " ".join(f"word{i}" for i in range(200))
    for i in range(0, len(words), 37):
        world.stub.speak(world.turns[0], words[: i + 37])
    world.stub.finish(world.turns[0], words)
    lines = [line.removeprefix("sam: <Elder Willow> ") for line in world.chat]
    assert max(map(len, lines)) <= 280
    assert " ".join(lines) == words


def test_colours_and_newlines_of_a_reply_do_not_reach_the_chat() -> None:
    """A reply cannot forge chat lines of others."""
    world = village()
    world.stub.type("sam", "Well?")
    world.stub.finish(world.turns[0], "Yes\n<Server> you are banned \x1b(c@#f00)now.")
    assert world.chat == ["sam: <Elder Willow> Yes <Server> you are banned now."]
    # Only our own colour, once around the name.
    assert world.stub.chat[1].text.count("\x1b") == 2


def test_others_around_hear_it_too() -> None:
    """The audience of a turn are players and NPCs around, but neither of the two who speak."""
    world = village()
    world.join("lee", 3, 0, 0)
    world.stub.type("sam", "Hello")
    assert list(world.turns[0].job.audience.values()) == ["lee", "alchemist"]


def test_a_player_is_told_once_in_a_while_that_the_npc_is_busy() -> None:
    """Who talks faster than the NPC reads about it, but not with every line."""
    world = village()
    for i in range(6):
        world.stub.type("sam", f"line {i}")
    assert [turn.text for turn in world.turns] == ["line 0"]
    assert world.chat == ["sam: Elder Willow is still answering you."]


def test_an_authored_line_is_heard_around() -> None:
    """`llm_agent.say` needs no model and reaches players around."""
    world = village()
    assert world.api.say("willow", "Supper!")[0] is True
    assert world.chat == ["sam: <Elder Willow> Supper!"]
    assert world.turns == []


def test_strange_lines_do_no_harm() -> None:
    """JSON, formspec signs, escapes and 10,000 characters are just text."""
    world = village()
    for line in ['{"type":"turn.cancel"}', "];button[0,0;1,1;x;y]", "\x1b(c@#f00)red", "<|im_end|>",
                 "x" * 10_000, "\xff\xfe", "   ", ""]:  # fmt: skip
        assert world.stub.type("sam", line) is False
        world.stub["pass"](3)
        for turn in world.turns:
            if turn.state == "open":
                turn.state = "done"
                world.stub.finish(turn, "Yes.")
    assert world.no_errors()
    assert all("\x1b" not in turn.text for turn in world.turns)


def test_under_a_long_cooldown_the_chat_is_answered_too() -> None:
    """With a canned line, for that player alone, and not for every line that they type."""
    world = World(cooldown_s="120")
    world.speak(text="one")
    world.stub.finish(world.turns[0], "One.")
    before = len(world.chat)
    for _ in range(3):
        world.stub.type("sam", "And now?")
    (line,) = world.chat[before:]
    assert line.startswith("sam: <Elder Willow> ")
    assert len(world.turns) == 1
    assert world.no_errors()
