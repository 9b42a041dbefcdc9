"""One player with a window: what is on the screen, as pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from harness.game import Game
from harness.gateway import Gateway
from harness.screen import Screen

from palaver.chain.backend import Finish

Village = Callable[..., Game]
Spawn = Callable[[Game], None]
CHAT = "1024x120+0+0"
ALL = "1024x640+0+0"
LABEL = "bodies.elder_willow:get_properties().nametag"
# Whether the form in front of the player says that somebody speaks.
FORMS = """
forms = {}
local original = core.show_formspec
function core.show_formspec(player, name, form)
    forms.last = form
    return original(player, name, form)
end
function forms.speaking()
    return forms.last:find("Enough", 1, true) ~= nil
end
"""


def test_bubble_chat_and_dialogue_are_seen(
    village: Village, palaver: Gateway, spawn: Spawn, tmp_path: Path, pictures: Path
) -> None:
    """The bubble grows, the chat has the words, a click opens the dialogue, and it answers."""
    half, all_of_it = palaver.on_loop(asyncio.Event), palaver.on_loop(asyncio.Event)
    story = ["Seven sisters dug this well. ", half, "Two of them still sing.", Finish()]
    palaver.backend.replies = [story, ["Of course, ", all_of_it, "my dear.", Finish()]]
    game = village()
    with Screen(game, "alice", tmp_path, pictures) as screen:
        spawn(game)
        game.wait("bodies.elder_willow:get_pos().y < 0.6")
        start = screen.picture("start")
        assert start.colours() > 20

        # The chat window opens at its own pace, and keys before that are steps.
        screen.key("t")
        before = screen.wait_picture("typing", like=start, pixels=2_000, area=CHAT)
        assert before.colours() > 20
        screen.write("Who dug the well, Willow?")
        screen.key("Return")
        game.wait(f"{LABEL}:find('this well') and true")
        bubble = screen.wait_picture("bubble", like=start, pixels=500, area=ALL)
        palaver.on_loop(half.set)
        game.wait(f"{LABEL}:find('sing') and true")
        grown = screen.wait_picture("bubble-grown", like=bubble, pixels=200, area=ALL)
        game.wait("control.chat[#control.chat].text:find('still sing') and true")
        screen.wait_picture("chat", like=start, pixels=300, area=CHAT)

        game.lua(FORMS)
        screen.click(3)
        form = screen.wait_picture("dialogue", like=grown, pixels=50_000, area=ALL)
        screen.write("May I drink?")
        screen.key("Return")
        game.wait(f"{LABEL}:find('Of course') and true")
        speaking = screen.wait_picture("dialogue-speaking", like=form, pixels=300, area=ALL)
        palaver.on_loop(all_of_it.set)
        game.wait(f"{LABEL}:find('my dear') and true")
        game.wait("llm_agent.status().stats.answered == 2 and not forms.speaking()")
        screen.wait_picture("dialogue-answered", like=speaking, pixels=200, area=ALL)
        screen.key("Escape")
    assert "May I drink?" in str(palaver.backend.requests[-1])
    assert game.problems() == []
