"""Bodies of NPCs in a game server: our own, and a mob of another mod."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.game import Game
from harness.gateway import Gateway
from harness.players import Player

Play = Callable[..., Game]
Join = Callable[[Game, str], Player]

MOBS = Path("/usr/share/games/minetest/mods/mobs_redo")

# Where no player is, nothing moves: keep a block of the map awake.
AWAKE = """\
core.register_on_mods_loaded(function()
    core.after(0, function()
        core.forceload_block({x = 0, y = 0, z = 0}, true)
        core.emerge_area({x = 0, y = 0, z = 0}, {x = 15, y = 15, z = 15}, function(_, _, left)
            awake = left == 0
        end)
    end)
end)
rawset(_G, "awake", false)
"""

SHEPHERD = """
mobs:register_mob(":herd:shepherd", {
    type = "npc", passive = true, hp_min = 10, hp_max = 10, walk_velocity = 0, nametag = "A mob",
    collisionbox = {-0.35, -1, -0.35, 0.35, 0.8, 0.35}, visual = "upright_sprite",
    textures = {{"blank.png"}},
    after_activate = function(self) llm_agent.attach(self, "willow") end,
    })
-- Looks in every step, so that no bubble is missed.
core.register_globalstep(function()
    local now = control.body and control.body:get_properties()
    control.seen = control.seen or now and now.nametag:find("Elder Willow", 1, true) ~= nil
end)
"""


def body(game: Game, name: str, at: str = "{x = 3, y = 2, z = 3}") -> None:
    """Set an entity into the part of the map that is awake."""
    game.wait("awake")
    game.lua(f"control.body = core.add_entity({at}, {name}) return control.body ~= nil")


def nametag(game: Game) -> str:
    """What hangs over it."""
    return str(game.lua("return (control.body:get_properties() or {}).nametag or ''"))


def test_a_body_stands_on_the_ground_and_speaks(
    play: Play, palaver: Gateway, villagers: str
) -> None:
    """The engine's own entity falls to the ground, keeps its id, cannot be hurt, and can go."""
    game = play(mods={"npcs": villagers + AWAKE}, settings={"llm_agent.url": palaver.url})
    body(game, '"llm_agent:npc", "willow"')
    game.wait("control.body:get_pos().y < 0.6")
    assert nametag(game) == "Elder Willow"
    assert game.lua("return control.body:get_luaentity():get_staticdata()") == "willow"
    game.lua("control.body:punch(control.body, 1, {damage_groups = {fleshy = 100}}, nil)")
    assert game.lua("return control.body:get_hp()") == 20
    assert game.ask("willow", "Hello?")["by"] == "palaver"
    game.lua("control.body:remove()")
    game.wait("llm_agent.get_npc('willow').pos == nil")
    assert game.ask("willow", "Still there?")["by"] == "palaver"
    assert game.problems() == []


def test_a_body_whose_npc_is_gone_is_kept(play: Play, palaver: Gateway, villagers: str) -> None:
    """An id that no mod registers is one warning, and the body keeps it."""
    game = play(mods={"npcs": villagers + AWAKE}, settings={"llm_agent.url": palaver.url})
    body(game, '"llm_agent:npc", "forgotten"')
    assert game.lua("return control.body:get_luaentity():get_staticdata()") == "forgotten"
    game.wait("#control.dtimes > 20")
    (problem,) = game.problems()
    assert "/llm_agent remove forgotten" in problem


def test_the_map_keeps_the_home_of_who_walked_away(
    play: Play, palaver: Gateway, villagers: str
) -> None:
    """Behind its id, so that nobody leads it away a little further with every restart."""
    game = play(mods={"npcs": villagers + AWAKE}, settings={"llm_agent.url": palaver.url})
    body(game, '"llm_agent:npc", "willow (7,-2,9)"')
    entity = "control.body:get_luaentity()"
    assert game.lua(f"return {entity}.npc_id") == "willow"
    assert game.lua(f"return {{y = {entity}.home.y, z = {entity}.home.z}}") == {"y": -2, "z": 9}
    assert game.lua(f"return {entity}:get_staticdata()") == "willow (7,-2,9)"
    assert game.problems() == []


def test_odd_staticdata_does_no_harm(play: Play, palaver: Gateway, villagers: str) -> None:
    """What stands in a damaged map does not stop the server."""
    game = play(mods={"npcs": villagers + AWAKE}, settings={"llm_agent.url": palaver.url})
    for odd in ('""', '"return {}"', '("x"):rep(70000)', '"a\\0b"', '"willow (x,y)"', "nil"):
        body(game, f'"llm_agent:npc", {odd}')
    game.wait("#control.dtimes > 20")
    assert all("no mod registers it" in line for line in game.problems())
    assert game.ask("willow", "Hello?")["by"] == "palaver"


def test_a_mob_of_mobs_redo_speaks(
    play: Play, join: Join, palaver: Gateway, villagers: str, tmp_path: Path
) -> None:
    """A mob of mobs_redo answers with a bubble over it, gets its nametag back, and is saved."""
    if not MOBS.is_dir():
        pytest.skip("no mobs_redo here; on Debian: apt-get install minetest-mod-mobs-redo")
    folder = shutil.copytree(MOBS, tmp_path / "mobs")
    # Its crafts want the items of Minetest Game; its mobs do not.
    (folder / "init.lua").write_text('dofile(core.get_modpath("mobs") .. "/api.lua")\n')
    game = play(
        mods={"mobs": folder, "npcs": villagers + AWAKE + SHEPHERD},
        settings={"llm_agent.url": palaver.url},
    )
    body(game, '"herd:shepherd"')
    # Nametags change only where somebody can read them.
    join(game, "sam")
    game.wait("#core.get_connected_players() == 1")
    first = game.begin("willow", "Hello?")
    assert game.turn(first)["by"] == "palaver"
    game.wait("control.seen and control.body:get_properties().nametag == 'A mob'")
    kept = game.lua("return control.body:get_luaentity():get_staticdata()")
    assert "willow" not in kept
    game.lua("control.body:remove()")
    assert game.ask("willow", "Still there?")["by"] == "palaver"
    assert not [line for line in game.problems() if "llm_agent" in line]
