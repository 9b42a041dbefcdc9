"""Facts: what changed, and not more than fits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.world import World


def told(world: World, player: str | None = "sam") -> dict[str, Any]:
    """The `facts.update` messages of a turn now, by whom they are about."""
    npc = world.mod.npcs.get("willow")
    ref = world.sam if player else None
    messages = [world.plain(one) for one in world.mod.facts.messages(npc, ref).values()]
    return {one.get("npc") or one.get("player") or "game": one for one in messages}


def test_a_turn_tells_what_there_is() -> None:
    """Place, health, what is near, the player's things and the time of day are told."""
    world = World()
    world.sam.main = world.table(["default:apple 3", "", "default:apple 2", "default:sword"])
    world.sam.wielded = "default:sword"
    world.sam.hp = 10
    world.lua.globals().core.registered_items["default:apple"] = world.table(
        {"description": "Red Apple\nTasty"}
    )
    world.stub.mob("mobs:black_sheep", world.pos(0, 0, 3), None)
    facts = told(world)
    assert facts["willow"]["set"] == {
        "position": "0, 0, 0",
        "health": 100,
        "nearby": [
            {"name": "sam", "kind": "player", "distance": 2},
            {"name": "black sheep", "kind": "creature", "distance": 3},
        ],
    }
    assert facts["sam"]["set"] == {
        "name": "sam",
        "position": "2, 0, 0",
        "health": 50,
        "wielded": "sword",
        "inventory": [
            {"item": "default:apple", "count": 5, "name": "Red Apple"},
            {"item": "default:sword", "count": 1, "name": "sword"},
        ],
    }
    assert facts["game"]["set"] == {"hour": 12, "time_of_day": "noon", "night": False}


def test_only_what_changed_is_told_again() -> None:
    """The second time only the difference goes out, and what is gone is unset."""
    world = World()
    world.sam.main = world.table(["default:apple 3"])
    told(world)
    assert told(world) == {}
    world.sam.hp = 5
    world.sam.main = world.table([])
    assert told(world) == {
        "sam": {"type": "facts.update", "player": "sam", "set": {"health": 25},
                "unset": ["inventory"]},
    }  # fmt: skip


def test_context_is_merged_and_forgotten() -> None:
    """`set_context` adds facts; names in its third argument are forgotten."""
    world = World()
    world.api.set_context("willow", world.table({"mood": "worried", "hungry": False}))
    assert told(world)["willow"]["set"]["hungry"] is False
    world.api.set_context("willow", world.table({"mood": "serene"}), world.table(["hungry"]))
    assert told(world)["willow"] == {
        "type": "facts.update", "npc": "willow", "set": {"mood": "serene"}, "unset": ["hungry"],
    }  # fmt: skip


def test_the_authors_facts_may_be_a_function_that_fails() -> None:
    """`facts` of a definition is called with each turn; an error in it costs only those facts."""
    world = World()
    world.stub.loading = "other"
    facts = world.lua.eval("function(npc, player) return {speaker = npc.id, to = "
        "player:get_player_name()} end")  # fmt: skip
    assert world.api.register_npc("willow", world.lua.table_from({"facts": facts})) is True
    assert told(world)["willow"]["set"]["to"] == "sam"
    fails = world.lua.eval("function() error('their mistake') end")
    assert world.api.register_npc("willow", world.lua.table_from({"facts": fails})) is True
    assert told(world)["willow"]["unset"] == ["speaker", "to"]
    assert world.logged("their mistake")


@pytest.mark.parametrize("long_names", [False, True], ids=["short", "long"])
def test_a_huge_inventory_is_summed_up(long_names: bool) -> None:
    """10,000 stacks become at most 32 kinds within 4,000 bytes, and a line about the rest."""
    world = World()
    tail = "x" * 100 if long_names else ""
    world.sam.main = world.table([f"mod:item{i % 500}{tail} {i % 90 + 1}" for i in range(10_000)])
    facts = told(world)["sam"]["set"]
    assert 10 < len(facts["inventory"]) <= 32
    assert len(json.dumps(facts["inventory"], separators=(",", ":"))) <= 4_000
    assert facts["inventory_more"].startswith("468 more kinds of things, ")
    counts = [one["count"] for one in facts["inventory"]]
    assert counts == sorted(counts, reverse=True)


def test_an_npc_with_a_huge_inventory_is_summed_up() -> None:
    """The same holds for what a definition says an NPC has."""
    world = World()
    world.stub.loading = "other"
    world.npc("willow", inventory={f"mod:item{i}": i for i in range(1, 3_000)})
    facts = told(world)["willow"]["set"]
    assert len(facts["inventory"]) == 32
    assert facts["inventory"][0] == {"item": "mod:item2999", "count": 2999, "name": "item2999"}
    assert "inventory_more" in facts


def test_no_fact_is_larger_than_4000_bytes() -> None:
    """Long texts are cut, long lists lose their end, a map that is too large is left out."""
    world = World()
    world.api.set_context(
        "willow",
        world.table(
            {
                "story": "é" * 50_000,
                "list": ["word" * 20] * 190,
                "map": {f"k{i}": "v" * 100 for i in range(100)},
            }
        ),
    )
    facts = told(world)["willow"]["set"]
    assert "map" not in facts
    assert world.logged('"map"')
    assert 100 < len(facts["story"]) <= 1_000
    assert 10 < len(facts["list"]) < 190
    for value in facts.values():
        assert len(json.dumps(value, separators=(",", ":"))) <= 4_000


def test_what_json_cannot_carry_is_left_out() -> None:
    """Functions, NaN, infinity, cycles and odd keys are dropped, and the rest is told."""
    world = World()
    odd = world.lua.eval("""(function()
        local t = {fine = 1, nan = 0/0, inf = math.huge, fn = print, deep = {}}
        t.deep.deep = t.deep
        t.mixed = {1, 2, x = 3}
        return t
    end)()""")
    world.api.set_context("willow", odd)
    facts = told(world)["willow"]["set"]
    assert facts["fine"] == 1
    assert facts["mixed"] == [1, 2]
    assert not {"nan", "inf", "fn"} & set(facts)
    assert world.no_errors()


def test_nearby_is_bounded_and_skips_the_body_itself() -> None:
    """Of a crowd the eight nearest are told; items on the ground by their names."""
    world = World()
    for i in range(50):
        world.stub.mob("mobs:bee", world.pos(0, 1 + i / 10, 0), None)
    item = world.stub.mob("__builtin:item", world.pos(0, 0.5, 0), None)
    item.entity.itemstring = "default:gold_lump 3"
    world.stub.mob("__builtin:falling_node", world.pos(0, 0.1, 0), None)
    near = told(world)["willow"]["set"]["nearby"]
    assert len(near) == 8
    assert {"name": "gold lump", "kind": "item", "distance": 1} in near


@pytest.mark.parametrize(
    ("tod", "name", "night"),
    [(0.0, "night", True), (0.22, "dawn", False), (0.4, "morning", False), (0.5, "noon", False),
     (0.6, "afternoon", False), (0.75, "evening", False), (0.9, "night", True)],
)  # fmt: skip
def test_the_time_of_day_has_a_name(tod: float, name: str, night: bool) -> None:
    """The engine's clock becomes a word."""
    world = World()
    world.stub.tod = tod
    time = world.mod.senses.time()
    assert (time.time_of_day, time.night) == (name, night)


def test_a_turn_without_a_player_or_a_body_has_facts_too() -> None:
    """An NPC that is nowhere in the world can still think."""
    world = World()
    world.body.remove(world.body)
    world.api.set_context("willow", world.table({"mood": "worried"}))
    facts = told(world, None)
    assert facts["willow"]["set"] == {"mood": "worried"}
    assert "sam" not in facts


def test_the_players_language_is_told() -> None:
    """The language of the player's client goes with the first turn."""
    world = World()
    world.stub.lang = "de"
    world.speak(text="Hallo")
    upsert = [one for one in world.turns[0].job.extra.values() if one.type == "player.upsert"]
    assert upsert[0].lang == "de"


def test_many_large_facts_come_in_several_messages() -> None:
    """A message that is too large would be refused, with all that is in it."""
    world = World()
    world.api.set_context("willow", world.table({f"fact_{i}": "x" * 900 for i in range(58)}))
    world.api.set_context("willow", world.table({"big": ["y" * 900] * 4, "small": 1}))
    npc = world.mod.npcs.get("willow")
    messages = [world.plain(one) for one in world.mod.facts.messages(npc, None).values()]
    assert all(len(json.dumps(one)) < 60_000 for one in messages)
    about = [one["set"] for one in messages if one.get("npc") == "willow"]
    assert len(about) == 2
    assert len({key for part in about for key in part}) == 60
    again = [world.plain(one) for one in world.mod.facts.replay().values()]
    assert [one["set"] for one in again if one.get("npc") == "willow"] == about
    assert told(world, None) == {}, "of too many facts it is always the same that are told"


def test_a_fact_that_is_half_the_game_costs_little() -> None:
    """A mod that gives us a table of tables of tables does not hold the server up."""
    world = World()
    world.lua.execute(
        "local function many(depth) local t = {} for i = 1, 60 do"
        " t['k' .. i] = depth > 1 and many(depth - 1) or print end return t end"
        " local web = many(2) for key in pairs(web) do web[key].all = web end"
        " llm_agent.set_context('willow', {web = web})"
    )
    calls = world.lua.eval("function(A) local n = 0 local old = A.text.clean"
        " A.text.clean = function(...) n = n + 1 return old(...) end"
        " return function() return n end end")(world.mod)  # fmt: skip
    told(world)
    assert calls() < 2000


def test_what_was_told_of_a_player_ends_with_their_visit() -> None:
    """Who comes back with empty hands is not thought to hold what they held then."""
    world = World()
    world.sam.main = world.table(["default:apple 3"])
    world.sam.wielded = "default:sword"
    told(world)
    world.stub.leave("sam")
    last = world.plain(list(world.stub.sent.values())[-1])
    assert last == {
        "type": "facts.update", "player": "sam",
        "unset": ["health", "inventory", "name", "position", "wielded"],
    }  # fmt: skip
    world.sam = world.join("sam", 2, 0, 0)
    assert set(told(world)["sam"]["set"]) == {"health", "name", "position"}
