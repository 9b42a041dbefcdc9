"""HTTP on the same port: health, information, and single turns as JSON or as events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from palaver.chain.backend import Finish
from palaver.messages import TurnDone, server_message
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server

ASK = {"npc": "vlad", "persona": "vampire", "player": "ada", "text": "Good evening."}
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture
async def http(palaver_server: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of `palaver_server`."""
    async with aiohttp.ClientSession(palaver_server.http_url) as client:
        yield client


async def read_events(answer: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    """Return the messages of an event stream; each event is named as its message's type."""
    messages = []
    for block in (await answer.text()).split("\n\n"):
        if block:
            event, data = block.split("\n")
            message = json.loads(data.removeprefix("data: "))
            assert event == f"event: {message['type']}"
            server_message(message)
            messages.append(message)
    return messages


async def test_health(http: aiohttp.ClientSession) -> None:
    """Probes need no token and no body."""
    for path in ("/healthz", "/readyz"):
        async with http.get(path) as answer:
            assert answer.status == 200
            assert (await answer.json())["status"] == "ok"


async def test_info(http: aiohttp.ClientSession) -> None:
    """GET /v1/info tells what is served."""
    async with http.get("/v1/info") as answer:
        info = await answer.json()
    assert info["protocol"] == 1
    assert info["server"]["name"] == "palaver"
    assert info["personas"] == {"vampire": "Vlad", "zombie": "Brains"}
    assert info["backends"] == {"local": {"type": "scripted"}}
    assert info["tiers"]["elite"] == ["local"]
    assert info["cache"]["tiers"]["grunt"]["hit_rate"] is None


async def test_a_turn_as_json(http: aiohttp.ClientSession) -> None:
    """POST /v1/turns answers turn.done, and creates the NPC where it is new."""
    async with http.post("/v1/turns", json=ASK) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        done = server_message(await answer.json())
    assert isinstance(done, TurnDone)
    assert (done.status, done.text) == ("completed", "Good evening.")
    assert done.served_by.backend == "local"
    async with http.post("/v1/turns", json={"npc": "vlad", "text": "Again?"}) as answer:
        assert (await answer.json())["text"] == "Good evening."


async def test_a_turn_as_events(palaver_server: RunningServer, http: aiohttp.ClientSession) -> None:
    """With text/event-stream the same messages come one by one, numbered without gaps."""
    palaver_server.backend.replies = [["<feel joy 0.5>Come in. ", "Sit ", "down.", Finish()]]
    async with http.post("/v1/turns", json={**ASK, "turn": "mine"}, headers=EVENTS) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        messages = await read_events(answer)
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
    assert {message["turn"] for message in messages} == {"mine"}
    kinds = [message["type"] for message in messages]
    assert kinds[:2] == ["turn.accepted", "turn.emotion"]
    assert kinds[-1] == "turn.done"
    assert kinds.count("turn.sentence") == 2
    text = "".join(m["text"] for m in messages if m["type"] == "turn.delta")
    assert text == messages[-1]["text"] == "Come in. Sit down."


async def test_events_come_as_they_happen(
    palaver_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    """The first words are sent before the last are known."""
    gate = asyncio.Event()
    palaver_server.backend.replies = [["Wait. ", gate, "Now.", Finish()]]
    async with http.post("/v1/turns", json=ASK, headers=EVENTS) as answer:
        async with asyncio.timeout(10):
            while b"turn.delta" not in await answer.content.readuntil(b"\n"):
                pass
        gate.set()
        assert b'"text":"Wait. Now."' in await answer.content.read()


@pytest.mark.parametrize("headers", [{}, EVENTS], ids=["json", "events"])
async def test_a_client_that_leaves_ends_its_turn(
    headers: dict[str, str], palaver_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    """Nobody generates for a client that is gone."""
    palaver_server.backend.replies = [["Wait. ", asyncio.Event()]]
    request = asyncio.create_task(http.post("/v1/turns", json=ASK, headers=headers))
    call = await palaver_server.backend.called()
    if headers:
        (await request).close()
    else:
        request.cancel()
    async with asyncio.timeout(10):
        await call.ended.wait()
    assert call.closed_early


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**ASK, "persona": "vampir"}, 404, "unknown_persona"),
        ({"npc": "nobody", "text": "Hello"}, 404, "unknown_npc"),
        ({**ASK, "tier": "gods"}, 400, "bad_message"),
        ({**ASK, "cue": "both"}, 400, "bad_message"),
        ({"npc": "vlad", "persona": "vampire"}, 400, "bad_message"),
        ({**ASK, "text": 7}, 400, "bad_message"),
        ({**ASK, "npc": ""}, 400, "bad_message"),
        ({**ASK, "facts": {"big": "x" * 5_000}}, 413, "too_large"),
        ({**ASK, "facts": {"not a name": 1}}, 400, "bad_message"),
        ([], 400, "bad_message"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("headers", [{}, EVENTS], ids=["json", "events"])
async def test_what_is_refused(
    body: Any, status: int, code: str, headers: dict[str, str], http: aiohttp.ClientSession
) -> None:
    """Errors have a status, the protocol's code, and say what to do, also for event streams."""
    async with http.post("/v1/turns", json=body, headers=headers) as answer:
        assert answer.status == status
        error = (await answer.json())["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["retryable"] is False
    assert "Input" not in error["message"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
        ("", 415),
    ],
)
async def test_content_type(content_type: str, status: int, http: aiohttp.ClientSession) -> None:
    """Only JSON is taken, which a web page cannot send without asking first."""
    headers = {"Content-Type": content_type}
    async with http.post("/v1/turns", data=json.dumps(ASK), headers=headers) as answer:
        assert answer.status == status
        if status != 200:
            error = (await answer.json())["error"]
            assert "application/json" in error["message"]
            assert error["retryable"] is False


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[" * 50_000, b'{"npc": "\\ud800"}', b"NaN", b"null"],
    ids=["empty", "half", "no text", "deep", "surrogate", "nan", "null"],
)
async def test_bodies_that_are_no_json(body: bytes, http: aiohttp.ClientSession) -> None:
    """A body that cannot be read is a 400 with the reason."""
    headers = {"Content-Type": "application/json"}
    async with http.post("/v1/turns", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "bad_message"


async def test_an_unknown_npc_is_told_the_short_way(http: aiohttp.ClientSession) -> None:
    """Over HTTP a persona is enough, and the error says so."""
    async with http.post("/v1/turns", json={"npc": "nobody", "text": "Hello"}) as answer:
        message = (await answer.json())["error"]["message"]
    assert "give `persona`, or send npc.upsert first" in message


async def test_a_body_that_is_too_large(http: aiohttp.ClientSession) -> None:
    """Bodies are bounded like messages."""
    async with http.post("/v1/turns", json={**ASK, "padding": "x" * 70_000}) as answer:
        assert answer.status == 413
        assert (await answer.json())["error"]["code"] == "too_large"


async def test_routes_that_are_not_there(http: aiohttp.ClientSession) -> None:
    """Wrong paths and methods are JSON errors too."""
    async with http.get("/v2") as answer:
        assert answer.status == 404
        assert "error" in await answer.json()
    async with http.get("/v2", headers={"Connection": "Upgrade", "Upgrade": "websocket"}) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["message"] == "the WebSocket is at /v1"
    async with http.put("/v1/turns") as answer:
        assert answer.status == 405
        assert "error" in await answer.json()
    async with http.get("/v1") as answer:
        assert answer.status == 426
        assert "WebSocket" in (await answer.json())["error"]["message"]


async def test_turns_in_flight_are_bounded(palaver_world: Path) -> None:
    """Too many turns at once are refused, and may be tried again later."""
    gate = asyncio.Event()
    backend = ScriptedBackend("local", ["Hold.", gate, Finish()])
    async with (
        running_server(palaver_world, backend=backend, overrides={"limits.turns": 1}) as palaver,
        aiohttp.ClientSession(palaver.http_url) as client,
    ):
        first = asyncio.create_task(client.post("/v1/turns", json=ASK))
        await backend.called()
        async with client.post("/v1/turns", json={**ASK, "player": "bob"}) as answer:
            assert answer.status == 503
            error = (await answer.json())["error"]
            assert (error["code"], error["retryable"]) == ("overloaded", True)
        gate.set()
        async with await first as answer:
            assert answer.status == 200


async def test_http_and_websocket_meet(
    palaver_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    """An NPC that HTTP made is there for engines, with one memory."""
    async with http.post("/v1/turns", json={**ASK, "facts": {"hunger": 9}}) as answer:
        assert answer.status == 200
    engine = await palaver_server.engine()
    await engine.start()
    await engine.say("vlad", "Do you know me?", turn="t", player="ada")
    request = palaver_server.backend.requests[-1]
    prompt = "\n".join(message.content for message in request.messages)
    assert "Hunger: 9" in prompt
    assert ASK["text"] in prompt
