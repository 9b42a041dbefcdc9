"""Two real gateways with one real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world
from palaver.turn.model import TurnResult


@asynccontextmanager
async def gateway(folder: Path, url: str, *replies: str) -> AsyncIterator[RunningServer]:
    """A server of a world named `world`, whose store is this Redis."""
    overrides = {
        "tiers.elite.cache": {"variants": 1},
        "store.type": "redis",
        "store.url": url,
        "store.connect_ms": 20_000,
        "store.response_ms": 20_000,
    }
    async with running_server(
        write_world(folder / "world"),
        backend=ScriptedBackend("local", *(replies or ("Welcome.",))),
        overrides=overrides,
        environ={"PALAVER_PLUGINS": "redis"},
    ) as palaver:
        yield palaver


async def say(palaver: RunningServer, text: str, player: str) -> TurnResult:
    """Run one turn."""
    async with asyncio.timeout(60):
        return await palaver.gateway.ask(text, npc="vlad", persona="vampire", player=player)


async def written(palaver: RunningServer) -> None:
    """Wait until what was kept is in Redis."""
    async with asyncio.timeout(30):
        await palaver.gateway.cache.flush()


async def test_two_gateways_share_what_was_said(tmp_path: Path, redis_server: Any) -> None:
    """What a model said at one gateway is said again at the other, without a model."""
    async with (
        gateway(tmp_path / "a", redis_server.url, "Said at A.") as one,
        gateway(tmp_path / "b", redis_server.url, "Said at B.") as two,
    ):
        assert one.gateway.store.shared
        await say(one, "Hello", "p1")
        await written(one)
        second = await say(two, "Hello", "p2")
        assert (second.cached, second.text) == (True, "Said at A.")
        assert two.backend.calls == []


async def test_two_gateways_share_sums(tmp_path: Path, redis_server: Any) -> None:
    """Both add to one sum."""
    async with (
        gateway(tmp_path / "a", redis_server.url) as one,
        gateway(tmp_path / "b", redis_server.url) as two,
    ):
        await one.gateway.store.add("day", 1.5, 60)
        assert await two.gateway.store.add("day", 1.0, 60) == 2.5


async def test_redis_dying_in_the_middle_costs_no_turn(tmp_path: Path, redis_server: Any) -> None:
    """With Redis killed while turns run all end well; afterwards memory still answers."""
    async with gateway(tmp_path, redis_server.url, *(f"Number {n}." for n in range(400))) as one:
        await say(one, "Hello", "p0")

        async def talk(player: str) -> list[TurnResult]:
            return [await say(one, text, player) for text in ("Hello", "Bye", "Thanks", "Hi")]

        async with asyncio.TaskGroup() as group:
            talks = [group.create_task(talk(f"p{number}")) for number in range(1, 21)]
            await one.backend.called(2)
            await redis_server.kill()
        results = [result for task in talks for result in task.result()]
        assert len(results) == 80
        assert {result.status for result in results} == {"completed"}
        assert {result.served_by.backend for result in results} <= {"cache", "local"}
        assert (await say(one, "Hello", "late")).cached


async def test_a_redis_that_comes_back_is_used_again(tmp_path: Path, redis_server: Any) -> None:
    """After its return new replies are shared."""
    async with (
        gateway(tmp_path / "a", redis_server.url, "At A, first.", "At A, second.") as one,
        gateway(tmp_path / "b", redis_server.url, "At B.") as two,
    ):
        await redis_server.kill()
        assert (await say(one, "Hello", "p1")).text == "At A, first."
        assert not (await say(two, "Goodbye", "p1")).cached
        await redis_server.start()
        async with asyncio.timeout(60):
            for palaver in (one, two):
                store: Any = palaver.gateway.store
                if store._watch is not None:
                    await store._watch
        assert (await say(one, "Thank you", "p2")).text == "At A, second."
        await written(one)
        assert (await say(two, "Thank you", "p3")).text == "At A, second."


async def test_a_gateway_starts_without_its_redis(tmp_path: Path, short_folder: Path) -> None:
    """A gateway whose Redis is not there serves as if it had none."""
    async with gateway(tmp_path, f"unix://{short_folder}/none.sock") as one:
        assert (await say(one, "Hello", "p1")).text == "Welcome."
        assert (await say(one, "Hello", "p2")).cached


async def test_a_reply_that_was_disliked_is_gone_everywhere(
    tmp_path: Path, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a player of one gateway dislikes is not said at another one, which has it in memory."""
    monkeypatch.setattr("palaver.cache.dialogue.LOOK_AGAIN_S", 0.0)
    async with (
        gateway(tmp_path / "a", redis_server.url, "Bad words.") as one,
        gateway(tmp_path / "b", redis_server.url, "Better.") as two,
    ):
        engine = await one.ready()
        await engine.say("vlad", "Hello", turn="t1", player="p1")
        await written(one)
        assert (await say(two, "Hello", "p2")).text == "Bad words."
        await engine.send({"type": "turn.feedback", "turn": "t1", "kind": "report"})
        await engine.ping()
        await written(one)
        assert (await say(two, "Hello", "p3")).text == "Better."
        await written(two)
        again = await say(one, "Hello", "p4")
        assert (again.cached, again.text) == (True, "Better.")
