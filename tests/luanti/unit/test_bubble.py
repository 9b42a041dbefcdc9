"""Speech bubbles: growing nametags."""

from __future__ import annotations

from typing import Any

from unit.world import World


def nametag(body: Any) -> str:
    """What hangs over the body."""
    return str(body.properties.nametag)


def test_the_bubble_grows_and_goes() -> None:
    """The nametag keeps the name, grows with the text, and is only the name in the end."""
    world = World()
    assert nametag(world.body) == "Elder Willow"
    world.speak(text="hello")
    world.stub["pass"](0.3)
    assert nametag(world.body) == "Elder Willow\n..."
    turn = world.turns[0]
    world.stub.speak(turn, "Come")
    world.stub["pass"](0.3)
    assert nametag(world.body) == "Elder Willow\nCome"
    world.stub.finish(turn, "Come sit, child.")
    world.stub["pass"](0.3)
    assert nametag(world.body) == "Elder Willow\nCome sit, child."
    assert world.body.properties.nametag_bgcolor.a == 190
    world.stub["pass"](15)
    assert nametag(world.body) == "Elder Willow"
    assert world.body.properties.nametag_bgcolor is False


def test_it_changes_five_times_a_second_at_most() -> None:
    """However fast text comes, the nametag is sent every 0.2 seconds at most."""
    world = World()
    world.speak(text="hello")
    before = world.body.changes
    for i in range(100):
        world.stub.speak(world.turns[0], "word " * i)
        world.stub["pass"](0.05, 0.05)
    assert 15 <= world.body.changes - before <= 26


def test_nothing_is_sent_where_nobody_is() -> None:
    """Without a player in view the nametag stays."""
    world = World()
    world.speak(text="hello")
    world.stub["pass"](0.3)
    world.sam.pos = world.pos(200, 0, 0)
    before = world.body.changes
    for i in range(10):
        world.stub.speak(world.turns[0], "word " * i)
        world.stub["pass"](0.3)
    assert world.body.changes == before


def test_a_long_reply_shows_its_last_lines() -> None:
    """Text is wrapped, and of a long reply the newest lines are shown."""
    world = World()
    text = " ".join(f"word{i}" for i in range(100))
    label = world.mod.bubble.label("Willow", text)
    lines = label.split("\n")
    assert len(lines) == 5
    assert lines[0] == "Willow"
    assert lines[1].startswith("...")
    assert lines[-1].endswith("word99")
    assert max(len(line) for line in lines) <= 49


def test_the_newest_of_two_turns_has_the_bubble() -> None:
    """When two players talk with one NPC, the turn that began last is shown."""
    world = World()
    world.join("kim", 1, 0, 0)
    world.speak(text="one")
    world.speak(player="kim", text="two")
    first, second = world.turns
    world.stub.speak(second, "For Kim.")
    world.stub.finish(first, "For Sam.")
    world.stub["pass"](0.5)
    assert nametag(world.body) == "Elder Willow\nFor Kim."


def test_another_mods_nametag_comes_back() -> None:
    """A mob that is attached gets its own nametag back."""
    world = World(empty=True)
    world.npc("cow", name="Clara")
    world.join("sam", 1, 0, 0)
    mob = world.stub.mob("mobs:cow", world.pos(0, 0, 0), None)
    mob.properties.nametag = "Property of Kim"
    world.api.attach(mob, "cow")
    world.speak("cow", text="hello")
    world.stub.finish(world.turns[0], "Moo.")
    world.stub["pass"](0.3)
    assert nametag(mob) == "Clara\nMoo."
    world.stub["pass"](15)
    assert nametag(mob) == "Property of Kim"


def test_bubbles_can_be_switched_off() -> None:
    """With `llm_agent.bubble = false` nametags stay names."""
    world = World(bubble="false")
    world.speak(text="hello")
    world.stub.finish(world.turns[0], "Hello.")
    world.stub["pass"](1)
    assert nametag(world.body) == "Elder Willow"


def test_a_turn_without_words_leaves_no_bubble() -> None:
    """A turn that was cancelled before its first word takes the dots away."""
    world = World()
    world.speak(text="hello")
    world.stub["pass"](0.3)
    world.stub.finish(world.turns[0], None)
    assert nametag(world.body) == "Elder Willow"
    assert world.no_errors()
