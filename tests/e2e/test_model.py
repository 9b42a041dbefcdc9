"""A model server behind `palaver serve`: streams, adapters, sudden ends, and memory."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import palaver
import palaver_prompts
from palaver.client import Client
from palaver.messages import TurnDelta, TurnDone
from palaver.testing.fake_vllm import FakeVllm, Reply

pytestmark = pytest.mark.timeout(180)

WORLD = Path(palaver_prompts.__file__).parent / "worlds" / "body-broker"
WAIT_S = 60
# Tests wait for events, not for time: these only end what hangs.
SETTINGS = """\
[backends.local]
type = "vllm"
url = "{url}"
connect_ms = 20000

[tiers.elite]
first_text_ms = 60000
first_token_ms = 50000
stall_ms = 50000
total_ms = 90000
"""
MANIFEST = """\
name = "vampire"
version = "1"
base = "base"
path = "vampire"
rank = 8
"""


@pytest.fixture
def world(tmp_path: Path, fake_vllm: FakeVllm) -> Path:
    """A copy of The Body Broker, with the fake model server and an adapter for the vampire."""
    folder = shutil.copytree(WORLD, tmp_path / "body-broker")
    (folder / "palaver.toml").write_text(SETTINGS.format(url=fake_vllm.url), encoding="utf-8")
    weights = folder / "adapters" / "vampire"
    weights.mkdir(parents=True)
    (weights / "adapter_config.json").write_text('{"r": 8}', encoding="utf-8")
    (folder / "adapters" / "vampire@1.toml").write_text(MANIFEST, encoding="utf-8")
    return folder


@pytest.fixture
def lines() -> set[str]:
    """The vampire's authored lines."""
    with (WORLD / "lines" / "vampire.csv").open(encoding="utf-8", newline="") as rows:
        return {row["text"] for row in csv.DictReader(rows)}


async def started(serve: Callable[..., Any], *arguments: str) -> Any:
    """Start the server in a thread: the fake model server, which it asks, runs in this one."""
    return await asyncio.to_thread(serve, *arguments)


def connect(served: Any, **more: Any) -> Client:
    """Return a client that is patient with a slow machine."""
    return palaver.connect(served.url, timeout_s=WAIT_S, turn_timeout_s=WAIT_S, **more)


async def say(client: Client, text: str) -> TurnDone:
    """Say something to the vampire, to its end."""
    turn = await client.say("honorine", text, player="ada")
    async with asyncio.timeout(WAIT_S):
        return await turn.done()


def outcomes(done: TurnDone) -> list[tuple[str, str]]:
    """Return the trail without times and reasons."""
    return [(one.backend, one.outcome) for one in done.trail]


async def test_words_are_streamed(
    serve: Callable[..., Any], world: Path, fake_vllm: FakeVllm
) -> None:
    """The first words are there while the model still speaks, and a cancel ends it."""
    served = await started(serve, str(world))
    assert served.ready["backends"]["local"]["ok"] is True
    go_on = asyncio.Event()
    fake_vllm.replies = [["Good ", "evening", go_on, ", ", "mortal."]]
    async with connect(served) as client:
        await client.upsert_npc("honorine", persona="vampire")
        turn = await client.say("honorine", "Hello.", player="ada")
        text = ""
        async with asyncio.timeout(WAIT_S):
            async for event in turn:
                if isinstance(event, TurnDelta):
                    text += event.text
                if text == "Good evening":
                    go_on.set()
        done = await turn.done()
        assert done.text == text == "Good evening, mortal."
        assert (done.served_by.backend, done.served_by.model) == ("local", "base")
        assert done.usage.completion_tokens == 4
        prompt = json.dumps(fake_vllm.asked[0].body["messages"])
        assert "Honorine Vale" in prompt
        assert "Hello." in prompt

        fake_vllm.replies = [["Once ", asyncio.Event()]]
        turn = await client.say("honorine", "A story!", player="ada")
        async with asyncio.timeout(WAIT_S):
            asked = await fake_vllm.wait_asked(2)
            async for event in turn:
                if isinstance(event, TurnDelta):
                    await turn.cancel("Once")
            assert (await turn.done()).status == "cancelled"
            await asked.aborted.wait()
            await fake_vllm.wait_running(0)


async def test_an_adapter_comes_by_itself(
    serve: Callable[..., Any], world: Path, fake_vllm: FakeVllm
) -> None:
    """The first turns use the base model and say why; once loaded, the adapter speaks."""
    served = await started(serve, str(world))
    async with connect(served) as client:
        await client.upsert_npc("honorine", persona="vampire")
        first = await say(client, "Hello.")
        assert fake_vllm.asked[0].model == "base"
        assert first.served_by.adapter is None
        assert "vampire@1 not loaded yet" in (first.trail[0].reason or "")
        async with asyncio.timeout(WAIT_S):
            await fake_vllm.until(lambda: bool(fake_vllm.loads))
        assert fake_vllm.loads == [("vampire@1", str(world / "adapters" / "vampire"))]
        async with asyncio.timeout(WAIT_S):
            # It has yet to learn that the load is over.
            while (await say(client, "And now?")).served_by.adapter is None:
                pass
        done = await say(client, "And now?")
        assert fake_vllm.asked[-1].model == "vampire@1"
        assert (done.served_by.model, done.served_by.adapter) == ("base", "vampire@1")
        assert done.trail[0].reason is None


async def test_a_model_server_that_dies_and_comes_back(
    serve: Callable[..., Any], world: Path, fake_vllm: FakeVllm, lines: set[str]
) -> None:
    """The open line is rescued, then authored lines speak, and then the model again."""
    served = await started(serve, str(world))
    fake_vllm.replies = [["You may stay, ", "but", asyncio.Event()]]
    async with connect(served) as client:
        await client.upsert_npc("honorine", persona="vampire")
        turn = await client.say("honorine", "Good evening!", player="ada")
        text = ""
        async with asyncio.timeout(WAIT_S):
            async for event in turn:
                if isinstance(event, TurnDelta):
                    text += event.text
                    if text == "You may stay, but":
                        await fake_vllm.stop()
        done = await turn.done()
        assert done.status == "rescued"
        assert outcomes(done) == [("local", "died"), ("static", "served")]
        begin, _, rest = done.text.partition("… ")
        assert begin == "You may stay, but"
        assert rest in lines

        done = await say(client, "Who are you?")
        assert done.status == "completed"
        assert outcomes(done) == [("local", "failed"), ("static", "served")]
        assert done.text in lines

        fake_vllm.replies = [Reply()]
        await fake_vllm.start()
        remembered: list[str] = []
        async with asyncio.timeout(WAIT_S):
            # A turn does not wait for a memory that is slow to read; the next one has it.
            while not any("You may stay, but" in one for one in remembered):
                done = await say(client, "Are you there?")
                assert outcomes(done) == [("local", "served")]
                assert done.text == "Good evening."
                body = fake_vllm.asked[-1].body
                remembered = [message["content"] for message in body["messages"]]


def exchanges_in(file: Path) -> int:
    """Return how many exchanges a memory file holds, as another process sees it."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as memory:
            return int(memory.execute("SELECT count(*) FROM exchanges").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


async def test_a_killed_palaver_remembers(
    serve: Callable[..., Any], world: Path, fake_vllm: FakeVllm, tmp_path: Path
) -> None:
    """After `kill -9` the model reads in its next prompt what was said before."""
    served = await started(serve, str(world))
    async with connect(served, reconnect=False) as client:
        await client.upsert_npc("honorine", persona="vampire")
        await say(client, "I am the heir of Bran.")
        memory = tmp_path / "data" / "memory.sqlite3"
        async with asyncio.timeout(WAIT_S):
            # It is written in the background, within hundredths of a second.
            while not exchanges_in(memory):  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0.01)
        served.kill()
    served = await started(serve, str(world))
    async with connect(served) as client:
        await client.upsert_npc("honorine", persona="vampire")
        async with asyncio.timeout(WAIT_S):
            messages: list[dict[str, str]] = []
            # A turn does not wait for a memory that is slow to read; the next one has it.
            while not any("heir of Bran" in one["content"] for one in messages):
                await say(client, "Who am I?")
                messages = fake_vllm.asked[-1].body["messages"]
    assert [one["role"] for one in messages[:3]] == ["system", "user", "assistant"]
    assert "I am the heir of Bran." in messages[1]["content"]
    assert messages[2]["content"] == "Good evening."
    assert "Who am I?" in messages[-1]["content"]
