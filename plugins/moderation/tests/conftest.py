"""A world whose moderation knows a harmless word, and a service that is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from palaver import hookimpl
from palaver.testing.scripted import ScriptedBackend, scripted_type
from palaver.testing.server import RunningServer, running_server
from palaver.turn.model import Turn
from palaver_moderation.bridge import ModerationBridge

SETTINGS = """
[plugins.moderation.words]
rude = ["blorp", "snark you"]
secret = ["the vault"]

[plugins.moderation.player]
rude = "refuse"
secret = "mask"

[plugins.moderation.npc]
secret = "stop"
"""


@dataclass
class FakeService:
    """A server that answers `POST /v1/moderations`.

    Attributes:
        flagged: Categories by a part of the text.
        scores: Scores of every answer.
        asked: The bodies.
        headers: Their headers.
        status: What it answers with.
        answer: The whole answer instead, or None.
        held: Set while it answers at once.
        came: Set when it was asked.
        url: Its address.
    """

    flagged: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    answer: str | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    @property
    def texts(self) -> list[str]:
        """What it was asked about."""
        return [str(body["input"]) for body in self.asked]

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        body = await request.json()
        self.asked.append(body)
        self.came.set()
        self.headers.append(dict(request.headers))
        await self.held.wait()
        if self.answer is not None:
            return web.Response(text=self.answer, content_type="application/json")
        found = {name: part in body["input"] for part, name in self.flagged.items()}
        result = {
            "flagged": any(found.values()),
            "categories": found,
            "category_scores": self.scores,
        }
        return web.json_response({"id": "m", "results": [result]}, status=self.status)


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    """A moderation service on this machine."""
    fake = FakeService()
    fake.held.set()
    app = web.Application()
    app.router.add_post("/v1/moderations", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}/v1"
    yield fake
    fake.held.set()
    await runner.cleanup()


class Witness:
    """A plugin that keeps the turns that are over."""

    def __init__(self) -> None:
        self.turns: asyncio.Queue[Turn] = asyncio.Queue()

    @hookimpl
    def palaver_turn_finished(self, turn: Turn) -> None:
        """Keep a turn."""
        self.turns.put_nowait(turn)

    async def trace(self) -> str:
        """Return the trace of the next turn that is over."""
        return "\n".join((await self.turns.get()).trace)


@dataclass
class Moderated:
    """A server with moderation.

    Attributes:
        palaver: The server.
        bridge: The moderation.
        other: A second backend, `spare`, that is asked after `local`.
        lines: What speaks authored lines.
        witness: What became of turns.
    """

    palaver: RunningServer
    bridge: ModerationBridge
    other: ScriptedBackend
    lines: ScriptedBackend
    witness: Witness

    @property
    def backend(self) -> ScriptedBackend:
        """The first backend, `local`."""
        return self.palaver.backend

    async def say(self, text: str, **more: Any) -> Any:
        """Say something to a vampire over the real socket; returns the end of the turn."""
        engine = await self.palaver.ready()
        return await engine.say("vlad", text, turn="t", player="ada", **more)


Run = Callable[..., AbstractAsyncContextManager[Moderated]]


@pytest.fixture
def moderated(palaver_world: Path) -> Run:
    """Run a server with moderation: `settings` are lines of palaver.toml, `safety` the tier's."""

    @asynccontextmanager
    async def run(
        settings: str = "",
        *,
        safety: str = "normal",
        overrides: dict[str, Any] | None = None,
        trusted: bool = True,
    ) -> AsyncIterator[Moderated]:
        toml = palaver_world / "palaver.toml"
        before = toml.read_text("utf-8")
        toml.write_text(f"{before}\n{SETTINGS}\n{settings}", encoding="utf-8")
        other = ScriptedBackend("spare", "I am the spare.")
        lines = ScriptedBackend("lines", "An authored line.")
        witness = Witness()
        async with running_server(
            palaver_world,
            environ={"PALAVER_PLUGINS": "moderation"},
            overrides={
                "backends.spare.type": "other",
                "backends.lines.type": "lines",
                "tiers.elite.chain": ["local", "spare", "lines"],
                "tiers.elite.safety": safety,
                # A service that answers is waited for, however slow this machine is.
                "limits.hook_ms": 20_000,
                **(overrides or {}),
            },
            backend_types=[
                scripted_type([other], name="other"),
                scripted_type([lines], name="lines", instant=True),
            ],
            plugins={"witness": witness},
            trusted=trusted,
        ) as palaver:
            (bridge,) = palaver.gateway.plugins.bridges
            assert isinstance(bridge, ModerationBridge)
            yield Moderated(palaver, bridge, other, lines, witness)

    return run
