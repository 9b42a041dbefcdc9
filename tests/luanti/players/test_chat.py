"""Players who chat near NPCs: real clients without a window."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.game import Game, lua_string
from harness.gateway import Gateway
from harness.players import Player

from palaver.chain.backend import Finish

Join = Callable[[Game, str], Player]
Village = Callable[..., Game]
Spawn = Callable[[Game], None]
STORY = (
    "The well was dug by seven sisters, and each of them sang. Two of the songs are still down "
    "there. Listen at noon!"
)


def test_an_npc_answers_in_chat(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """Who says something near an NPC reads its answer in the chat, in whole sentences, once."""
    palaver.backend.replies = [STORY]
    game = village()
    bob = join(game, "bob")
    spawn(game)
    bob.say("Hello Willow, who dug the well?")
    bob.wait_heard("Listen at noon!")
    told = [line for line in bob.heard if line.startswith("<Elder Willow>")]
    said = " ".join(line.removeprefix("<Elder Willow> ") for line in told)
    assert said == STORY
    assert all(line[-1] in ".!?" for line in told), told
    # The player's own line is there too, as in any game.
    assert [line for line in bob.heard if line.startswith("<bob>")]
    assert "who dug the well" in str(palaver.backend.requests[-1])
    assert game.problems() == []


def test_the_words_stand_above_the_npc(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """What an NPC says grows above its head, and goes away again."""
    held = palaver.on_loop(asyncio.Event)
    palaver.backend.replies = [["Well met, ", held, "traveller.", Finish()]]
    game = village()
    bob = join(game, "bob")
    spawn(game)
    bob.say("Hello?")
    label = "bodies.elder_willow:get_properties().nametag"
    game.wait(f"{label}:find('Well met,') and not {label}:find('traveller')")
    palaver.on_loop(held.set)
    game.wait(f"{label}:find('traveller') and true")
    game.wait(f"{label} == 'Elder Willow'")


def test_two_players_hear_each_other_answered(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """Two players speak to one NPC at once: each gets an answer, and both read both."""
    palaver.backend.replies = [
        lambda request: (
            "Apples, then." if "apples" in request.messages[-1].content.lower() else "Bread, then."
        )
    ]
    game = village()
    bob, eve = join(game, "bob"), join(game, "eve")
    spawn(game)
    bob.say("Any apples?")
    eve.say("Any bread?")
    for player in (bob, eve):
        player.wait_heard("Apples, then.")
        player.wait_heard("Bread, then.")


def test_a_player_leaves_in_the_middle(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """A player who leaves while the NPC speaks takes nothing along: it talks to the next one."""
    never = palaver.on_loop(asyncio.Event)
    palaver.backend.replies = [["Long ago, ", never, "it was.", Finish()], "Welcome, Eve."]
    game = village()
    bob, eve = join(game, "bob"), join(game, "eve")
    spawn(game)
    bob.say("Tell me a story.")
    game.wait("bodies.elder_willow:get_properties().nametag:find('Long ago') and true")
    bob.leave()
    # The gateway is told, and stops paying for words that nobody reads.
    game.wait("#control.dtimes > 0")
    call = palaver.backend.calls[0]
    from harness.waiting import wait_for

    wait_for(lambda: call.outcome == "closed", "the generation to be stopped")
    eve.say("Hello, Willow!")
    eve.wait_heard("Welcome, Eve.")
    assert game.problems() == []


def test_the_plug_is_pulled(village: Village, palaver: Gateway, join: Join, spawn: Spawn) -> None:
    """A client that dies in the middle of a reply changes nothing for the others."""
    game = village()
    bob, eve = join(game, "bob"), join(game, "eve")
    spawn(game)
    bob.say("Hello Willow!")
    bob.cut()
    eve.say("Hello Willow!")
    eve.wait_heard("<Elder Willow> Good evening.")
    assert game.alive()


def test_the_npc_is_gone_in_the_middle(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """An NPC that is taken away while it speaks falls silent, and Lua raises nothing."""
    held = palaver.on_loop(asyncio.Event)
    palaver.backend.replies = [["Long ago, ", held, "it was.", Finish()]]
    game = village()
    bob = join(game, "bob")
    spawn(game)
    bob.say("Tell me a story.")
    game.wait("bodies.elder_willow:get_properties().nametag:find('Long ago') and true")
    game.lua("bodies.elder_willow:remove()")
    palaver.on_loop(held.set)
    game.wait(
        "#llm_agent.status().stats and llm_agent.status().stats.asked == "
        "llm_agent.status().stats.answered + llm_agent.status().stats.cancelled "
        "+ llm_agent.status().stats.canned"
    )
    assert game.alive()
    assert game.problems() == []


def test_more_lines_than_a_player_may_say(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """Traps 9, 10: twenty sentences arrive, each once, though players may say eight in 10 s."""
    sentences = [f"This is the {n}th thing that you should know of the well." for n in range(20)]
    palaver.backend.replies = [" ".join(sentences)]
    game = village(**{"llm_agent.chars_per_s": 200})
    bob = join(game, "bob")
    spawn(game)
    bob.say("Tell me everything, Willow.")
    bob.wait_heard("19th thing")
    told = [line for line in bob.heard if line.startswith("<Elder Willow>")]
    assert len(told) > 8
    assert " ".join(line.removeprefix("<Elder Willow> ") for line in told) == " ".join(sentences)


TYPED = {
    "json": '{"type": "turn.done"}',
    "formspec": "]button[0,0;9,9;quit;x];[\\;\\] \\",
    "hypertext": "<global size=99><img name=x.png> \\<b>",
    "colours": "\x1b(c@#ff0000)red\x1bE",
    "long": "x" * 450,
    "percent": "%s%d%1%%",
    "unicode": "Grüße, 你好, \U0001f409",
}


def test_players_type_what_they_like(
    village: Village, palaver: Gateway, join: Join, spawn: Spawn
) -> None:
    """Whatever is typed into chat and dialogue, the answer comes, and forms stay whole."""
    fast = {"llm_agent.chars_per_s": 200, "llm_agent.cooldown_s": 0}
    game = village(chat_message_limit_per_10sec=1000, **fast)
    bob = join(game, "bob")
    spawn(game)
    game.lua(FORMS)
    count = 0
    for name, text in TYPED.items():
        bob.say(text)
        count += 1
        bob.wait_heard("<Elder Willow> Good evening.", count)
        game.lua(f"say_in_dialogue({lua_string(text)})")
        game.wait("not forms.last:find('button%[[^%]]*;stop;') and forms.answered()")
        shape = game.lua("local shape = forms.shape() leave_dialogue() return shape")
        assert shape == game.lua("return forms.plain"), name
    assert game.problems() == []


FORMS = r"""
-- What players are shown; the names of its elements, with all that is escaped taken out.
forms = {}
local original = core.show_formspec
function core.show_formspec(player, name, form)
    forms.last, forms.count = form, (forms.count or 0) + 1
    return original(player, name, form)
end
function forms.shape()
    local names = {}
    local bare = forms.last:gsub("\\.", "")
    for name in bare:gmatch("([%w_]+)%[") do
        table.insert(names, name)
    end
    return table.concat(names, " ")
end
local bob = core.get_player_by_name("bob")
bodies.elder_willow:get_luaentity():on_rightclick(bob)
forms.plain = forms.shape()
function say_in_dialogue(text)
    forms.asked = llm_agent.status().stats.asked
    bodies.elder_willow:get_luaentity():on_rightclick(bob)
    for _, fn in ipairs(core.registered_on_player_receive_fields) do
        if fn(bob, "llm_agent:dialogue", {said = text, key_enter_field = "said"}) then
            break
        end
    end
end
function leave_dialogue()
    for _, fn in ipairs(core.registered_on_player_receive_fields) do
        if fn(bob, "llm_agent:dialogue", {quit = "true"}) then
            break
        end
    end
end
leave_dialogue()
function forms.answered()
    local stats = llm_agent.status().stats
    return stats.asked > forms.asked
        and stats.asked == stats.answered + stats.canned + stats.cancelled
end
"""
