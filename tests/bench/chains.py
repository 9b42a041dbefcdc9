"""What the benchmarks of the chain share: a server on misbehaving model servers, and its clock.

The model servers run in the same process, so a figure here holds their work as well.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from palaver.testing.fake_engine import FakeEngine
from palaver.testing.faults import FaultServer
from palaver.testing.server import running_server, write_world

NEVER = 1_000_000
"""Failures before a breaker opens: what is measured here is what happens without one."""


@asynccontextmanager
async def stage(
    servers: dict[str, FaultServer], tiers: dict[str, dict[str, Any]], **settings: Any
) -> AsyncIterator[FakeEngine]:
    """Serve a world whose tiers ask these model servers, and give an engine that talks to it.

    Args:
        servers: Model servers by the name of their backend.
        tiers: Tiers by name.
        settings: More settings by dotted key.
    """
    overrides: dict[str, Any] = {"limits.messages_per_s": 1_000_000, **settings}
    async with AsyncExitStack() as stack:
        for name, server in servers.items():
            await stack.enter_async_context(server)
            table = {"type": "vllm", "url": server.url, "breaker_failures": NEVER}
            overrides |= {f"backends.{name}.{key}": value for key, value in table.items()}
        for name, tier in tiers.items():
            overrides |= {f"tiers.{name}.{key}": value for key, value in tier.items()}
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        world = write_world(Path(folder) / "world")
        running = running_server(
            world, overrides=overrides, environ={"PALAVER_PLUGINS": "vllm,static"}
        )
        palaver = await stack.enter_async_context(running)
        engine = await palaver.engine()
        await engine.start(capabilities=[])
        yield engine
        await engine.close()


async def first_texts(engine: FakeEngine, tier: str, turns: int, at_once: int) -> list[float]:
    """Return from turn to first text, in milliseconds, as an engine sees it.

    Args:
        engine: The engine.
        tier: The tier.
        turns: How many turns.
        at_once: How many of them at the same time.
    """
    took: list[float] = []
    for begin in range(0, turns, at_once):
        started: dict[str, float] = {}
        for number in range(begin, min(begin + at_once, turns)):
            turn = f"{tier}-{len(engine.log)}-{number}"
            upsert = {"type": "npc.upsert", "npc": turn, "persona": "vampire", "tier": tier}
            await engine.send(upsert)
            # So that what is measured begins when the server has nothing else to do.
            await engine.ping()
            text = f"Tell me of number {number}."
            started[turn] = time.perf_counter()
            await engine.send({"type": "turn.start", "turn": turn, "npc": turn, "text": text})
        heard: dict[str, float] = {}
        ended = 0
        while ended < len(started):
            message = await engine.receive()
            if message["type"] == "turn.delta":
                heard.setdefault(message["turn"], time.perf_counter())
            elif message["type"] == "turn.done":
                ended += 1
        took += [(heard[turn] - at) * 1000 for turn, at in started.items()]
    return took


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of all is not above."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def run(main: Any) -> None:
    """Run a benchmark on the loop that the server uses where it can."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
