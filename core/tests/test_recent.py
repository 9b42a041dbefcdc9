"""What a server tells of the turns that are over: times and costs, and not a word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from palaver.chain.backend import Finish
from palaver.recent import RecentTurns, TurnInfo
from palaver.testing.server import RunningServer, running_server
from palaver.testing.turns import make_turn
from palaver.turn.model import Attempt

ASK = {"npc": "vlad", "persona": "vampire", "player": "ada", "text": "A secret word."}


@pytest.fixture
async def http(palaver_server: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of `palaver_server`."""
    async with aiohttp.ClientSession(palaver_server.http_url) as client:
        yield client


async def get(http: aiohttp.ClientSession, path: str, status: int = 200) -> Any:
    """Return what a route answers."""
    async with http.get(path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_the_last_turns(palaver_server: RunningServer, http: aiohttp.ClientSession) -> None:
    """Every turn is there with who spoke, how long it took and what it cost; oldest first."""
    palaver_server.backend.replies = [
        ["Another secret.", Finish(prompt_tokens=9, completion_tokens=3, model="m")]
    ]
    assert await get(http, "/v1/turns") == {"turns": []}
    for number in range(3):
        async with http.post("/v1/turns", json={**ASK, "turn": f"t{number}"}) as answer:
            assert answer.status == 200
    told = (await get(http, "/v1/turns"))["turns"]
    assert [one["turn"] for one in told] == ["t0", "t1", "t2"]
    assert [one["turn"] for one in (await get(http, "/v1/turns?last=2"))["turns"]] == ["t1", "t2"]
    one = await get(http, "/v1/turns/t1")
    assert one == told[1]
    info = TurnInfo.model_validate(one)
    assert (info.npc, info.persona, info.player) == ("vlad", "vampire", "ada")
    assert (info.game, info.tier, info.status) == ("default", "elite", "completed")
    assert info.limits is not None
    assert (info.limits.first_text_ms, info.limits.total_ms) == (20_000, 30_000)
    assert info.served_by.model == "m"
    assert info.usage.prompt_tokens == 9
    assert info.trail[0].outcome == "served"
    assert info.trail[0].at_ms <= info.total_ms
    assert info.at is not None
    assert "secret" not in json.dumps(told)


async def test_every_way_to_ask_is_told_of(palaver_server: RunningServer) -> None:
    """Turns over WebSocket, HTTP and OpenAI's API are all there, cancelled ones too."""
    engine = await palaver_server.ready()
    await engine.say("vlad", "Hello.", turn="socket")
    palaver_server.backend.replies = [["Well, ", asyncio.Event()]]
    await engine.send({"type": "turn.start", "turn": "cut", "npc": "vlad", "text": "Hm?"})
    await palaver_server.backend.called(2)
    await engine.send({"type": "turn.cancel", "turn": "cut"})
    await engine.until("turn.done")
    palaver_server.backend.replies = ["Yes."]
    async with aiohttp.ClientSession(palaver_server.http_url) as http:
        body = {"model": "tier/elite", "messages": [{"role": "user", "content": "Hello."}]}
        async with http.post("/v1/chat/completions", json=body) as answer:
            completion = (await answer.json())["id"]
    told = palaver_server.gateway.recent.last(10)
    assert [one["turn"] for one in told] == ["socket", "cut", completion]
    assert [one["status"] for one in told] == ["completed", "cancelled", "completed"]
    assert (told[2]["npc"], told[2]["persona"]) == (None, None)


async def test_a_turn_that_is_not_there(http: aiohttp.ClientSession) -> None:
    """A 404 with the nearest id; a wrong number is a 400."""
    async with http.post("/v1/turns", json={**ASK, "turn": "greeting-7"}):
        pass
    error = (await get(http, "/v1/turns/greetin-7", 404))["error"]
    assert "did you mean 'greeting-7'?" in error["message"]
    for last in ("0", "1001", "-1", "x", "", "1e3", "\u0663", "000001" + "9" * 5_000):
        error = (await get(http, f"/v1/turns?last={last}", 400))["error"]
        assert "1 to 1000" in error["message"]


async def test_only_an_engine_sees_them(palaver_world: Path) -> None:
    """A player would learn when others play, and with whom."""
    file = palaver_world / "palaver.toml"
    tokens = "".join(
        f'[[server.tokens]]\nrole = "{role}"\n{more}'
        f'sha256 = "{sha256(role.encode()).hexdigest()}"\n'
        for role, more in (("engine", ""), ("player", 'player = "ada"\n'))
    )
    file.write_text(file.read_text("utf-8") + tokens, "utf-8")
    async with (
        running_server(palaver_world) as palaver,
        aiohttp.ClientSession(palaver.http_url) as http,
    ):
        for token, status in (("engine", 200), ("player", 401), ("wrong", 401)):
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get("/v1/turns", headers=headers) as answer:
                assert answer.status == status
            if status != 200:
                async with http.get("/v1/turns/x", headers=headers) as answer:
                    assert answer.status == status


def test_old_turns_are_forgotten() -> None:
    """Only so many are kept, and of two with one id the last is told of."""
    recent = RecentTurns(kept=3)
    for number in range(5):
        turn = make_turn(id="same" if number in (2, 4) else f"t{number}")
        turn.result.text = "words"
        turn.result.total_ms = number
        turn.result.trail.append(Attempt("local", "served", 1.0, "why " * 100))
        recent.add(turn)
    assert [one["turn"] for one in recent.last(10)] == ["same", "t3", "same"]
    found = recent.find("same")
    assert found is not None
    assert found["total_ms"] == 4
    assert len(found["trail"][0]["reason"]) == 200
    assert "words" not in json.dumps(recent.last(10))
    assert recent.find("t0") is None
