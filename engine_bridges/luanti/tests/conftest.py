"""A game server for the tests of the bridge: it sends what the mod would."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from palaver.testing.server import RunningServer, running_server, write_world

AGENT = "Minetest/5.6.1 (Linux/6.1.0-9-amd64 x86_64)"
LIMIT_S = 20.0
"""Nothing in these tests takes so long, on any machine."""
START = {
    "client": {"name": "llm_agent", "version": "0.1.0", "engine": "Luanti 5.15.2"},
    "game": "village",
    "capabilities": ["sentence", "emotion", "action", "heard"],
}
Answer = tuple[int, Any]


@dataclass
class Game:
    """A game server with the mod in it.

    Attributes:
        url: Where it sends to.
        http: What it sends with.
        palaver: The server behind.
        headers: What it sends besides.
        session: Its session.
        cursor: The last `seq` that it has seen.
    """

    url: str
    http: aiohttp.ClientSession
    palaver: RunningServer
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


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """A function that runs a server with the bridge, and a game, for `async with`."""

    @asynccontextmanager
    async def run(environ: dict[str, str] | None = None, **more: Any) -> AsyncIterator[Game]:
        async with AsyncExitStack() as stack:
            palaver = await stack.enter_async_context(
                running_server(
                    write_world(tmp_path / "world"),
                    environ={"PALAVER_PLUGINS": "luanti", **(environ or {})},
                    **more,
                )
            )
            http = await stack.enter_async_context(aiohttp.ClientSession())
            yield Game(palaver.http_url, http, palaver)

    return run


@pytest.fixture
async def game(opened: Opener) -> AsyncIterator[Game]:
    """A game in a session whose NPC `vlad` says "Good evening."."""
    async with opened() as game:
        await game.join()
        yield game
