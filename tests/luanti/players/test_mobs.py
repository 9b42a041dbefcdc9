"""Mobs of another mod get the voice of an NPC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from harness.game import Game
from harness.gateway import Gateway
from harness.players import Player

Join = Callable[[Game, str], Player]
Play = Callable[..., Game]
MOBS_REDO = Path("/usr/share/games/minetest/mods/mobs_redo")
# All that mobs_redo wants of the game that it was written for.
SOUNDS = """
local function sound() return {} end
default = {node_sound_wood_defaults = sound, node_sound_leaves_defaults = sound}
"""
GOAT = """
llm_agent.register_npc("willow", {name = "Elder Willow", persona = "elder_willow"})
mobs:register_mob(":farm:goat", {
    type = "npc", passive = true, hp_min = 5, hp_max = 5,
    collisionbox = {-0.4, 0, -0.4, 0.4, 1, 0.4},
    visual = "upright_sprite", textures = {"blank.png"}, walk_velocity = 0, run_velocity = 0,
    nametag = "Goat",
    on_rightclick = function(self, clicker)
        farm.clicked = clicker:get_player_name()
    end,
})
farm = {}
"""


@pytest.mark.skipif(not MOBS_REDO.is_dir(), reason="minetest-mod-mobs-redo is not installed")
def test_a_mob_of_another_mod_speaks(
    play: Play, palaver: Gateway, join: Join, tmp_path: Path
) -> None:
    """A goat of mobs_redo answers who speaks to it, keeps its own click, and gets its name back."""
    default = tmp_path / "default"
    default.mkdir()
    (default / "mod.conf").write_text("name = default\n", encoding="utf-8")
    (default / "init.lua").write_text(SOUNDS, encoding="utf-8")
    game = play(
        mods={"default": default, "mobs": MOBS_REDO, "farm": GOAT},
        settings={"llm_agent.url": palaver.url, "llm_agent.npc_talks": "false"},
    )
    bob = join(game, "bob")
    game.wait("core.get_node({x = 0, y = 0, z = 0}).name == 'base:stone'")
    game.lua(
        """
        farm.goat = core.add_entity({x = 0, y = 0.6, z = 2}, "farm:goat")
        llm_agent.attach(farm.goat, "willow")
        """
    )
    bob.say("Hello, who are you?")
    bob.wait_heard("<Elder Willow> Good evening.")
    game.wait("farm.goat:get_properties().nametag:find('Good evening') and true")
    game.lua("farm.goat:get_luaentity():on_rightclick(core.get_player_by_name('bob'))")
    assert game.lua("return farm.clicked") == "bob"
    # What mobs_redo writes to the map is data: a function among it would stop the server.
    assert game.lua("return {type = type(farm.goat:get_luaentity():get_staticdata())}") == {
        "type": "string"
    }
    game.wait("not farm.goat:get_properties().nametag:find('evening')")
    assert game.alive()
    assert "stack traceback" not in game.log
