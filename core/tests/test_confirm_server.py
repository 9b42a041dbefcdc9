"""Actions that the game confirms, between a real server and the Python client."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

import palaver
from palaver.chain.backend import Finish
from palaver.client import Client, ClientTurn
from palaver.messages import ActionSpec, TurnAction, TurnDelta, TurnDone
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world

GIVE = '<do give_item {"item": "bread"}>'
LOOK: list[Any] = ["Let me see. ", GIVE, "Enjoy it!", Finish()]
ITEM = {"type": "object", "properties": {"item": {"type": "string"}}}
CONFIRM: dict[str, Any] = {"confirm": True, "confirm_ms": 5_000}
ACTIONS: list[dict[str, Any]] = [
    {"name": "give_item", "description": "Gives something.", "args": ITEM, **CONFIRM},
    {"name": "follow", "description": "Follows.", **CONFIRM},
    {"name": "hurry", "description": "Hurries.", "confirm": True, "confirm_ms": 100},
    {"name": "bow", "description": "Bows."},
]
CACHED = {"tiers.elite.cache": {"variants": 1}}


@asynccontextmanager
async def playing(
    tmp_path: Path, *replies: Any, overrides: Mapping[str, Any] | None = None, **connect: Any
) -> AsyncIterator[tuple[RunningServer, Client]]:
    """A server whose model gives these replies, and a client with an NPC that can act."""
    world = write_world(tmp_path / "world")
    backend = ScriptedBackend("local", *replies)
    async with (
        asyncio.timeout(60),
        running_server(world, backend=backend, overrides=overrides) as server,
        palaver.connect(server.url, **connect) as client,
    ):
        await client.upsert_npc("vlad", persona="vampire")
        await client.set_actions(ACTIONS)
        be_patient(server)
        yield server, client


def be_patient(server: RunningServer) -> None:
    """Let the game take as long as a busy machine wants, where it is to answer."""
    game = server.gateway.games["default"]
    game.actions = {
        name: dataclasses.replace(action, confirm_ms=60_000) if name != "hurry" else action
        for name, action in game.actions.items()
    }


async def acts(turn: ClientTurn) -> TurnAction:
    """Return the next action of a turn."""
    async for event in turn:
        if isinstance(event, TurnAction):
            return event
    raise AssertionError("it does nothing more")


async def rest(turn: ClientTurn) -> str:
    """Return the text that is still to come."""
    return "".join([event.text async for event in turn if isinstance(event, TurnDelta)])


async def test_the_game_accepts(tmp_path: Path) -> None:
    """Nothing comes behind the action until the client has answered; then the line goes on."""
    async with playing(tmp_path, LOOK) as (server, client):
        turn = await client.say("vlad", "Bread, please.", player="ada")
        action = await acts(turn)
        assert (action.name, action.args) == ("give_item", {"item": "bread"})
        await (await server.backend.called()).ended.wait()
        await client.ping()
        assert not turn.is_over
        await turn.action_result(action.call, ok=True)
        assert await rest(turn) == " Enjoy it!"
        done = await turn.done()
        assert done.text == "Let me see. Enjoy it!"
        assert (done.status, len(done.trail)) == ("completed", 1)
        [told] = server.gateway.recent.last(1)
        assert told["game_ms"] > 0


async def test_the_game_refuses(tmp_path: Path) -> None:
    """The model learns why, and the player hears nothing of what did not happen."""
    waits: list[Any] = ["Let me see. ", GIVE, "Enjoy it!", asyncio.Event()]
    async with playing(tmp_path, waits, "There is none left.") as (server, client):
        turn = await client.say("vlad", "Bread, please.", player="ada")
        action = await acts(turn)
        await turn.action_result(action.call, ok=False, message="no bread left")
        assert await rest(turn) == " There is none left."
        done = await turn.done()
        assert done.text == "Let me see. There is none left."
        assert done.status == "completed"
        assert [entry.outcome for entry in done.trail] == ["served", "served"]
        assert done.trail[0].reason == "the game refused give_item: no bread left"
        first, second = server.backend.calls
        assert first.closed_early
        assert "no bread left" in second.request.messages[-1].content
        again = await client.say("vlad", "Really?", player="ada")
        await again.done()
        asked = server.backend.requests[-1]
        assert any("There is none left." in message.content for message in asked.messages)
        assert not any("Enjoy" in message.content for message in asked.messages)


async def test_the_game_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After `confirm_ms` it counts as refused; the answer that comes too late does no harm."""
    caplog.set_level(logging.DEBUG, "palaver.session")
    replies: list[Any] = [["Let me see. ", "<do hurry>", "There!", Finish()], "Another time."]
    async with playing(tmp_path, *replies) as (_, client):
        turn = await client.say("vlad", "Hurry!", player="ada")
        action = await acts(turn)
        assert await rest(turn) == " Another time."
        await turn.action_result(action.call, ok=True)
        await turn.action_result("nobody knows", ok=False)
        await client.tell("action.result", turn="nobody", call="t1.1", ok=True)
        assert [one.levelname for one in caplog.records if "waits" in one.message] == ["DEBUG"] * 3
        done = await turn.done()
        assert "did not answer to hurry" in (done.trail[0].reason or "")


async def test_repeated_answers(tmp_path: Path) -> None:
    """The first answer to a call counts; others to it change nothing, whatever they say."""
    async with playing(tmp_path, LOOK) as (_, client):
        turn = await client.say("vlad", "Bread, please.", player="ada")
        action = await acts(turn)
        await turn.action_result("t1.99", ok=False, message="another call")
        await turn.action_result(action.call, ok=True)
        await turn.action_result(action.call, ok=False)
        assert await turn.text() == "Let me see. Enjoy it!"


async def test_a_turn_is_cancelled_while_the_game_thinks(tmp_path: Path) -> None:
    """The wait ends at once, and only what was shown is the turn's text."""
    async with playing(tmp_path, LOOK) as (_, client):
        turn = await client.say("vlad", "Bread, please.", player="ada")
        action = await acts(turn)
        await turn.cancel(heard="Let me")
        done = await turn.done()
        assert (done.status, done.text) == ("cancelled", "Let me see.")
        assert [entry.reason for entry in done.trail] == ["the turn was cancelled"]
        await turn.action_result(action.call, ok=True)
        assert (await turn.done()).text == "Let me see."


async def test_the_answer_comes_over_another_connection(palaver_server: RunningServer) -> None:
    """A session that was cut and resumed answers as if nothing had happened."""
    palaver_server.backend.replies = [LOOK]
    engine = await palaver_server.engine()
    ready = await engine.start(capabilities=["action"])
    await engine.send({"type": "npc.upsert", "npc": "vlad", "persona": "vampire"})
    await engine.send({"type": "actions.set", "actions": ACTIONS})
    await engine.ping()
    be_patient(palaver_server)
    await engine.send({"type": "turn.start", "turn": "t1", "npc": "vlad", "text": "Bread?"})
    action = await engine.until("turn.action")
    other = await engine.another()
    engine.cut()
    resumed = await other.resume(ready["session"], action["seq"])
    assert resumed["type"] == "session.resumed"
    await other.send({"type": "action.result", "turn": "t1", "call": action["call"], "ok": True})
    done = await other.finish("t1")
    assert done["text"] == "Let me see. Enjoy it!"


async def test_an_action_of_a_turn_with_the_longest_id(tmp_path: Path) -> None:
    """The id of a call is longer than that of its turn, and can be answered all the same."""
    async with playing(tmp_path, LOOK) as (_, client):
        turn = await client.say("vlad", "Bread, please.", turn="t" * 128)
        action = await acts(turn)
        await turn.action_result(action.call, ok=True)
        assert await turn.text() == "Let me see. Enjoy it!"


async def test_who_never_sees_an_action_is_offered_none(tmp_path: Path) -> None:
    """Where nobody could carry it out, the model is not told of it, and one is not waited for."""
    async with playing(tmp_path, LOOK, capabilities=["sentence"]) as (server, client):
        turn = await client.say("vlad", "Bread, please.", player="ada")
        assert await turn.text() == "Let me see. Enjoy it!"
        assert list(server.backend.requests[0].turn.actions) == ["bow"]
        assert [one["name"] for one in server.backend.requests[0].turn.variables["actions"]] == [
            "bow"
        ]


async def test_over_http_nobody_is_waited_for(tmp_path: Path) -> None:
    """Who reads a stream of events sees the action, and cannot answer: the line goes on."""
    other = ["Here it is. ", GIVE, "Eat!", Finish()]
    async with playing(tmp_path, LOOK, other) as (server, _), aiohttp.ClientSession() as http:
        asked = {"npc": "vlad", "text": "Bread, please."}
        events = {"Accept": "text/event-stream"}
        url = f"{server.http_url}/v1/turns"
        async with http.post(url, json=asked, headers=events) as answer:
            text = await answer.text()
        assert '"type":"turn.action"' in text
        assert '"text":"Let me see. Enjoy it!"' in text
        async with http.post(url, json=asked) as answer:
            assert (await answer.json())["text"] == "Here it is. Eat!"


async def test_a_players_client_is_not_waited_for(tmp_path: Path) -> None:
    """A player's token may not answer for the game, so the line goes on."""
    digests = [hashlib.sha256(token.encode()).hexdigest() for token in ("engine", "ada's")]
    ada = {"role": "player", "sha256": digests[1], "player": "ada"}
    overrides = {"server.tokens": [{"role": "engine", "sha256": digests[0]}, ada]}
    async with (
        playing(tmp_path, LOOK, overrides=overrides, token="engine") as (server, _),
        palaver.connect(server.url, token="ada's") as player,
    ):
        turn = await player.say("vlad", "Bread, please.", player="ada")
        assert (await acts(turn)).name == "give_item"
        assert await turn.text() == "Let me see. Enjoy it!"


async def test_a_chat_in_the_terminal_plays_the_game(tmp_path: Path) -> None:
    """`palaver chat` shows what an NPC does in a running game, where all of it succeeds."""
    async with playing(tmp_path, LOOK) as (server, _):
        say = ["--npc", "vlad", "--say", "Bread, please.", "--json"]
        chat = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "palaver", "chat", "--url", server.url, "--game", "default"),
            *say,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await chat.communicate()
        kinds = [json.loads(line)["type"] for line in out.splitlines()]
        assert kinds.count("turn.action") == 1
        assert json.loads(out.splitlines()[-1])["text"] == "Let me see. Enjoy it!"


async def heard(client: Client, player: str, *, ok: bool | None) -> TurnDone:
    """Greet, answer the action if there is one, and return the end."""
    turn = await client.say("vlad", "Good evening.", player=player)
    if ok is not None:
        await turn.action_result((await acts(turn)).call, ok=ok, message="too dark")
    return await turn.done()


async def test_a_cached_reply_waits_too(tmp_path: Path) -> None:
    """What a model said before is said again only as far as the game lets it come true."""
    follow = ["Come. ", "<do follow>", "I am right behind you.", Finish()]
    replies = [follow, "I dare not.", "Good night."]
    async with playing(tmp_path, *replies, overrides=CACHED) as (server, client):
        first = await heard(client, "p1", ok=True)
        assert (first.text, first.cached) == ("Come. I am right behind you.", False)
        second = await heard(client, "p2", ok=True)
        assert (second.text, second.cached) == ("Come. I am right behind you.", True)
        third = await heard(client, "p3", ok=False)
        assert (third.text, third.cached) == ("Come. I dare not.", False)
        assert [(one.backend, one.outcome) for one in third.trail] == [
            ("cache", "served"),
            ("local", "served"),
        ]
        assert third.trail[0].reason == "the game refused follow: too dark"
        assert third.served_by.backend == "local"
        assert "too dark" in server.backend.requests[1].messages[-1].content
        # Neither is the reply to a refusal kept, nor the one that was refused taken away.
        fourth = await heard(client, "p4", ok=True)
        assert (fourth.text, fourth.cached) == ("Come. I am right behind you.", True)
        turn = await client.say("vlad", "Good evening.", player="p5")
        await acts(turn)
        await turn.cancel()
        done = await turn.done()
        assert (done.status, done.text) == ("cancelled", "Come.")
        assert [one.reason for one in done.trail] == ["the turn was cancelled"]


async def test_a_reply_to_a_refusal_is_not_kept(tmp_path: Path) -> None:
    """What was said because the game refused is nothing that others should hear."""
    replies = [["<do follow>", "I follow you.", Finish()], "I dare not.", "Good night."]
    async with playing(tmp_path, *replies, overrides=CACHED) as (_, client):
        assert (await heard(client, "p1", ok=False)).text == "I dare not."
        other = await heard(client, "p2", ok=None)
        assert (other.text, other.cached) == ("Good night.", False)


@pytest.mark.parametrize("confirm_ms", [99, 5_001, 0, -1, "soon", None])
def test_how_long_a_game_may_take(confirm_ms: object) -> None:
    """From 100 to 5,000 ms, and 500 where nothing is said."""
    with pytest.raises(ValidationError):
        ActionSpec.model_validate({"name": "bow", "confirm_ms": confirm_ms})
    assert ActionSpec.model_validate({"name": "bow", "confirm_ms": 1500.0}).confirm_ms == 1500
    assert ActionSpec(name="bow", confirm=True).confirm_ms == 500
