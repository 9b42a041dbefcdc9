"""The engine's traps that kill servers and starve mods: the mod steps into none of them.

`test_input.py` has those of the JSON writer, `test_away.py` that of the JSON reader.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from harness.game import MOD, Game
from harness.gateway import Gateway, Recorder, forward

from palaver.chain.backend import Finish

Play = Callable[..., Game]
OPEN = """(function()
    local open = 0
    for _, turn in ipairs(control.turns) do
        if turn.done == 0 then
            open = open + 1
        end
    end
    return open
end)()"""
SETTLED = """(function()
    local stats = llm_agent.status().stats
    return stats.asked == stats.answered + stats.canned + stats.cancelled
end)()"""
BYSTANDER = """
-- A mod that minds its own business, with HTTP of its own.
local http = core.request_http_api()
bystander = {answers = 0}
function bystander.fetch(method, url, data)
    http.fetch({url = url, method = method, data = data, timeout = 30}, function(result)
        bystander.answers = bystander.answers + 1
        bystander.code, bystander.data = result.code, result.data
    end)
end
"""
BOTH = ("llm_agent", "bystander")


def version(game: Game) -> tuple[int, ...]:
    """The engine's version."""
    return tuple(map(int, game.program.version.split(".")))


def test_another_mod_used_put(play: Play, palaver: Gateway, villagers: str) -> None:
    """Trap 1: after another mod's PUT, older engines send the mod's POST as PUT; it talks on."""
    with (
        Recorder(lambda _: (200, "text/plain", b"ok")) as other,
        Recorder(forward(palaver.url)) as between,
    ):
        game = play(
            mods={"npcs": villagers, "bystander": BYSTANDER},
            http_mods=BOTH,
            settings={"llm_agent.url": between.url},
        )
        assert game.ask("willow", "Hello?")["by"] == "palaver"
        # As many at once as there are handles in the pool.
        game.lua(f"for _ = 1, 8 do bystander.fetch('PUT', '{other.url}/', 'x') end")
        game.wait("bystander.answers == 8")
        already = len(between.seen)
        assert game.ask("willow", "And now?")["by"] == "palaver"
        methods = {request["method"] for request in between.seen[already:]}
        # The trap is there in this engine, or the test shows nothing.
        assert methods == ({"PUT"} if version(game) < (5, 9) else {"POST"})


def test_every_request_has_a_body(play: Play, palaver: Gateway, villagers: str) -> None:
    """Traps 2, 5, 8: requests have a JSON body and a type, ids are text, addresses no secrets."""
    with Recorder(forward(palaver.url)) as between:
        game = play(
            mods={"npcs": villagers},
            settings={
                "llm_agent.url": between.url,
                "llm_agent.token": "hunter2hunter2",
                "debug_log_level": "verbose",
            },
        )
        for text in ("Hello?", "And you?"):
            assert game.ask("willow", text)["by"] == "palaver"
        assert between.seen
        for request in between.seen:
            assert request["method"] == "POST"
            assert request["headers"]["Content-Type"] == "application/json"
            assert request["headers"]["Authorization"] == "Bearer hunter2hunter2"
            assert "hunter2" not in request["path"]
            body = json.loads(request["body"])
            assert isinstance(body, dict)
            for message in body.get("messages") or []:
                ids = [message.get(name) for name in ("npc", "turn", "player", "call")]
                assert all(isinstance(value, str | None) for value in ids), message
        # The engine writes every address into its log, and players' admins share logs.
        assert "hunter2" not in game.log


RAISING = """
local function raise() error("this mod has a mistake") end
llm_agent.register_npc("broken", {
    name = "Broken", persona = "alchemist", facts = raise, greeting = "Hello.",
    actions = {"break_it"},
})
llm_agent.register_action("break_it", {
    description = "Breaks it.", args = {type = "object", properties = {}}, run = raise,
})
function ask_broken()
    control.broken = control.broken or {}
    return llm_agent.think("broken", {text = "Hello?", on_text = raise, on_done = raise})
end
"""


def test_an_error_in_a_callback_stops_nothing(play: Play, palaver: Gateway, villagers: str) -> None:
    """Trap 3: functions that other mods hand in may raise; the server and the turns go on."""
    palaver.backend.replies = ["I will. <do break_it> And so on."]
    game = play(
        mods={"npcs": villagers, "broken": RAISING}, settings={"llm_agent.url": palaver.url}
    )
    for _ in range(3):
        game.lua("ask_broken()")
        game.wait(SETTLED)
    game.wait_log("this mod has a mistake")
    assert game.alive()
    assert game.ask("willow", "Are you well?")["by"] == "palaver"
    # Once for each mistake, not once for each step.
    assert game.log.count("this mod has a mistake") < 20


def test_other_mods_get_their_share_of_requests(play: Play, palaver: Gateway) -> None:
    """Trap 6: while fifty NPCs wait, other mods get through: of eight requests six are used."""
    npcs = """
    for number = 1, 50 do
        llm_agent.register_npc("npc" .. number, {name = "Number", persona = "elder_willow"})
    end
    """
    never = palaver.on_loop(asyncio.Event)
    palaver.backend.replies = [["Well, ", never, "nothing.", Finish()]]
    with (
        Recorder(lambda _: (200, "text/plain", b"ok")) as other,
        Recorder(forward(palaver.url)) as between,
    ):
        game = play(
            mods={"npcs": npcs, "bystander": BYSTANDER},
            http_mods=BOTH,
            settings={"llm_agent.url": between.url, "llm_agent.turn_s": 8},
        )
        game.lua("for number = 1, 50 do control.ask('npc' .. number, {text = 'Well?'}) end")
        game.lua(f"bystander.fetch('GET', '{other.url}/', nil)")
        game.wait("bystander.answers == 1")
        # It did not wait until the fifty were done.
        assert game.lua(f"return {OPEN}") > 0
        game.wait(f"{OPEN} == 0")
        assert between.most <= 6
        turns = game.lua("return control.turns")
        assert [turn["done"] for turn in turns] == [1] * 50
        palaver.on_loop(never.set)


def test_the_address_is_a_number_by_default() -> None:
    """Trap 7: a host's name could block the engine's requests; by default there is none."""
    rows = (MOD / "settingtypes.txt").read_text(encoding="utf-8").splitlines()
    url = next(row for row in rows if row.startswith("llm_agent.url "))
    assert "http://127.0.0.1:8765" in url


@pytest.mark.parametrize("seconds", ["0", "-3", "1e9", "soon", ""])
def test_wrong_settings_are_told(
    play: Play, palaver: Gateway, villagers: str, seconds: str
) -> None:
    """A setting that cannot be used is told with its name, and the default counts."""
    game = play(
        mods={"npcs": villagers},
        settings={"llm_agent.url": palaver.url, "llm_agent.wait_ms": seconds},
    )
    assert game.ask("willow", "Hello?")["by"] == "palaver"
    if seconds:
        assert any("llm_agent.wait_ms" in line for line in game.problems())


def test_the_server_stops_while_npcs_talk(play: Play, palaver: Gateway, villagers: str) -> None:
    """A server that is stopped in the middle of a reply ends well, and Palaver forgets it."""
    never = palaver.on_loop(asyncio.Event)
    palaver.backend.replies = [["Well, ", never, "nothing.", Finish()]]
    game = play(mods={"npcs": villagers}, settings={"llm_agent.url": palaver.url})
    game.begin("willow", "Tell me.")
    game.wait("control.turns[1].text and true")
    assert game.stop() == 0
    palaver.on_loop(never.set)
