"""With spending off nothing of a backend that costs money runs, and no connection is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from palaver.cli.serving import health_of
from palaver.gateway import Gateway
from palaver.startup import prepare
from palaver.testing.turns import make_request
from palaver.world.trust import TrustStore

# Every method of this backend dials, and so does making one: whatever touches it is counted.
DIALS = '''\
"""A backend that costs money and calls its server at every occasion."""

import socket

from palaver import BackendSettings, BackendType, Finish, Health, hookimpl


class Settings(BackendSettings):
    port: int


class Dials:
    def __init__(self, name, settings, context):
        self.name, self.settings = name, settings
        self.dial()

    def dial(self):
        socket.create_connection(("127.0.0.1", self.settings.port), timeout=10).close()

    async def start(self):
        self.dial()

    async def close(self):
        self.dial()

    async def generate(self, request):
        self.dial()
        yield "I cost money."
        yield Finish(model="dear")

    async def health(self):
        self.dial()
        return Health(ok=True, detail="costs money")

    async def models(self):
        self.dial()
        return ()


@hookimpl
def palaver_register_backends(register):
    register(BackendType("dials", Settings, Dials, addresses=frozenset(), paid=True))
    register(BackendType("rented", Settings, Dials, addresses=frozenset()))
'''
TOML = """
[backends.premium]
type = "dials"
port = {port}
usd_per_m_prompt = 1
usd_per_m_completion = 1
[backends.fast]
type = "rented"
port = {port}
usd_per_m_completion = 1
[server]
detect = false
"""


class Counter:
    """Counts who connects.

    Attributes:
        port: Its port.
        connections: How many connections came.
    """

    port = 0
    connections = 0


@asynccontextmanager
async def listening() -> AsyncIterator[Counter]:
    """Listen on a real socket and count the connections."""
    counter = Counter()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counter.connections += 1
        writer.close()

    async with await asyncio.start_server(count, "127.0.0.1", 0) as server:
        counter.port = server.sockets[0].getsockname()[1]
        yield counter
        # What is still in the listen queue is accepted before anybody looks at the number.
        reader, writer = await asyncio.open_connection("127.0.0.1", counter.port)
        await reader.read()
        writer.close()
        counter.connections -= 1


def write(world: Path, port: int) -> None:
    """Let the world have two backends that cost money."""
    (world / "palaver.toml").write_text(TOML.format(port=port), encoding="utf-8")
    (world / "plugins").mkdir()
    (world / "plugins" / "dials.py").write_text(DIALS, encoding="utf-8")


async def live(world: Path, tmp_path: Path, mode: str) -> tuple[list[Any], bool]:
    """Live the whole life of a gateway: start, health, turns, close."""
    trust = TrustStore(tmp_path / "trusted.json")
    trust.trust(world)
    overrides = {
        "spend.mode": mode,
        "tiers.elite.chain": ["premium", "fast"],
        "tiers.elite.first_text_ms": 60_000,
        "tiers.elite.first_token_ms": 30_000,
    }
    parts = await prepare(world, overrides=overrides, environ={"PALAVER_PLUGINS": ""}, trust=trust)
    async with Gateway(parts) as gateway:
        healthy = [(await health_of(entry)).ok for entry in gateway.backends.values()]
        result = await gateway.ask("Hello.", persona="vampire", player="ada")
        for entry in gateway.backends.values():
            await entry.backend.models()
            found = gateway.governor.reserve(
                make_request().turn, entry.backend.name, make_request()
            )
            assert (found == "spending is off") == (mode == "off")
    return [(one.backend, one.outcome, one.reason) for one in result.trail], any(healthy)


@pytest.fixture
def world(palaver_world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small world."""
    monkeypatch.setenv("PALAVER_DATA_DIR", str(tmp_path / "data"))
    return palaver_world


async def test_no_connection_is_opened(world: Path, tmp_path: Path) -> None:
    """Through a gateway's whole life nobody calls; the trail says why."""
    async with listening() as counter:
        write(world, counter.port)
        trail, healthy = await live(world, tmp_path, "off")
    assert counter.connections == 0
    assert trail[:2] == [
        ("premium", "refused", "spending is off"),
        ("fast", "refused", "spending is off"),
    ]
    assert not healthy


async def test_the_count_works(world: Path, tmp_path: Path) -> None:
    """With spending on the same life opens connections: the test before proves something."""
    async with listening() as counter:
        write(world, counter.port)
        trail, healthy = await live(world, tmp_path, "on")
    assert counter.connections > 8
    assert trail[0][:2] == ("premium", "served")
    assert healthy


async def test_doctor_opens_none_either(
    palaver_world: Path,
    cli: Callable[..., Result],
    read_json: Callable[[Result], Any],
) -> None:
    """`palaver doctor` says that they are off instead of asking them."""
    async with listening() as counter:
        write(palaver_world, counter.port)
        assert cli("trust", str(palaver_world), "--yes").exit_code == 0
        asked = ("doctor", str(palaver_world), "--set", "spend.mode=off", "--json")
        result = await asyncio.to_thread(cli, *asked)
    assert counter.connections == 0
    found = read_json(result)["backends"]
    assert {one["backend"] for one in found} == {"premium", "fast"}
    assert all("spending is off" in one["health"] for one in found)
