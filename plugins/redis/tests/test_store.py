"""The store against a real Redis, there and away."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from palaver.errors import ConfigError, StoreError
from palaver_redis.config import RedisSettings
from palaver_redis.store import RedisStore

# Tests wait for Redis, however busy the machine is; what it may take in a game is set elsewhere.
PATIENT = {"connect_ms": 20_000, "response_ms": 20_000}


@asynccontextmanager
async def open_store(url: str, **settings: Any) -> AsyncIterator[RedisStore]:
    """A store that has started."""
    store = RedisStore(RedisSettings(url=url, **{**PATIENT, **settings}))
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def back(store: RedisStore) -> None:
    """Wait until a store has noticed that Redis is back."""
    assert store._watch is not None
    async with asyncio.timeout(30):
        await store._watch
    assert not store.away


async def test_values_are_kept_and_forgotten(redis_server: Any) -> None:
    """What one store puts another of the same prefix gets, until it is deleted."""
    async with open_store(redis_server.url) as one, open_store(redis_server.url) as two:
        assert await one.get("k") is None
        await one.put("k", b"\x00value", 60)
        assert await two.get("k") == b"\x00value"
        await two.delete(["k", "other"])
        await two.delete([])
        assert await one.get("k") is None


async def test_a_value_has_an_end(redis_server: Any) -> None:
    """A value is gone when its time is over."""
    async with open_store(redis_server.url) as store:
        await store.put("k", b"v", 0.001)
        async with asyncio.timeout(20):
            while await store.get("k") is not None:  # noqa: ASYNC110  # Redis tells nobody
                await asyncio.sleep(0.001)


async def test_prefixes_are_apart(redis_server: Any) -> None:
    """Two prefixes see nothing of each other."""
    async with (
        open_store(redis_server.url, prefix="a:") as one,
        open_store(redis_server.url, prefix="b:") as two,
    ):
        await one.put("k", b"v", 60)
        assert await two.get("k") is None


async def test_sums_lose_nothing_when_gateways_add_at_once(redis_server: Any) -> None:
    """Two gateways that add at the same time come to the whole sum, and it has an end."""
    async with open_store(redis_server.tcp_url) as one, open_store(redis_server.url) as two:
        await asyncio.gather(*(store.add("s", 0.25, 60) for store in (one, two) for _ in range(50)))
        assert await one.add("s", 0.0, 60) == pytest.approx(25.0)
        assert 0 < await one._redis.pttl("palaver:s") <= 60_000


async def test_a_redis_that_is_not_there_fails_no_start(
    short_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Starting without Redis is one line in the log; calls fail at once."""
    async with open_store(f"unix://{short_folder}/none.sock") as store:
        for _ in range(5):
            with pytest.raises(StoreError):
                await store.get("k")
        assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
        assert "none.sock is away" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--maxmemory", "1"], "maxmemory", id="full"),
        pytest.param(["--replicaof", "127.0.0.1 1"], "read only replica", id="a copy"),
    ],
)
async def test_a_redis_that_takes_nothing_is_told_once(
    make_redis: Any, caplog: pytest.LogCaptureFixture, options: list[str], words: str
) -> None:
    """One that is full or read-only is one line in the log, and is still read from."""
    server = await make_redis(*options)
    async with open_store(server.url) as store:
        for _ in range(10):
            with pytest.raises(StoreError):
                await store.put("k", b"v", 60)
            with pytest.raises(StoreError):
                await store.add("sum", 1.0, 60)
            assert await store.get("k") is None
        assert not store.away
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(lines) == 1, lines
    assert words in lines[0]


async def test_its_return_is_noticed(redis_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Killed, it is one line in the log; started again, another, and calls work."""
    async with open_store(redis_server.url) as store:
        await store.put("k", b"v", 60)
        await redis_server.kill()
        for _ in range(20):
            with pytest.raises(StoreError):
                await store.get("k")
        assert store.away
        await redis_server.start()
        await back(store)
        await store.put("k", b"new", 60)
        assert await store.get("k") == b"new"
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(lines) == 2, lines
    assert "is away" in lines[0]
    assert "is back after" in lines[1]


async def test_a_redis_that_hangs_is_left_alone(redis_server: Any) -> None:
    """One that accepts and never answers costs its time limit, three times, and no more."""
    async with open_store(redis_server.url, response_ms=50) as store:
        os.kill(redis_server.pid, signal.SIGSTOP)
        try:
            for _ in range(20):
                with pytest.raises(StoreError):
                    await store.get("k")
            assert store.away
        finally:
            os.kill(redis_server.pid, signal.SIGCONT)


async def test_an_answer_that_was_not_waited_for_confuses_nobody(redis_server: Any) -> None:
    """After a call that was cancelled the next one gets its own answer."""
    async with open_store(redis_server.url, connections=1) as store:
        await store.put("a", b"1", 60)
        await store.put("b", b"2", 60)
        for _ in range(20):
            task = asyncio.create_task(store.get("a"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await store.get("b") == b"2"


async def test_it_closes_twice(redis_server: Any) -> None:
    """Closing again is no error, and nothing is kept afterwards."""
    async with open_store(redis_server.url) as store:
        await store.close()
        with pytest.raises(StoreError):
            await store.get("k")


async def test_a_password_comes_from_a_variable(
    make_redis: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The password is read from the variable; a wrong one is said without being shown."""
    server = await make_redis("--requirepass", "hunter2")
    monkeypatch.setenv("GAME_REDIS", "hunter2")
    async with open_store(server.url, password_env="GAME_REDIS") as store:
        await store.put("k", b"v", 60)
        assert await store.get("k") == b"v"
    monkeypatch.setenv("GAME_REDIS", "hunter3")
    async with open_store(server.url, password_env="GAME_REDIS") as store:
        with pytest.raises(StoreError):
            await store.get("k")
    assert "password_env" in caplog.text
    assert "hunter" not in caplog.text


def test_a_password_that_is_missing_is_told() -> None:
    """An empty variable is an error that names it."""
    settings = RedisSettings(password_env="PALAVER_TEST_NO_SUCH_VARIABLE")
    with pytest.raises(ConfigError, match="PALAVER_TEST_NO_SUCH_VARIABLE"):
        RedisStore(settings)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        pytest.param({"url": "redis://:secret@host/0"}, "password_env", id="password"),
        pytest.param({"url": "http://host"}, "rediss://", id="scheme"),
        pytest.param({"url": "redis://"}, "the machine is missing", id="no host"),
        pytest.param({"url": "redis://host/abc"}, "number of the database", id="database"),
        pytest.param({"url": "redis://host:99999"}, "no address", id="port"),
        pytest.param({"url": "redis://host?ssl_cert_reqs=none"}, "settings for it", id="query"),
        pytest.param({"url": "unix://run/redis.sock"}, "unix:///path", id="socket"),
        pytest.param({"tls_cert": "a.pem"}, "both", id="half a pair"),
        pytest.param({"tls_ca": "a.pem"}, "rediss://", id="tls without tls"),
    ],
)
def test_settings_that_cannot_be_are_explained(settings: dict[str, str], hint: str) -> None:
    """Each mistake says what to write instead, and no secret."""
    with pytest.raises(ValidationError, match=hint) as caught:
        RedisSettings.model_validate(settings)
    assert all("secret" not in error["msg"] for error in caught.value.errors())
