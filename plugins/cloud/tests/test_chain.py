"""Cloud backends in the chain of a whole Palaver, on real sockets."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendType
from palaver.errors import BackendUnavailable
from palaver.testing.fake_cloud import CUT, FakeCloud, Thought
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world
from palaver.world.trust import restrict_untrusted
from palaver_cloud import palaver_register_backends
from palaver_cloud.providers import PROVIDERS

each_provider = pytest.mark.parametrize("provider", PROVIDERS)
KEY = "sk-a-very-secret-key"
LATER = "I was away."


@pytest.fixture
def kind() -> BackendType:
    """The type `cloud`."""
    types: list[BackendType] = []
    palaver_register_backends(types.append)
    return types[0]


@asynccontextmanager
async def chain(
    folder: Path, kind: BackendType, cloud: FakeCloud, **overrides: Any
) -> AsyncIterator[RunningServer]:
    """Run a server whose chain is `cloud`, then a scripted one."""
    table = {
        "type": "cloud",
        "provider": cloud.words.name,
        "model": "base",
        "url": cloud.url,
        "api_key_env": "TEST_CLOUD_KEY",
        "usd_per_m_prompt": 1.0,
        "usd_per_m_completion": 5.0,
    }
    world = write_world(folder / "world")
    settings = {
        **{f"backends.cloud.{key}": value for key, value in table.items()},
        "tiers.elite.chain": ["cloud", "local"],
        **overrides,
    }
    async with running_server(
        world,
        backend=ScriptedBackend("local", LATER),
        overrides=settings,
        backend_types=[kind],
    ) as server:
        yield server


@each_provider
async def test_a_turn_is_served_and_paid(
    tmp_path: Path, kind: BackendType, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A player hears the words alone, and the turn tells who spoke and what it cost."""
    monkeypatch.setenv("TEST_CLOUD_KEY", KEY)
    async with FakeCloud(provider, api_key=KEY, context_tokens=9000) as cloud:
        cloud.replies = [[Thought("Hm."), "Good ", "evening."]]
        async with chain(tmp_path, kind, cloud) as server:
            engine = await server.ready()
            done = await engine.say("vlad", "Hello.", turn="t1")
    assert (done["text"], done["status"]) == ("Good evening.", "completed")
    assert (done["served_by"]["backend"], done["served_by"]["type"]) == ("cloud", "cloud")
    assert done["usage"]["completion_tokens"] == 2
    assert done["usage"]["cost_usd"] > 0
    assert KEY not in str(engine.__dict__)


@each_provider
async def test_a_wrong_key_costs_no_turn_and_is_told_once(
    tmp_path: Path,
    kind: BackendType,
    provider: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every turn is answered by the next backend; the provider is not asked again and again."""
    monkeypatch.setenv("TEST_CLOUD_KEY", "wrong")
    caplog.set_level(logging.INFO)
    async with FakeCloud(provider, api_key=KEY, context_tokens=9000) as cloud:
        async with chain(tmp_path, kind, cloud) as server:
            engine = await server.ready()
            for number in range(6):
                done = await engine.say("vlad", f"Hello {number}.", turn=f"t{number}")
                assert done["text"] == LATER
        assert len([call for call in cloud.calls if call.startswith("POST")]) == 1
    lines = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "TEST_CLOUD_KEY" in lines[0]
    assert "wrong" not in caplog.text


@each_provider
async def test_a_missing_key_opens_no_connection(
    tmp_path: Path, kind: BackendType, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its key the provider never hears of it, and the next backend speaks."""
    monkeypatch.delenv("TEST_CLOUD_KEY", raising=False)
    async with FakeCloud(provider, context_tokens=9000) as cloud:
        async with chain(tmp_path, kind, cloud) as server:
            engine = await server.ready()
            for number in range(3):
                done = await engine.say("vlad", f"Hello {number}.", turn=f"t{number}")
                assert done["text"] == LATER
        assert (cloud.calls, cloud.connections) == ([], 0)


@each_provider
async def test_spending_off_opens_no_connection(
    tmp_path: Path, kind: BackendType, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`spend.mode = "off"` keeps the provider out altogether."""
    monkeypatch.setenv("TEST_CLOUD_KEY", KEY)
    async with FakeCloud(provider, api_key=KEY, context_tokens=9000) as cloud:
        async with chain(tmp_path, kind, cloud, **{"spend.mode": "off"}) as server:
            engine = await server.ready()
            done = await engine.say("vlad", "Hello.", turn="t1")
        assert done["text"] == LATER
        assert (cloud.calls, cloud.connections) == ([], 0)


@each_provider
async def test_a_line_that_broke_off_is_ended_by_the_cloud(
    tmp_path: Path, kind: BackendType, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider is told what was said already, and goes on with a new sentence."""
    monkeypatch.setenv("TEST_CLOUD_KEY", KEY)
    order = {"tiers.elite.chain": ["local", "cloud"]}
    async with FakeCloud(provider, api_key=KEY, context_tokens=9000) as cloud:
        cloud.replies = [["Beware the moor."]]
        async with chain(tmp_path, kind, cloud, **order) as server:
            error = BackendUnavailable("local", "went away")
            server.backend.replies = [["It is late. The night", error]]
            engine = await server.ready()
            done = await engine.say("vlad", "Hello.", turn="t1")
        (asked,) = cloud.asked
    assert done["status"] == "rescued"
    assert done["text"].startswith("It is late. The night")
    assert done["text"].endswith("Beware the moor.")
    assert "It is late. The night" in cloud.words.texts(asked.body)[-2]


@each_provider
async def test_a_provider_that_breaks_off_is_rescued(
    tmp_path: Path, kind: BackendType, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that breaks in the middle of a sentence leaves no turn half said."""
    monkeypatch.setenv("TEST_CLOUD_KEY", KEY)
    async with FakeCloud(provider, api_key=KEY, context_tokens=9000) as cloud:
        cloud.replies = [["It is late.", " The night", CUT]]
        async with chain(tmp_path, kind, cloud) as server:
            engine = await server.ready()
            done = await engine.say("vlad", "Hello.", turn="t1")
    assert done["status"] == "rescued"
    assert LATER in done["text"]


def test_a_world_without_trust_has_no_cloud(kind: BackendType) -> None:
    """Whatever an untrusted world writes, it gets no provider, so no key and no money."""
    for more in (
        {},
        {"url": "http://127.0.0.1:1"},
        {"api_key_env": "HOME"},
        {"url": "https://evil.example/v1", "api_key_env": "OPENAI_API_KEY"},
    ):
        table = {"type": "cloud", "provider": "openai", "model": "base", **more}
        left, notes = restrict_untrusted({"backends": {"fast": table}}, {"cloud": kind})
        assert left["backends"] == {}
        assert notes
