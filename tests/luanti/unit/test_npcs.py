"""NPCs: registration, bodies, `speak`, `attach`."""

from __future__ import annotations

from typing import Any

import pytest
from unit.world import World, lupa


@pytest.mark.parametrize(
    ("id_", "def_", "says"),
    [
        (1, {}, "the id must be a text"),
        ("", {}, "the id must be a text"),
        ("has space", {}, "the id must be a text"),
        ("x" * 65, {}, "the id must be a text"),
        ("x", None, "the definition of \"x\" must be a table, got a nil"),
        ("x", {"name": 5}, "`name` of \"x\" must be a text"),
        ("x", {"radius": 1000}, "`radius` of \"x\" must be a number from 1 to 64"),
        ("x", {"canned": {}}, "`canned` of \"x\" must be a list"),
        ("x", {"canned": [1]}, "`canned` of \"x\" must be a list"),
        ("x", {"facts": {"a b": 1}}, "the name of a fact"),
        ("x", {"colour": "red"}, "a colour like"),
    ],
)  # fmt: skip
def test_a_mistake_is_an_error_at_the_callers_line_while_mods_load(
    id_: Any, def_: Any, says: str
) -> None:
    """While mods load, a wrong argument raises at the line that wrote it."""
    world = World(empty=True)
    call = world.lua.eval(
        "function(id, def) return pcall(loadstring('\\n\\nllm_agent.register_npc(...)', "
        "'=their_mod.lua'), id, def) end"
    )
    ok, message = call(id_, world.table(def_))
    assert not ok
    assert message.startswith("their_mod.lua:3: llm_agent.register_npc: ")
    assert says in message


def test_the_same_mistake_in_a_running_game_is_logged_once_and_answered() -> None:
    """Nothing that a mod does wrong at run time raises."""
    world = World()
    for _ in range(2):
        result, message = world.api.register_npc("x", 5)
        assert result is None
        assert "must be a table" in message
        assert world.api.set_context("nobody", world.table({}))[0] is None
        assert world.api.set_context("willow", "x")[0] is None
        assert world.api.think("willow", None)[0] is None
        assert world.api.think("willow", world.table({"text": "a", "cue": "b"}))[0] is None
        assert world.api.attach(None, "willow")[0] is None
        assert world.api.attach(world.sam, "willow")[0] is None
        assert world.api.say("willow", 5)[0] is None
    assert len(world.logged("must be a table, got a number")) == 1
    assert world.no_errors()


def test_an_unknown_field_is_a_warning() -> None:
    """A field that nobody reads is named in the log, and the NPC is there."""
    world = World(empty=True)
    world.npc("x", persnoa="y")
    assert world.logged("persnoa")


def test_names_come_from_ids() -> None:
    """An NPC without a name is called like its id, and its persona as well."""
    world = World(empty=True)
    npc = world.npc("old_miller")
    assert (npc.name, npc.persona) == ("Old Miller", "old_miller")


def test_get_npc_gives_a_copy() -> None:
    """What other mods get cannot change the NPC."""
    world = World()
    world.api.set_context("willow", world.table({"mood": "worried"}))
    seen = world.api.get_npc("willow")
    seen.context.mood = "changed"
    assert world.api.get_npc("willow").context.mood == "worried"
    assert world.api.get_npc("nobody") is None


def test_a_turn_introduces_the_npc_once() -> None:
    """The first turn of an NPC tells what it is; the second does not again."""
    world = World()
    world.speak(text="hello")
    kinds = [one.type for one in world.turns[0].job.extra.values()]
    assert kinds[:2] == ["npc.upsert", "player.upsert"]
    world.stub.finish(world.turns[0], "Hello.")
    world.stub["pass"](2)
    world.speak(text="again")
    assert "npc.upsert" not in [one.type for one in world.turns[1].job.extra.values()]


def test_a_new_session_hears_of_everybody_met() -> None:
    """What a server that has restarted must know is complete: NPCs, players and their facts."""
    world = World()
    world.npc("unmet")
    world.api.set_context("willow", world.table({"mood": "worried"}))
    world.speak(text="hello")
    messages = [world.plain(one) for one in world.stub.fresh().values()]
    npcs = [one["npc"] for one in messages if one["type"] == "npc.upsert"]
    assert npcs == ["willow"]
    assert [one["player"] for one in messages if one["type"] == "player.upsert"] == ["sam"]
    facts = [one for one in messages if one["type"] == "facts.update" and one.get("npc")]
    assert facts[0]["set"]["mood"] == "worried"


def test_one_turn_at_a_time_per_npc_and_player() -> None:
    """A second question waits for the first, and a third is refused."""
    world = World()
    assert world.speak(text="one") == "t1"
    assert world.speak(text="two") == (None, "queued")
    assert world.speak(text="three") == (None, "busy")
    world.stub.finish(world.turns[0], "One.")
    world.stub["pass"](0.5)
    assert len(world.turns) == 1, "the cooldown is over too early"
    world.stub["pass"](1)
    assert [turn.text for turn in world.turns] == ["one", "two"]


def test_a_long_cooldown_lasts() -> None:
    """It is not forgotten when silent pairs are, and who must wait long is told at once."""
    world = World(cooldown_s="120")
    world.speak(text="one")
    world.stub.finish(world.turns[0], "One.")
    world.stub["pass"](90)
    assert world.speak(text="two") == (None, "cooldown")
    world.stub["pass"](15)
    assert world.speak(text="three") == (None, "queued")
    world.stub["pass"](16)
    assert [turn.text for turn in world.turns] == ["one", "three"]


def test_who_asks_under_a_long_cooldown_gets_a_canned_line() -> None:
    """The form does not wait for an answer that will not come."""
    world = World(cooldown_s="120")
    world.speak(text="one")
    world.stub.finish(world.turns[0], "One.")
    world.rightclick()
    world.fields(said="two", key_enter_field="said")
    assert "field[" in world.forms[-1]
    lines = [str(line) for line in world.mod.canned.lines.cooldown.values()]
    assert any(line in world.forms[-1] for line in lines)


def test_a_player_keeps_few_npcs_thinking() -> None:
    """Whoever runs from one to the next is not answered by all; other mods are not bound."""
    world = World()
    said = {"via": "chat"}
    for i in range(6):
        world.npc(f"n{i}")
    answers = [world.speak(f"n{i}", text="hello", opts=said) for i in range(6)]
    assert answers[:4] == ["t1", "t2", "t3", "t4"]
    assert answers[4:] == [(None, "many")] * 2
    assert world.speak("n5", text="hello") == "t5"
    world.stub.finish(world.turns[4], "Hello.")
    world.stub.finish(world.turns[0], "Hello.")
    assert world.speak("n4", text="hello", opts=said) == "t6"


def test_two_players_do_not_wait_for_each_other() -> None:
    """A turn with one player does not hold up another's."""
    world = World()
    world.join("kim", 1, 0, 0)
    assert world.speak(text="one") == "t1"
    assert world.speak(player="kim", text="two") == "t2"


def test_a_player_who_leaves_is_forgotten() -> None:
    """What waits for a player who has left is dropped without a word, and so is their next turn."""
    world = World()
    world.speak(text="one")
    world.speak(text="two")
    world.stub.leave("sam")
    world.stub.finish(world.turns[0], "One.")
    world.stub["pass"](5)
    assert len(world.turns) == 1
    assert world.speak(text="three") == (None, "gone")
    assert world.chat == []
    assert world.no_errors()


def test_a_body_that_goes_in_mid_speech_does_no_harm() -> None:
    """An NPC that is removed while it speaks falls silent without an error."""
    world = World()
    world.speak(text="hello", opts={"via": "chat"})
    world.stub.speak(world.turns[0], "Well")
    world.stub["pass"](0.3)
    world.body.remove(world.body)
    world.stub.finish(world.turns[0], "Well met.")
    world.stub["pass"](20)
    assert world.api.get_npc("willow").pos is None
    assert world.no_errors()


def test_a_refused_turn_leaves_the_npc_free() -> None:
    """When a turn cannot be started, the NPC can be asked again."""
    world = World()
    world.stub.refuse = "busy"
    assert world.speak(text="one") == (None, "busy")
    world.stub.refuse = None
    world.stub["pass"](2)
    assert world.speak(text="two") == "t1"
    assert world.mod.npcs.get("willow").busy == 1


def test_think_calls_back_and_survives_what_it_calls() -> None:
    """The callbacks of `think` get text and end; an error in one is logged and goes no further."""
    world = World()
    seen: list[str] = []
    opts = world.table({"cue": "It rains."})
    opts.on_text = world.function(lambda turn, shown: seen.append(shown))
    opts.on_done = world.lua.eval("function() error('their mistake') end")
    assert world.api.think("willow", opts) == ("t1", None)
    world.stub.finish(world.turns[0], "Wet.")
    assert seen == ["Wet."]
    assert world.logged("their mistake")
    assert world.mod.npcs.get("willow").busy == 0


def test_10000_characters_and_control_tokens_are_cut_and_cleaned() -> None:
    """What a player sends is bounded and printable, whatever they type."""
    world = World()
    world.speak(text="a\x00b\x1b(c@#ff0000)c\nd" + "ü" * 10_000)
    text = world.turns[0].text
    assert text.startswith("abc d")
    assert len(text) == 2_000


# Other mods' mobs


def test_a_mob_of_another_mod_speaks() -> None:
    """A mob that is attached is near, opens the dialogue, and keeps its own click."""
    world = World(empty=True)
    world.npc("cow")
    sam = world.join("sam", 1, 0, 0)
    world.stub.loading = None
    clicks: list[str] = []
    proto = world.table({"on_rightclick": lambda self, clicker: clicks.append("fed")})
    mob = world.stub.mob("mobs:cow", world.pos(0, 0, 0), proto)
    entity = mob.entity
    assert world.api.attach(entity, "cow") is True
    assert world.api.attach(mob, "cow") is True
    world.rightclick(mob, sam)
    assert clicks == ["fed"]
    assert "Cow" in world.forms[-1]
    assert world.no_errors()


def test_an_attached_mob_can_be_let_go() -> None:
    """`/llm_agent remove` takes its voice; its own click stays, and it may come back."""
    world = World(empty=True)
    world.npc("cow")
    sam = world.join("sam", 1, 0, 0)
    sam.privs.llm_agent_admin = True
    world.stub.loading = None
    clicks: list[str] = []
    proto = world.table({"on_rightclick": lambda self, clicker: clicks.append("fed")})
    mob = world.stub.mob("mobs:cow", world.pos(0, 0, 0), proto)
    assert world.api.attach(mob, "cow") is True
    assert world.command("remove cow") == (True, "Removed: 1")
    world.rightclick(mob, sam)
    assert (clicks, world.forms) == (["fed"], [])
    assert mob.pos is not None
    assert world.api.attach(mob, "cow") is True
    world.rightclick(mob, sam)
    assert (len(clicks), len(world.forms)) == (2, 1)
    assert world.no_errors()


def test_a_click_that_the_mob_took_opens_nothing() -> None:
    """A mob whose own click did something (it was fed) is not talked to by it."""
    world = World(empty=True)
    world.npc("cow")
    sam = world.join("sam", 1, 0, 0)
    proto = world.table({"on_rightclick": lambda self, clicker: True})
    mob = world.stub.mob("mobs:cow", world.pos(0, 0, 0), proto)
    world.api.attach(mob, "cow")
    assert world.rightclick(mob, sam) is True
    assert world.forms == []


def test_attaching_writes_nothing_into_the_mob_but_its_click() -> None:
    """Mods that save the fields of an entity find nothing of ours but a function, and skip it."""
    world = World(empty=True)
    world.npc("cow")
    mob = world.stub.mob("mobs:cow", world.pos(0, 0, 0), None)
    world.api.attach(mob.entity, "cow")
    own = {key: lupa.lua_type(value) for key, value in mob.entity.items()}
    assert own == {"object": "table", "name": None, "on_rightclick": "function"}


def test_a_removed_mob_is_no_body() -> None:
    """A mob that dies takes its voice with it."""
    world = World(empty=True)
    world.npc("cow")
    mob = world.stub.mob("mobs:cow", world.pos(0, 0, 0), None)
    world.api.attach(mob, "cow")
    world.stub.loading = None
    assert world.mod.npcs.object("cow") is not None
    mob.remove(mob)
    assert world.mod.npcs.object("cow") is None
    assert world.api.attach(mob, "cow") == (None, "llm_agent.attach: the object is gone")


# Own bodies


def test_the_body_remembers_who_it_is() -> None:
    """The map keeps the NPC's id as text; nothing hurts the body."""
    world = World()
    entity = world.body.entity
    assert entity.get_staticdata(entity) == "willow"
    assert world.body.armor.immortal == 1
    assert entity.on_punch(entity, world.sam) is True
    entity.home = world.pos(3, -1, 4)
    kept = entity.get_staticdata(entity)
    assert kept == "willow (3,-1,4)"
    again = world.spawn(kept, 9, 0, 0).entity
    assert (again.npc_id, again.home.x, again.home.y, again.home.z) == ("willow", 3, -1, 4)
    assert again.get_staticdata(again) == kept


def test_a_body_without_an_npc_is_silent_and_can_be_removed() -> None:
    """After an update that lacks an NPC its body stays, says so, and an admin can remove it."""
    world = World()
    world.spawn("forgotten", 1, 0, 0)
    body = world.spawn("forgotten", 1, 0, 0)
    assert len(world.logged("forgotten")) == 1, "said once, however often it is loaded"
    world.rightclick(body)
    assert "no longer known" in world.chat[-1]
    assert world.forms == []
    assert body.entity.get_staticdata(body.entity) == "forgotten"
    world.sam.privs.llm_agent_admin = True
    assert world.command("remove forgotten") == (True, "Removed: 2")
    assert world.no_errors()


def test_the_egg_sets_an_npc_and_takes_it_back() -> None:
    """An egg makes its NPC; an admin who punches it with that egg takes it away again."""
    world = World(empty=True, examples=True)
    sam = world.join("sam", 0, 0, 0)
    egg = world.stub["items"]["llm_agent:egg_elder_willow"]
    pointed = world.table({"type": "node", "under": {"x": 0, "y": -1, "z": 2},
        "above": {"x": 0, "y": 0, "z": 2}})  # fmt: skip
    stack = world.lua.globals().ItemStack("llm_agent:egg_elder_willow 2")
    egg.on_place(stack, sam, pointed)
    assert (stack.count, world.mod.npcs.object("elder_willow")) == (2, None)
    assert "llm_agent_admin" in world.chat[-1]
    sam.privs.llm_agent_admin = True
    egg.on_place(stack, sam, pointed)
    assert stack.count == 1
    body = world.mod.npcs.object("elder_willow")
    sam.wielded = "llm_agent:egg_elder_willow"
    sam.privs.llm_agent_admin = None
    body.entity.on_punch(body.entity, sam)
    assert world.mod.npcs.object("elder_willow") is not None, "no privilege, no removal"
    sam.privs.llm_agent_admin = True
    body.entity.on_punch(body.entity, sam)
    assert world.mod.npcs.object("elder_willow") is None
    assert world.no_errors()


def test_no_egg_in_a_protected_place() -> None:
    """Protection holds for NPCs too."""
    world = World(empty=True, examples=True)
    sam = world.join("sam", 0, 0, 0)
    sam.privs.llm_agent_admin = True
    world.stub.protected = True
    egg = world.stub["items"]["llm_agent:egg_alchemist"]
    pointed = world.table({"type": "node", "under": {"x": 0, "y": -1, "z": 2},
        "above": {"x": 0, "y": 0, "z": 2}})  # fmt: skip
    egg.on_place(world.lua.globals().ItemStack("llm_agent:egg_alchemist"), sam, pointed)
    assert world.mod.npcs.object("alchemist") is None


def test_an_egg_that_makes_nothing_is_kept() -> None:
    """Where the engine makes no body, the egg stays in the hand."""
    world = World(empty=True, examples=True)
    sam = world.join("sam", 0, 0, 0)
    sam.privs.llm_agent_admin = True
    world.lua.execute("core.add_entity = function() end")
    egg = world.stub["items"]["llm_agent:egg_alchemist"]
    pointed = world.table({"type": "node", "under": {"x": 0, "y": -1, "z": 2},
        "above": {"x": 0, "y": 0, "z": 2}})  # fmt: skip
    stack = world.lua.globals().ItemStack("llm_agent:egg_alchemist 2")
    egg.on_place(stack, sam, pointed)
    assert stack.count == 2
    assert world.no_errors()


def test_a_body_without_ground_stays_where_it_was_set() -> None:
    """Where there is no ground an NPC hangs in the air instead of falling for ever."""
    world = World()
    world.sam.pos = world.pos(50, 0, 0)
    world.stub["pass"](1)
    world.body.velocity = world.pos(0, -30, 0)
    world.body.pos = world.pos(0, -40, 0)
    world.stub["pass"](1)
    assert world.body.pos.y == 0
    assert world.body.velocity.y == 0
    assert world.body.acceleration.y == 0
    world.stub["pass"](1)
    assert world.body.acceleration.y == 0
    world.stub.under = "stone"
    world.stub["pass"](1)
    assert world.body.acceleration.y < 0, "there is ground again"


def test_it_turns_to_who_comes_near() -> None:
    """A body looks at the player beside it."""
    world = World()
    world.stub["pass"](1)
    assert world.body.yaw == pytest.approx(-1.5708, abs=0.01)


def test_a_defined_anew_npc_keeps_its_bodies() -> None:
    """Who registers an id again gets its bodies and its context."""
    world = World()
    world.api.set_context("willow", world.table({"mood": "worried"}))
    world.npc("willow", name="Grandmother Willow")
    seen = world.api.get_npc("willow")
    assert (seen.name, seen.context.mood) == ("Grandmother Willow", "worried")
    assert seen.pos is not None


def test_hundreds_of_bodies_look_for_players_once_a_step() -> None:
    """What a step costs grows with the bodies or the players, not with both."""
    world = World()
    for i in range(200):
        world.spawn("willow", i % 20, 0, i // 20)
    calls = world.lua.eval(
        "function() local n, old = 0, core.get_connected_players"
        " core.get_connected_players = function() n = n + 1 return old() end"
        " return function() return n end end"
    )()
    world.stub["pass"](2)
    assert 0 < calls() <= 21
    assert len(list(world.mod.npcs.players_near(world.pos(2, 0, 0), 1).values())) == 1
    world.stub.leave("sam")
    assert list(world.mod.npcs.players_near(world.pos(2, 0, 0), 1).values()) == []


def test_of_several_bodies_the_nearest_is_near() -> None:
    """An NPC is found once, where it is nearest, and only within the radius."""
    world = World()
    world.spawn("willow", 3, 0, 0)
    world.npc("far")
    world.spawn("far", 30, 0, 0)
    (one,) = world.mod.npcs.near(world.pos(4, 0, 0), 8).values()
    assert (one.npc.id, one.distance) == ("willow", 1)


@pytest.mark.parametrize(
    ("code", "lang"), [("de", "de"), ("en__x", None), ("", None), ("a b", None)]
)
def test_a_language_that_is_none_is_not_told(code: str, lang: str | None) -> None:
    """It is what a client says; the server would refuse the player with it."""
    world = World()
    world.stub.lang = code
    npc = world.mod.npcs.get("willow")
    messages = [world.plain(one) for one in world.mod.npcs.messages(npc, world.sam).values()]
    (player,) = [one for one in messages if one["type"] == "player.upsert"]
    assert player.get("lang") == lang


def test_an_egg_on_a_chest_keeps_what_the_chest_made_of_it() -> None:
    """A node that is clicked may change the stack in the hand, also where it returns nothing."""
    world = World(empty=True, examples=True)
    sam = world.join("sam", 0, 0, 0)
    world.lua.execute(
        "core.registered_nodes.air = {on_rightclick = function(_, _, _, stack)"
        " stack:take_item() end}"
    )
    egg = world.stub["items"]["llm_agent:egg_alchemist"]
    pointed = world.table({"type": "node", "under": {"x": 0, "y": -1, "z": 2},
        "above": {"x": 0, "y": 0, "z": 2}})  # fmt: skip
    stack = world.lua.globals().ItemStack("llm_agent:egg_alchemist 2")
    assert egg.on_place(stack, sam, pointed).count == 1
