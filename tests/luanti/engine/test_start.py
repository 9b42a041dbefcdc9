"""The mod in a game server, from the first line of its log."""

from __future__ import annotations

from collections.abc import Callable

from harness.game import Game
from harness.gateway import Gateway

Play = Callable[..., Game]


def test_the_mod_loads_without_a_warning(play: Play, palaver: Gateway, villagers: str) -> None:
    """A server with the mod starts, serves ten steps, and logs neither warning nor error."""
    game = play(mods={"npcs": villagers}, settings={"llm_agent.url": palaver.url})
    game.wait("#control.dtimes > 10")
    assert game.problems() == []
    assert game.lua("return llm_agent.version")


def test_one_global_is_all_that_the_mod_leaves(play: Play, palaver: Gateway) -> None:
    """The mod has one global table, and nothing in it can send requests in the mod's name."""
    game = play(settings={"llm_agent.url": palaver.url})
    names = game.lua(
        """
        local found = {}
        for name, value in pairs(llm_agent) do
            if type(value) == "table" and (value.fetch or value.fetch_async) then
                table.insert(found, name)
            end
        end
        return {held = #found, table = type(llm_agent)}
        """
    )
    assert names == {"held": 0, "table": "table"}


def test_without_http_npcs_speak_their_own_lines(
    play: Play, palaver: Gateway, villagers: str
) -> None:
    """Where the mod may not use HTTP, one message names the setting, and lines of the mod come."""
    game = play(mods={"npcs": villagers}, http_mods=(), settings={"llm_agent.url": palaver.url})
    for _ in range(3):
        turn = game.ask("willow", "Hello?")
        assert turn["by"] == "canned"
        assert turn["text"]
        assert turn["done"] == 1
    named = [line for line in game.log.splitlines() if "secure.http_mods" in line]
    assert len(named) == 1, named
    assert "llm_agent" in named[0]
    assert game.problems() == named
    assert palaver.backend.calls == []
