"""The C++ core on libwebsockets, against the real server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from unreal_harness.cable import Cable
from unreal_harness.game import Game

from palaver.chain.backend import Finish
from palaver.testing.server import RunningServer, running_server

WORDS = [f"word{number} " for number in range(200)]
FACTS = {"hunger": 80, "mood": "sour", "name": "Müller \U0001f9db"}


def port_of(palaver: RunningServer) -> int:
    """The port a server listens on."""
    port = urlsplit(palaver.url).port
    assert port is not None
    return port


async def meet(game: Game, npc: str = "vlad", **fields: Any) -> None:
    """Tell the server of an NPC."""
    await game.do("npc.upsert", npc=npc, persona="vampire", facts=FACTS, **fields)


async def test_a_game_talks(live: Path, palaver_world: Path) -> None:
    """A game gets text, sentences and the end of a turn, in any letters."""
    async with running_server(palaver_world) as palaver, Game(live, port_of(palaver)) as game:
        palaver.backend.replies = [["Grüß Gott. ", "Ich bin \U0001f9db Vlad.", Finish()]]
        await meet(game)
        await game.ask("t1", player="ada", text="Hé \U0001f600")
        done = await game.until("done")
        assert done["ending"] == "completed"
        assert done["text"] == game.text("t1") == "Grüß Gott. Ich bin \U0001f9db Vlad."
        assert done["backend"] == "local"
        assert [s["start"] for s in game.all("sentence")] == [0, 11]
        [request] = palaver.backend.requests
        assert "Hé \U0001f600" in str(request.messages)


async def test_a_cut_loses_and_repeats_nothing(live: Path, palaver_world: Path) -> None:
    """After cuts in the middle of a reply the game has seen each word once, in order."""
    gates = [asyncio.Event() for _ in range(10)]
    reply: list[Any] = []
    for number, gate in enumerate(gates):
        reply += [*WORDS[number * 20 : number * 20 + 20], gate]
    async with (
        running_server(palaver_world) as palaver,
        Cable(port_of(palaver)) as cable,
        Game(live, cable.port) as game,
    ):
        palaver.backend.replies = [[*reply, Finish()]]
        await meet(game)
        await game.ask("t1", text="Count.")
        for number, gate in enumerate(gates):
            seen = "".join(WORDS[: number * 20 + 1]).strip()
            while seen not in game.text("t1"):
                await game.until("delta", turn="t1")
            cable.cut()
            gate.set()
            await game.until("session", fresh=False)
        done = await game.until("done", turn="t1")
        assert done["ending"] == "completed"
        assert game.text("t1").split() == [word.strip() for word in WORDS]
        assert len(game.all("accepted")) == 1
        assert len(game.all("done")) == 1
        assert cable.taken == 11
        assert len(palaver.backend.calls) == 1


async def test_what_is_asked_during_a_cut_arrives_once(live: Path, palaver_world: Path) -> None:
    """Turns that are asked for while the cable is out are answered once when it is back."""
    async with (
        running_server(palaver_world) as palaver,
        Cable(port_of(palaver)) as cable,
        Game(live, cable.port) as game,
    ):
        await meet(game)
        await game.ask("t1", text="One.")
        await game.until("done", turn="t1")
        cable.cut()
        await game.until("phase", phase="waiting")
        for number in range(2, 6):
            await game.ask(f"t{number}", text=f"Number {number}.")
        ends = [await game.until("done") for _ in range(4)]
        assert {end["turn"]: end["ending"] for end in ends} == {
            f"t{number}": "completed" for number in range(2, 6)
        }
        assert len(palaver.backend.calls) == 5


async def test_an_interruption_tells_what_was_heard(live: Path, palaver_world: Path) -> None:
    """After a barge-in the server remembers the beginning that was heard, and no more."""
    held = asyncio.Event()
    async with running_server(palaver_world) as palaver, Game(live, port_of(palaver)) as game:
        palaver.backend.replies = [
            ["Ünder the castle lies gold. ", held, "Never.", Finish()],
            ["As I said.", Finish()],
        ]
        await meet(game)
        await game.ask("t1", player="ada", text="Where?")
        while "gold" not in game.text("t1"):
            await game.until("delta", turn="t1")
        await game.do("turn.cancel", turn="t1", heard="Ünder the castle")
        done = await game.until("done", turn="t1")
        assert done["ending"] == "cancelled"
        held.set()
        await game.ask("t2", player="ada", text="What?")
        assert (await game.until("done", turn="t2"))["ending"] == "completed"
        told = str(palaver.backend.requests[-1].messages)
        assert "Ünder the castle" in told
        assert "gold" not in told


async def test_a_restarted_server_is_told_everything_again(live: Path, palaver_world: Path) -> None:
    """After a restart the NPC is there with its facts, and the game talks on."""
    async with Cable(None) as cable:
        async with running_server(palaver_world) as first:
            cable.target = port_of(first)
            game = Game(live, cable.port)
            await game.__aenter__()
            try:
                await meet(game)
                await game.do("facts.update", npc="vlad", set={"hunger": 7}, unset=["mood"])
                await game.ask("t1", text="One.")
                await game.until("done", turn="t1")
                session = game.all("session")[0]["session"]
                # A turn that the old server had begun is lost with it, and says so.
                held = asyncio.Event()
                first.backend.replies = [["Half ", held, Finish()]]
                await game.ask("t2", text="Two.")
                await game.until("delta", turn="t2")
                cable.target = None
                cable.cut()
                await game.until("phase", phase="waiting")
                held.set()
            except BaseException:
                await game.__aexit__()
                raise
        try:
            async with running_server(palaver_world) as second:
                cable.target = port_of(second)
                lost = await game.until("done", turn="t2")
                assert (lost["ending"], lost["code"], lost["text"]) == ("failed", "lost", "Half")
                assert (await game.until("session", fresh=True))["session"] != session
                await game.ask("t3", text="Three.")
                assert (await game.until("done", turn="t3"))["ending"] == "completed"
                facts = second.gateway.games["default"].npcs["vlad"].facts
                assert facts["hunger"] == 7
                assert facts["name"] == FACTS["name"]
                assert "mood" not in facts
        finally:
            await game.__aexit__()


async def test_an_action_waits_for_the_games_word(live: Path, palaver_world: Path) -> None:
    """What is said behind an action comes when the game accepts it."""
    give = {"name": "give_item", "args": {"type": "object"}, "confirm": True, "confirm_ms": 5_000}
    async with running_server(palaver_world) as palaver, Game(live, port_of(palaver)) as game:
        palaver.backend.replies = [["Let me see. ", '<do give_item {"item": "ring"}>', "Here."]]
        await meet(game)
        await game.do("actions.set", actions=[give])
        await game.ask("t1", player="ada", text="May I have a ring?")
        action = await game.until("action", turn="t1")
        assert (action["name"], action["args"]) == ("give_item", {"item": "ring"})
        assert action["confirm"]
        await game.do("action.result", turn="t1", call=action["call"], ok=True)
        # Twice is once too often; the game is told, and the server is not.
        await game.do("action.result", turn="t1", call=action["call"], ok=False)
        done = await game.until("done", turn="t1")
        assert done["text"] == "Let me see. Here."
        assert len(game.all("error", code="refused")) == 1


async def test_without_a_server_the_game_speaks_itself(live: Path) -> None:
    """Where nobody listens, a canned line is said, and the turn ends as any other."""
    async with Cable(None) as cable, Game(live, cable.port) as game:
        await game.do("canned", npc="vlad", line="Not now.")
        await game.do("turn.start", turn="t1", npc="vlad", text="Hello?")
        await game.do("turn.start", turn="t2", npc="mina", text="Hello?")
        ends = {end["turn"]: end for end in [await game.until("done"), await game.until("done")]}
        assert ends["t1"]["ending"] == "local"
        assert ends["t1"]["text"] == game.text("t1") == "Not now."
        assert ends["t2"]["ending"] == "failed"
        assert ends["t2"]["code"] == "away"


async def test_a_refusal_ends_the_turn(live: Path, palaver_world: Path) -> None:
    """A turn with an NPC that nobody knows ends with the server's reason."""
    async with running_server(palaver_world) as palaver, Game(live, port_of(palaver)) as game:
        await game.do("turn.start", turn="t1", npc="nobody", text="Hello?")
        done = await game.until("done", turn="t1")
        assert (done["ending"], done["code"]) == ("failed", "unknown_npc")


async def test_a_wrong_token_is_final(live: Path, palaver_world: Path) -> None:
    """A client that the server does not want does not knock again."""
    tokens = {"server.tokens": [{"role": "engine", "sha256": "41" * 32}]}
    async with running_server(palaver_world, overrides=tokens) as palaver:
        async with Cable(port_of(palaver)) as cable, Game(live, cable.port, token="wrong") as game:
            await game.until("phase", phase="over")
            assert game.all("error")[0]["code"] == "unauthorized"
            assert cable.taken == 1
