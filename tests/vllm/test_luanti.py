"""A character in the real game speaks with the words of the real model."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from palaver.testing.fake_vllm_lab import free_port

# The helpers that start the game stand beside its own tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "luanti"))

from harness.game import Game
from harness.gateway import Served
from harness.programs import find_server

KEY_ENV = "PALAVER_TEST_VLLM_KEY"
COUNT = """\
for number = 1, 5 do
    llm_agent.register_npc("count" .. number, {name = "Vlad", persona = "vampire"})
end
"""
ASK_ALL = """\
for number = 1, 5 do
    control.ask("count" .. number, {text = "What do you want of me tonight?"})
end
"""
ALL_DONE = """\
(function()
    for _, turn in ipairs(control.turns) do
        if turn.done == 0 then return false end
    end
    return #control.turns == 5
end)()"""
# A machine without a graphics card may take its time.
PATIENT = {"llm_agent.first_words_s": 60, "llm_agent.turn_s": 120, "llm_agent.npc_talks": "false"}


def test_a_character_in_the_game_speaks_with_the_real_model(
    server: Any, world: Path, tmp_path: Path
) -> None:
    """Five vampires are asked in one step, and each answers word by word, by the model itself."""
    program = find_server()
    if isinstance(program, str):
        pytest.skip(program)
    plugins = {"PALAVER_PLUGINS": "luanti,prompts,static,vllm"}
    trusted = {"PALAVER_CONFIG_DIR": str(world.parent / "config"), KEY_ENV: os.environ[KEY_ENV]}
    with (
        Served(world, free_port(), tmp_path, **plugins, **trusted) as palaver,
        Game(
            program,
            tmp_path,
            mods={"count": COUNT},
            settings={"llm_agent.url": palaver.url, **PATIENT},
        ) as game,
    ):
        game.lua(ASK_ALL)
        game.wait(ALL_DONE, 120)
        turns = game.lua("return control.turns")
    assert [turn["done"] for turn in turns] == [1] * 5
    assert {turn["by"] for turn in turns} == {"palaver"}, turns
    assert {turn["served_by"]["backend"] for turn in turns} == {"local"}, turns
    for turn in turns:
        assert turn["whole"]
        pairs = itertools.pairwise(turn["texts"])
        assert all(after.startswith(before) for before, after in pairs)
    assert any(len(set(turn["texts"])) > 2 for turn in turns), "no reply grew word by word"
