"""A real server on a chain of real, misbehaving model servers, and everything that must hold."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from palaver.testing.contract_lab import nothing_left
from palaver.testing.fake_engine import FakeEngine
from palaver.testing.faults import FaultServer
from palaver.testing.server import RunningServer, running_server, write_world

SOON_MS = 3_000
"""First-text limit where authored lines are all that is left, and wait for it."""
SLACK_S = 10.0
"""What a busy machine may add; the promise itself is tried in virtual time."""
LIMITS = {"stall_ms": 2_500, "total_ms": 40_000}
HEALTHY_MS = 15_000
"""First-token limit of a server that is well, on however busy a machine."""
FAULTY_MS = 400
"""First-token limit of a server that is known to misbehave: the suite need not wait for it."""
LAST_WORDS = "the night is over"
VOICES: Mapping[str, Sequence[str]] = {
    "first": ("rivers", "run", "under", "stone", "bridges", "slowly"),
    "second": ("wolves", "hunt", "through", "winter", "forests", "silently"),
    "third": ("candles", "burn", "inside", "empty", "chapels", "nightly"),
    "static": ("crows", "gather", "above", "ruined", "towers", "again"),
    "last words": LAST_WORDS.split(),
}
PLACES = {
    "first": {"type": "vllm"},
    "second": {"type": "cloud", "provider": "openai"},
    "third": {"type": "vllm"},
}
"""What stands at each place of a chain: local servers, and one in the cloud."""
_VOICE_OF = {word: voice for voice, words in VOICES.items() for word in words}


def text_of(voice: str, number: int) -> str:
    """Return four sentences of a voice, of words that no other voice has."""
    dice = random.Random(f"{voice} {number}")
    sentences = [dice.sample(VOICES[voice], 5) for _ in range(4)]
    return " ".join(" ".join(words).capitalize() + "." for words in sentences)


def voices_of(text: str) -> list[str]:
    """Return the voices of a text in order; what belongs to nobody is a voice of its own."""
    words = re.findall(r"\w+", text)
    return list(dict.fromkeys(_VOICE_OF.get(word.lower(), f"{word!r}?") for word in words))


@dataclass
class Chain:
    """Three model servers that a tier asks in this order, and static after them.

    Attributes:
        name: The tier.
        servers: The servers: `first`, `second` and `third`.
        limits: First-token limits by place, in milliseconds.
        static: Whether authored lines come last.
        first_text_ms: First-text limit, in milliseconds.
    """

    name: str
    servers: dict[str, FaultServer] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    static: bool = True
    first_text_ms: int = 20_000

    def __post_init__(self) -> None:
        for place in PLACES:
            self.limits.setdefault(place, HEALTHY_MS)
            self.servers[place] = FaultServer(lambda number, voice=place: text_of(voice, number))

    def settings(self) -> dict[str, Any]:
        """Return what stands in `palaver.toml` for it, by dotted key."""
        found: dict[str, Any] = {}
        names = {place: f"{self.name}-{place}" for place in PLACES}
        for place, name in names.items():
            url = self.servers[place].url
            table = {**PLACES[place], "url": url, "model": "base", "connect_ms": HEALTHY_MS}
            found |= {f"backends.{name}.{key}": value for key, value in table.items()}
        tier = f"tiers.{self.name}"
        limits = {name: self.limits[place] for place, name in names.items()}
        found[f"{tier}.chain"] = [*names.values(), *(["static"] if self.static else [])]
        found[f"{tier}.first_token_ms"] = limits
        found[f"{tier}.first_text_ms"] = self.first_text_ms
        return found | {f"{tier}.{key}": value for key, value in LIMITS.items()}


class Stage:
    """A server that runs chains, and an engine that talks to it.

    Args:
        palaver: The server.
        engine: The engine.
    """

    def __init__(self, palaver: RunningServer, engine: FakeEngine, chains: Sequence[Chain]) -> None:
        self.palaver, self.engine = palaver, engine
        self._limits_s = {chain.name: chain.first_text_ms / 1000 for chain in chains}
        self.done: dict[str, dict[str, Any]] = {}
        self._started: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._count = 0

    async def start(self, chain: str, **fields: Any) -> str:
        """Start a turn of a player of its own with an NPC of its own; returns its id."""
        self._count += 1
        turn = f"{chain}-{self._count}"
        upsert = {"type": "npc.upsert", "npc": turn, "persona": "vampire", "tier": chain}
        await self.engine.send(upsert)
        said = f"Tell me of road number {self._count}."
        start = {"type": "turn.start", "turn": turn, "npc": turn, "player": turn, "text": said}
        self._started[turn] = asyncio.get_running_loop().time()
        await self.engine.send({**start, **fields})
        return turn

    async def finish(self, turns: Iterable[str]) -> None:
        """Read until these turns are over."""
        waiting = set(turns) - self.done.keys()
        while waiting:
            try:
                message = await self.engine.receive()
            except TimeoutError:
                pytest.fail(f"these turns never end: {sorted(waiting)}")
            assert message["type"] != "error", message
            turn = message.get("turn")
            if message["type"] == "turn.delta":
                self._first.setdefault(turn, asyncio.get_running_loop().time())
            elif message["type"] == "turn.done":
                assert turn not in self.done, "exactly one turn.done"
                self.done[turn] = message
                waiting.discard(turn)

    async def say(self, chain: str, times: int = 1) -> list[str]:
        """Run some turns at the same time; returns their ids."""
        turns = [await self.start(chain) for _ in range(times)]
        await self.finish(turns)
        return turns

    def check(self, turn: str) -> list[str]:
        """Check all that a player can see of a turn, and return the voices that were heard."""
        done, engine = self.done[turn], self.engine
        messages = engine.turn_messages(turn)
        kinds = [message["type"] for message in messages]
        assert (kinds[0], kinds[-1]) == ("turn.accepted", "turn.done")
        assert kinds.count("turn.done") == 1
        assert engine.text(turn) == done["text"], "text is the deltas joined"
        for sentence in engine.turn_messages(turn, "turn.sentence"):
            assert len(voices_of(sentence["text"])) <= 1, f"two voices in {sentence}: {done}"
        if done["status"] != "cancelled":
            served = [one for one in done["trail"] if one["outcome"] == "served"]
            assert done["text"], "there are words"
            assert [one["backend"] for one in served] == [done["served_by"]["backend"]], done
            waited_s = self._first[turn] - self._started[turn]
            limit_s = self._limits_s[turn.rpartition("-")[0]]
            assert waited_s < limit_s + SLACK_S, f"{waited_s:.1f} s for words: {done}"
        heard = voices_of(done["text"])
        assert set(heard) <= VOICES.keys(), f"no character says this: {done}"
        return heard

    async def quiet(self, chains: Iterable[Chain]) -> None:
        """Wait until no model server is at work any more: whoever lost was told to stop."""
        for chain in chains:
            for place, server in chain.servers.items():
                try:
                    async with asyncio.timeout(SLACK_S):
                        await server.until(lambda server=server: not server.running)
                except TimeoutError:
                    pytest.fail(f"{chain.name}: {place} still answers a turn that is over")


PERSONA = """\
---
name: Vlad
lang: en
last_words: "The night is over."
---
{% extends "npc.j2" %}
{% block identity %}
You are Vlad.
You have watched over this valley for four hundred years, and trust nobody.
Answer in one or two short sentences, and never step out of the character.
{% endblock %}
"""
"""With instructions of a length that a model may give away."""


def _world(folder: Path) -> Path:
    world = write_world(folder)
    (world / "personas" / "vampire.md").write_text(PERSONA, encoding="utf-8")
    (world / "lines").mkdir()
    rows = [
        f"crow-{number},{text_of('static', number).split('. ')[0]}.,any" for number in range(100)
    ]
    lines = "\n".join(["id,text,intent", *rows, ""])
    (world / "lines" / "vampire.csv").write_text(lines, encoding="utf-8")
    return world


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Any]:
    """Opens a stage for some chains, to be used with `async with`.

    Afterwards no task and no socket may be left, of the server nor of what it asked.
    """

    @asynccontextmanager
    async def opened(chains: Sequence[Chain], **overrides: Any) -> AsyncIterator[Stage]:
        world = _world(tmp_path / "world")
        async with nothing_left(), AsyncExitStack() as stack:
            settings: dict[str, Any] = {"backends.static.type": "static"}
            for chain in chains:
                for server in chain.servers.values():
                    await stack.enter_async_context(server)
                settings |= chain.settings()
            running = running_server(
                world,
                overrides={**settings, **overrides},
                environ={"PALAVER_PLUGINS": "static,vllm,cloud"},
            )
            palaver = await stack.enter_async_context(running)
            engine = await palaver.engine()
            await engine.start(capabilities=["sentence"])
            at_work = Stage(palaver, engine, chains)
            yield at_work
            await engine.ping()
            dones = [one["turn"] for one in engine.log if one["type"] == "turn.done"]
            assert sorted(dones) == sorted(set(dones)), "exactly one turn.done"
            await at_work.quiet(chains)
            await engine.close()

    return opened


@pytest.fixture
def make_chain() -> type[Chain]:
    """Makes chains, whose servers run while a stage is open."""
    return Chain


@pytest.fixture
def faulty_ms() -> int:
    """First-token limit for a server that is known to misbehave, in milliseconds."""
    return FAULTY_MS


@pytest.fixture
def soon_ms() -> int:
    """First-text limit for a chain in which nobody is well, in milliseconds."""
    return SOON_MS
