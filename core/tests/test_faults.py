"""The misbehaving server misbehaves as it says, and sees what the peer does about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from palaver.testing.contract_lab import nothing_left
from palaver.testing.faults import FAULTS, SPEAKS, Exchange, FaultServer

BODY = {"model": "base", "messages": [{"role": "system", "content": "You are a secret."}]}
HANGS = (
    *("hangs before headers", "hangs after headers", "hangs after opening", "stalls"),
    *("never ends", "drips", "drips headers", "drips after text"),
)


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    """A server that says four words where it speaks."""
    async with FaultServer("One two three four.") as one:
        yield one


async def ask(server: FaultServer) -> tuple[int, bytes]:
    """Return status and body of one chat completion."""
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{server.url}/v1/chat/completions", json=BODY) as answer:
            return answer.status, await answer.read()


def said(body: bytes) -> str:
    """Return the text in a stream."""
    text = ""
    for line in body.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:]).get("choices", ()):
                text += choice["delta"].get("content", "")
    return text


async def test_speaks(server: FaultServer) -> None:
    """Without a fault it streams its text as an OpenAI-compatible server does."""
    status, body = await ask(server)
    assert (status, said(body)) == (200, "One two three four.")
    assert body.count(b'"finish_reason": "stop"') == 1
    assert body.endswith(b"data: [DONE]\n\n")
    assert server.asked[0].outcome == "whole"
    assert server.asked[0].prompt == "You are a secret."


async def test_lists_its_models(server: FaultServer) -> None:
    """It says which model it has, on a connection that can be used again."""
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            async with http.get(f"{server.url}/v1/models") as answer:
                models = await answer.json()
        assert [card["id"] for card in models["data"]] == ["base"]
        assert (server.opened, server.connections) == (1, 1)
    assert server.calls == ["GET /v1/models"] * 2
    await server.until(lambda: not server.connections)


async def test_a_script_is_played_in_order(server: FaultServer) -> None:
    """Each entry is for one request, and the last one stays."""
    server.script = ["503", "429, retry after", SPEAKS]
    statuses = [(await ask(server))[0] for _ in range(4)]
    assert statuses == [503, 429, 200, 200]


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in HANGS])
async def test_a_fault_ends_by_itself(server: FaultServer, name: str) -> None:
    """What does not hang is over after one answer, and no connection is left."""
    server.script = [name]
    try:
        status, body = await ask(server)
    except aiohttp.ClientError:
        await server.asked[0].ended.wait()
        assert server.asked[0].outcome in ("cut", "closed")
    else:
        assert status != 200 or said_wrongly(body) or name in ("leak", "refusal", "10 MB")
    await server.until(lambda: not server.running and not server.connections)


def said_wrongly(body: bytes) -> bool:
    """Return whether a stream is not what a server that is well sends."""
    try:
        text = said(body).strip()
    except ValueError:
        return True
    return not text or b"stop" not in body or b"[DONE]" not in body


@pytest.mark.parametrize("name", HANGS)
async def test_a_peer_that_gives_up_is_seen(server: FaultServer, name: str) -> None:
    """What hangs goes on until the peer closes, which ends it at once."""
    server.script = [name]
    asking = asyncio.create_task(ask(server))
    await server.until(lambda: server.running == 1)
    asking.cancel()
    await asyncio.wait({asking})
    await server.until(lambda: not server.connections)
    assert (server.cancelled, server.asked[0].outcome) == (1, "closed")


async def test_a_port_that_refuses(server: FaultServer) -> None:
    """It can go away with everything that is open, and come back on the same port."""
    server.script = ["stalls", SPEAKS]
    asking = asyncio.create_task(ask(server))
    await server.until(lambda: server.running == 1)
    await server.refuse()
    with pytest.raises(aiohttp.ClientError):
        await asking
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(server)
    await server.listen()
    assert (await ask(server))[0] == 200


async def test_a_fault_of_ones_own(server: FaultServer) -> None:
    """A script may hold a function that answers as it likes."""

    async def stutters(exchange: Exchange) -> None:
        await exchange.begin()
        for token in exchange.asked.tokens:
            await exchange.token(token)
            await exchange.token(token)
        await exchange.finish()

    server.script = [stutters]
    assert said((await ask(server))[1]) == "OneOne two two three three four. four."


async def test_nothing_is_left_of_it() -> None:
    """Whatever hangs when it goes away, no task and no socket of it stays."""
    async with nothing_left():
        async with FaultServer(script=["stalls"]) as server:
            asking = asyncio.create_task(ask(server))
            await server.until(lambda: server.running == 1)
        with pytest.raises(aiohttp.ClientError):
            await asking


def test_an_unknown_fault_is_named() -> None:
    """A script that names what is not there is an error at once."""
    with pytest.raises(LookupError, match="there is no fault 'explodes'"):
        FaultServer(script=["explodes"])
