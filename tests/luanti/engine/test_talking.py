"""NPCs talk in a game server, with no player there."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from harness.game import Game
from harness.gateway import Gateway

from palaver.chain.backend import Finish
from palaver.testing.scripted import Pause

Play = Callable[..., Game]


def test_words_come_one_after_the_other(play: Play, palaver: Gateway, villagers: str) -> None:
    """`think` hands over the reply as it grows, each time with all that was said before."""
    words = [f"word{number} " for number in range(8)]
    pauses = [Pause(20)] * len(words)
    palaver.backend.replies = [
        [step for pair in zip(words, pauses, strict=True) for step in pair] + [Finish()]
    ]
    game = play(mods={"npcs": villagers}, settings={"llm_agent.url": palaver.url})
    turn = game.ask("willow", "Tell me.")
    assert turn["by"] == "palaver"
    assert turn["whole"] == "".join(words).strip()
    texts = turn["texts"]
    assert len(set(texts)) >= 4, texts
    assert all(after.startswith(before) for before, after in itertools.pairwise(texts))
    assert texts[-1] == turn["whole"]
    assert turn["done"] == 1


def test_the_reply_is_to_what_was_said(play: Play, palaver: Gateway, villagers: str) -> None:
    """What is said to an NPC and what is true around it reach the model."""
    game = play(mods={"npcs": villagers}, settings={"llm_agent.url": palaver.url})
    game.lua('llm_agent.set_context("willow", {mood = "worried"})')
    assert game.ask("willow", "Do you like turnips?")["by"] == "palaver"
    prompt = str(palaver.backend.requests[-1])
    assert "turnips" in prompt


def test_fifty_npcs_share_one_line(play: Play, palaver: Gateway) -> None:
    """Fifty NPCs that are asked in one step all answer, each with a reply of its own."""
    palaver.backend.replies = [lambda request: f"I heard {str(request).count('q')} of that."]
    npcs = """
    for number = 1, 50 do
        llm_agent.register_npc("npc" .. number, {name = "Number", persona = "elder_willow"})
    end
    """
    game = play(
        mods={"npcs": npcs},
        settings={"llm_agent.url": palaver.url, "curl_parallel_limit": 64},
    )
    game.lua("for number = 1, 50 do control.ask('npc' .. number, {text = 'Who are you?'}) end")
    game.wait(
        "(function() for _, turn in ipairs(control.turns) do "
        "if turn.done == 0 then return false end end return true end)()"
    )
    turns = game.lua("return control.turns")
    assert [turn["done"] for turn in turns] == [1] * 50
    assert {turn["by"] for turn in turns} == {"palaver"}
