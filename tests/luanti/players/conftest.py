"""Elder Willow and the Alchemist, two steps from where players appear."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.game import Game
from harness.gateway import Gateway

# Things that a game has, so that there is something to trade and to bring.
GOODS = """
bodies = {}
for _, name in ipairs({"apple", "bread", "torch", "herb", "coin"}) do
    core.register_craftitem("goods:" .. name, {
        description = name:gsub("^%l", string.upper), inventory_image = "blank.png",
    })
end
llm_agent.register_npc("alchemist", {
    name = "The Alchemist", persona = "alchemist",
    goods = {["goods:bread"] = {price = 2, stock = 9}, ["goods:torch"] = {price = 1, stock = 40}},
})
"""
SPAWN = """
core.forceload_block({x = 0, y = 1, z = 0}, true)
local places = {elder_willow = {x = 0, y = 0.5, z = 3}, alchemist = {x = 40, y = 0.5, z = 0}}
for id, pos in pairs(places) do
    core.forceload_block(pos, true)
    bodies[id] = core.add_entity(pos, "llm_agent:npc", id)
end
return bodies.elder_willow ~= nil and bodies.alchemist ~= nil
"""

Village = Callable[..., Game]


@pytest.fixture
def village(play: Callable[..., Game], palaver: Gateway) -> Village:
    """Starts a game in which Elder Willow stands in front of players, the Alchemist further off."""

    def start(**settings: object) -> Game:
        # Nobody looks at the ground before the floor is there.
        settings = {"llm_agent.url": palaver.url, "llm_agent.npc_talks": "false", **settings}
        return play(mods={"goods": GOODS}, settings=settings)

    return start


@pytest.fixture
def spawn() -> Callable[[Game], None]:
    """Sets the two into a game, as soon as there is ground."""

    def set_in(game: Game) -> None:
        game.lua("core.emerge_area({x = -8, y = -4, z = -8}, {x = 48, y = 12, z = 8})")
        assert game.wait("core.get_node({x = 0, y = 0, z = 0}).name == 'base:stone'")
        assert game.lua(SPAWN)

    return set_in
