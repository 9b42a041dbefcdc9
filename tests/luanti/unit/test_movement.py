"""Bodies: walking, following, gestures and blows, each with its limits."""

from __future__ import annotations

import math
from typing import Any

import pytest
from deeds import Deeds


@pytest.fixture
def deeds() -> Deeds:
    """The alchemist one node from sam, on a plain."""
    return Deeds()


def body(deeds: Deeds, npc: str = "alchemist") -> Any:
    """The body of an NPC."""
    return deeds.mod.npcs.object(npc)


def far(deeds: Deeds, x: float, z: float = 0) -> float:
    """How far the alchemist is from a place."""
    at = body(deeds).pos
    return math.hypot(at.x - x, at.z - z)


def wall(deeds: Deeds, x: int, height: int, *, width: int = 12) -> None:
    """Build a wall across the way."""
    for z in range(-width, width + 1):
        for y in range(height):
            deeds.world.node(x, y, z, "stone")


def test_go_to_a_place_of_its_own(deeds: Deeds) -> None:
    """An NPC walks to a place of its definition, stands there, and goes home again."""
    deeds.npc["def"].places = deeds.table({"old well": {"x": 9, "y": 0, "z": 4}})
    assert deeds.act("go_to", place="the Well", player=None) == (True, "you are on your way")
    assert deeds.mod.movement.moving("alchemist")
    deeds.world.step(8)
    assert far(deeds, 9, 4) < 2
    assert not deeds.mod.movement.moving("alchemist")
    assert body(deeds).velocity.x == 0
    assert deeds.act("go_to", place="home", player=None)[0]
    deeds.world.step(8)
    assert far(deeds, 1) < 2


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("the moon", 'you know no place "the moon" here'),
        ("home", 'you know no place "home" here'),
        ("500, 0, 0", "that is too far to walk"),
        ("player", 'you know no place "player" here'),
    ],
)
def test_places_that_are_none(deeds: Deeds, place: str, why: str) -> None:
    """What an NPC does not know, or cannot reach on foot, is refused."""
    deeds.npc["def"].places = deeds.table({"broken": "x", 3: {}})
    assert deeds.act("go_to", place=place, player=None) == (False, why)


def test_go_to_somebody(deeds: Deeds) -> None:
    """An NPC walks to another one by name, or to the player."""
    deeds.add_npc("willow", (9, 0, 0), name="Elder Willow")
    assert deeds.act("go_to", place="Willow", player=None)[0]
    deeds.world.step(5)
    assert far(deeds, 9) < 2
    deeds.player.pos = deeds.pos(3, 0, 0)
    assert deeds.act("go_to", place="sam")[0]
    deeds.world.step(5)
    assert far(deeds, 3) < 2


def test_follow_and_stop(deeds: Deeds) -> None:
    """An NPC keeps near a player who walks, waits where they stand, and stops when told."""
    assert deeds.act("follow") == (True, "you follow")
    for x in range(0, 30, 3):
        deeds.player.pos = deeds.pos(x, 0, 0)
        deeds.world.step(1.5)
    assert far(deeds, 27) < 4
    deeds.world.step(10)
    assert deeds.mod.movement.moving("alchemist")
    assert body(deeds).velocity.x == 0
    assert deeds.act("follow", on=False) == (True, "you stay here")
    deeds.player.pos = deeds.pos(35, 0, 0)
    deeds.world.step(3)
    assert far(deeds, 27) < 4


def test_nobody_leads_an_npc_out_of_its_home(deeds: Deeds) -> None:
    """However often it follows, and after a restart too, it stays near the place it was set at."""
    for x in range(0, 150, 3):
        deeds.player.pos = deeds.pos(x, 0, 0)
        deeds.act("follow")
        deeds.world.step(1.5)
    assert 50 < far(deeds, 1) < 60
    assert deeds.act("follow")[0] is False
    entity = deeds.mod.npcs.object("alchemist").entity
    assert entity.home.x == 1
    deeds.reload()
    deeds.player.pos = deeds.pos(66, 0, 0)
    assert deeds.act("follow") == (False, "that is too far from your home")
    assert deeds.act("go_to", place="home", player=None)[0]
    deeds.world.step(40)
    assert far(deeds, 1) < 3


def test_follow_ends(deeds: Deeds) -> None:
    """Following ends after its time, and where the player is gone."""
    deeds.npc["def"].follow_s = 5
    deeds.act("follow")
    deeds.world.step(6)
    assert not deeds.mod.movement.moving("alchemist")
    deeds.act("follow")
    deeds.world.leave(deeds.player)
    deeds.world.step(1)
    assert not deeds.mod.movement.moving("alchemist")
    assert deeds.errors() == []


def test_a_step_up(deeds: Deeds) -> None:
    """One node is climbed."""
    wall(deeds, 4, 1)
    assert deeds.act("go_to", place="8, 0, 0")[0]
    deeds.world.step(8)
    assert far(deeds, 8) < 2


def test_a_wall_is_given_up(deeds: Deeds) -> None:
    """Before a wall without a way around the NPC stops soon, after a few searches."""
    wall(deeds, 4, 3)
    deeds.act("go_to", place="8, 0, 0")
    deeds.world.step(15)
    assert not deeds.mod.movement.moving("alchemist")
    assert body(deeds).pos.x < 4
    assert 1 <= deeds.world.searches <= 4
    assert deeds.world.search.round <= 8


def test_a_way_around(deeds: Deeds) -> None:
    """A path of the engine leads around a wall."""
    wall(deeds, 4, 3, width=2)
    way = [(1, 0), (3, 0), (3, 4), (5, 4), (5, 0), (8, 0)]
    deeds.world.found = deeds.table([{"x": x, "y": 0, "z": z} for x, z in way])
    deeds.act("go_to", place="8, 0, 0")
    deeds.world.step(15)
    assert far(deeds, 8) < 2
    assert deeds.world.searches == 1


@pytest.mark.parametrize("danger", ["lava", "drop"])
def test_danger_ahead(deeds: Deeds, danger: str) -> None:
    """No NPC walks into lava or over a cliff."""
    for z in range(-12, 13):
        if danger == "lava":
            deeds.world.node(4, 0, z, "lava")
        else:
            for y in range(-9, 0):
                deeds.world.node(4, y, z, "air")
    deeds.act("go_to", place="8, 0, 0")
    deeds.world.step(15)
    assert body(deeds).pos.x < 4
    assert not deeds.mod.movement.moving("alchemist")


def test_water_is_swum(deeds: Deeds) -> None:
    """In water a body keeps up."""
    deeds.world.node(1, 0, 0, "water")
    deeds.act("go_to", place="8, 0, 0")
    for _ in range(5):
        for step in deeds.mod.steps.values():
            step.fn(0.1)
        deeds.world.now += 0.1
    assert body(deeds).velocity.y == 1.5


def test_searches_are_rare(deeds: Deeds) -> None:
    """Many walkers together search at most once a second, and more than so many do not walk."""
    wall(deeds, 4, 3, width=60)
    accepted = 0
    for number in range(40):
        deeds.add_npc(f"n{number}", (2, 0, number - 20))
        accepted += deeds.act("go_to", npc=f"n{number}", player=None, place=f"8, 0, {number - 20}")[
            0
        ]
    assert accepted == 24
    deeds.world.step(5)
    assert deeds.world.searches <= 6


def mob(deeds: Deeds, **more: Any) -> Any:
    """Let the alchemist have the body of another mod's mob."""
    entity = deeds.table({"name": "mobs:sheep", "on_step": len, **more})
    return deeds.world.body("alchemist", deeds.pos(1, 0, 0), entity)


def test_a_mob_with_a_brain_is_left_alone(deeds: Deeds) -> None:
    """The body of a mob that thinks for itself is not moved, unless its definition says so."""
    mob(deeds)
    assert deeds.act("follow") == (False, "your feet go their own way")
    assert deeds.act("go_to", place="3, 0, 0") == (False, "your feet go their own way")
    assert deeds.act("emote", gesture="dance")[0]
    assert body(deeds).velocity.y == 0
    deeds.npc["def"].movable = True
    assert deeds.act("follow")[0]


def test_no_body_no_walk(deeds: Deeds) -> None:
    """An NPC without a body says so; one that is removed on its way just stops."""
    deeds.act("follow")
    body(deeds).gone = True
    deeds.world.step(1)
    assert not deeds.mod.movement.moving("alchemist")
    for name, args in (("follow", {}), ("go_to", {"place": "home"}), ("emote", {"gesture": "bow"})):
        assert deeds.act(name, **args) == (False, "you have no body here")
    assert deeds.errors() == []


def test_one_of_two_bodies_walks(deeds: Deeds) -> None:
    """Of an NPC with two bodies the one that began goes on, and only that one is the action's."""
    one = body(deeds)
    deeds.act("go_to", place="9, 0, 0")
    two = deeds.world.body("alchemist", deeds.pos(1, 0, 5), None)
    deeds.world.step(1)
    assert deeds.mod.actions.step(one.entity)
    assert not deeds.mod.actions.step(two.entity)
    assert two.velocity.x == 0
    assert one.velocity.x > 0


def test_a_gesture_is_seen_by_who_is_near(deeds: Deeds) -> None:
    """A gesture is a line in the chat of the players around, and a turn towards the player."""
    deeds.world.player("bo", deeds.pos(40, 0, 0), 1)
    deeds.npc["def"].emotes = deeds.table({"bow": {"x": 10, "y": 20}})
    assert deeds.act("emote", gesture="bow") == (True, "they saw it")
    assert deeds.plain(deeds.world.chat) == [["sam", "* The Alchemist bows."]]
    assert body(deeds).frames.y == 20
    assert deeds.act("emote", gesture="vanish")[0] is False


# Attack -----------------------------------------------------------------------------------------


@pytest.fixture
def brawler() -> Deeds:
    """An alchemist who may attack, where it is allowed."""
    deeds = Deeds(allow_attack=True)
    deeds.npc["def"].actions = deeds.table(["attack", "follow"])
    return deeds


def test_attack_is_off(deeds: Deeds) -> None:
    """Without the setting nobody attacks, whatever the definition lists."""
    deeds.npc["def"].actions = deeds.table(["attack"])
    assert deeds.act("attack", target="player") == (False, "you cannot do that")


def test_attack_is_never_a_default() -> None:
    """Even where it is allowed, an NPC attacks only if its definition lists it."""
    assert Deeds(allow_attack=True).act("attack", target="player")[0] is False


def test_a_few_blows(brawler: Deeds) -> None:
    """An attack is at most four blows, a second apart, and then it is over."""
    assert brawler.act("attack", target="player") == (True, "you attack")
    brawler.world.step(2)
    assert len(list(brawler.world.punches.values())) in (2, 3)
    brawler.world.step(20)
    assert len(list(brawler.world.punches.values())) == 4
    assert not brawler.mod.movement.moving("alchemist")
    assert brawler.player.hp == 12


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("enable_pvp", False, "fighting players is not allowed here"),
        ("enable_damage", False, "fighting players is not allowed here"),
        ("creative", True, "the player cannot be hurt"),
    ],
)
def test_the_game_may_forbid_it(brawler: Deeds, setting: str, value: bool, why: str) -> None:
    """Where players may not be hurt, no NPC hurts them."""
    brawler.world.settings[setting] = value
    assert brawler.act("attack", target="player") == (False, why)


def test_protected_places_are_peaceful(brawler: Deeds) -> None:
    """Nobody is attacked in a protected area, and a fight that comes into one ends."""
    brawler.act("attack", target="sam")
    brawler.world.protected = True
    brawler.world.step(5)
    assert list(brawler.world.punches.values()) == []
    assert brawler.act("attack", target="player") == (False, "this place is protected")


def test_who_runs_away_is_safe(brawler: Deeds) -> None:
    """A fight does not go far from where it began."""
    brawler.player.pos = brawler.pos(5, 0, 0)
    brawler.act("attack", target="player")
    for x in range(6, 60, 2):
        brawler.player.pos = brawler.pos(x, 0, 0)
        brawler.world.step(0.4)
    assert list(brawler.world.punches.values()) == []
    assert far(brawler, 1) < 20
    assert not brawler.mod.movement.moving("alchemist")


def test_another_walk_ends_a_fight(brawler: Deeds) -> None:
    """An NPC that is told to follow stops fighting, and goes on following."""
    brawler.act("attack", target="player")
    brawler.act("follow")
    brawler.world.step(5)
    assert list(brawler.world.punches.values()) == []
    assert brawler.mod.movement.moving("alchemist")


def test_creatures_but_no_npcs(brawler: Deeds) -> None:
    """A creature near can be attacked by its name; another NPC and a thing on the ground cannot."""
    brawler.add_npc("willow", (2, 0, 0))
    brawler.world.creature("__builtin:item", brawler.pos(2, 0, 0))
    for name in ("willow", "item", "npc"):
        assert brawler.act("attack", target=name)[0] is False
    dog = brawler.world.creature("mobs:wolf_dog", brawler.pos(2, 0, 0))
    dog.entity.owner = "kim"
    kitten = brawler.world.creature("mobs:kitten", brawler.pos(2, 0, 0))
    kitten.entity.tamed = True
    brawler.world.creature("__builtin:falling_node", brawler.pos(2, 0, 0))
    for name in ("dog", "kitten", "falling node"):
        assert brawler.act("attack", target=name)[0] is False
    wolf = brawler.world.creature("mobs_monster:grey_wolf", brawler.pos(2, 0, 1))
    assert brawler.act("attack", target="the grey wolf")[0]
    brawler.world.step(10)
    assert wolf.hp == 12
    assert brawler.player.hp == 20
