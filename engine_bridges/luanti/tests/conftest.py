"""A game server for the tests of the bridge: it sends what the mod would."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from palaver.testing.server import RunningServer, running_server, write_world
from palaver_luanti.alone import Alone
from palaver_luanti.bridge import limit_of
from palaver_luanti.dial import gateway_at

AGENT = "Minetest/5.6.1 (Linux/6.1.0-9-amd64 x86_64)"
LIMIT_S = 20.0
"""Nothing in these tests takes so long, on any machine."""
START = {
    "client": {"name": "llm_agent", "version": "0.1.0", "engine": "Luanti 5.15.2"},
    "game": "village",
    "capabilities": ["sentence", "emotion", "action", "heard"],
}
Answer = tuple[int, Any]


class Wire:
    """A network between bridge and gateway that can be cut and led elsewhere.

    Attributes:
        target: The port it leads to.
        port: Its own.
        cut_after: In how many bytes it is cut once, or None.
    """

    def __init__(self) -> None:
        self.target = 0
        self.port = 0
        self.cut_after: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def up(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Cut every connection; new ones are still taken."""
        for writer in self._writers:
            writer.transport.abort()

    async def down(self) -> None:
        """Cut every connection, and take no new ones."""
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LIMIT_S)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers |= {writer, back}
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                if self.cut_after is not None:
                    self.cut_after -= len(data)
                    if self.cut_after <= 0:
                        self.cut_after = None
                        self.cut()
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)


@dataclass
class Game:
    """A game server with the mod in it.

    Attributes:
        url: Where it sends to.
        http: What it sends with.
        palaver: The server behind.
        wire: What is between bridge and server, if the bridge runs beside.
        headers: What it sends besides.
        session: Its session.
        cursor: The last `seq` that it has seen.
    """

    url: str
    http: aiohttp.ClientSession
    palaver: RunningServer
    wire: Wire
    headers: dict[str, str] = field(default_factory=dict)
    session: str | None = None
    cursor: int = 0
    _turns: Any = field(default_factory=lambda: itertools.count(1))

    async def send(
        self,
        body: Any = None,
        *,
        path: str = "/luanti/v1/exchange",
        method: str = "POST",
        raw: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """Send a body as it is, and return status and answer."""
        sent = {"Content-Type": "application/json", "User-Agent": AGENT, **self.headers}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = json.dumps(body).encode() if raw is None else raw
        async with (
            asyncio.timeout(LIMIT_S),
            self.http.request(method, self.url + path, data=data, headers=sent) as response,
        ):
            return response.status, await response.json()

    async def exchange(self, *messages: Any, **fields: Any) -> Any:
        """Send messages in the session, and return an answer that is no error."""
        body = {"session": self.session, "cursor": self.cursor, "messages": messages, **fields}
        status, answer = await self.send(body)
        assert status == 200, answer
        return answer

    async def join(self, npc: str = "vlad", persona: str = "vampire", **start: Any) -> Any:
        """Open a session with an NPC in it."""
        upsert = {"type": "npc.upsert", "npc": npc, "persona": persona}
        answer = await self.exchange(upsert, session=None, start={**START, **start})
        assert answer["fresh"] is True
        assert answer["messages"] == []
        self.session, self.cursor = answer["session"], 0
        return answer

    def turn(self, text: str = "Good evening.", npc: str = "vlad", **fields: Any) -> dict[str, Any]:
        """Return a `turn.start` with an id of its own."""
        name = f"t{next(self._turns)}"
        return {"type": "turn.start", "turn": name, "npc": npc, "text": text, **fields}

    async def ask(self, start: dict[str, Any], wait_ms: int = 15_000, **fields: Any) -> Any:
        """Start a turn and wait for its first event."""
        return await self.exchange(start, turn=start["turn"], wait_ms=wait_ms, **fields)

    async def poll(self, *, wait_ms: int = 15_000, linger_ms: int = 0, **fields: Any) -> Any:
        """Wait for whatever there is, and see it."""
        answer = await self.exchange(wait_ms=wait_ms, linger_ms=linger_ms, **fields)
        self.cursor = answer["cursor"]
        return answer

    async def rest(self, *turns: str) -> list[Any]:
        """Poll until turns are done, and return all messages."""
        found: list[Any] = []
        missing = set(turns)
        while missing:
            found += (await self.poll())["messages"]
            missing -= {one["turn"] for one in found if one["type"] == "turn.done"}
        return found

    @staticmethod
    def kinds(messages: list[Any]) -> list[str]:
        """Return the types of messages without their first part."""
        return [one["type"].removeprefix("turn.") for one in messages]

    @staticmethod
    def text_of(messages: list[Any], turn: str) -> str:
        """Return what a mod shows of a turn: each piece once, by its `seq`."""
        shown, last = "", 0
        for one in messages:
            if one.get("turn") == turn and one.get("seq", 0) > last:
                last = one["seq"]
                if one["type"] == "turn.delta":
                    shown += one["text"]
        return shown


Opener = Callable[..., AbstractAsyncContextManager[Game]]
WAYS = ("mounted", "beside")
"""On Palaver's own port, and in a process of its own that reaches it over the network."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How the bridge runs; a test that says nothing is run both ways."""
    return str(request.param)


@pytest.fixture
def opened(tmp_path: Path, way: str) -> Opener:
    """A function that runs a server with the bridge, and a game, for `async with`."""

    @asynccontextmanager
    async def run(
        environ: dict[str, str] | None = None, token: str | None = None, **more: Any
    ) -> AsyncIterator[Game]:
        async with AsyncExitStack() as stack:
            palaver = await stack.enter_async_context(
                running_server(
                    write_world(tmp_path / "world"),
                    environ={"PALAVER_PLUGINS": "luanti", **(environ or {})},
                    **more,
                )
            )
            http = await stack.enter_async_context(aiohttp.ClientSession())
            url, wire = palaver.http_url, Wire()
            if way == "beside":
                wire.target = palaver.server.port
                await wire.up()
                stack.push_async_callback(wire.down)
                gateway = gateway_at(f"ws://127.0.0.1:{wire.port}", token)
                limit = limit_of(os.environ) / 1000
                alone = await stack.enter_async_context(Alone(gateway, port=0, infer_s=limit))
                url = alone.url
            yield Game(url, http, palaver, wire)

    return run


@pytest.fixture
async def game(opened: Opener) -> AsyncIterator[Game]:
    """A game in a session whose NPC `vlad` says "Good evening."."""
    async with opened() as game:
        await game.join()
        yield game
