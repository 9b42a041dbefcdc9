"""A server that runs for long stays as it was: every turn ends once, and memory does not grow."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from palaver.testing.server import RunningServer

GROWTH_MIB = 40
"""How much more memory the second half of a run may take than the first."""


def resident_mib() -> float:
    """Memory of this process that is really there, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


async def play(server: RunningServer, rng: random.Random, name: str) -> int:
    """One engine's life: turns, cancellations, cuts and resumes; returns how many turns ended."""
    engine = await server.ready(npc=f"npc-{name}")
    turns = [f"{name}-{number}" for number in range(rng.randrange(1, 12))]
    for turn in turns:
        engine.log.clear()
        start = {"type": "turn.start", "turn": turn, "npc": f"npc-{name}", "text": "Good evening."}
        await engine.send(start)
        if rng.random() < 0.3:
            await engine.send({"type": "turn.cancel", "turn": turn})
        if rng.random() < 0.2:
            session, seen = engine.session, engine.last_seq
            engine.cut()
            engine = await engine.another()
            assert (await engine.resume(session, seen))["type"] == "session.resumed"
            await engine.send(start)  # the cut may have swallowed it; a repeat is harmless
        done = await engine.finish(turn)
        assert done["status"] in ("completed", "cancelled")
    await engine.send({"type": "session.end"})
    with pytest.raises(ConnectionClosed):
        await engine.until("nothing")
    engine.cut_all()
    return len(turns)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc, which Linux has")
async def test_a_long_run_leaves_nothing_behind(palaver: RunningServer, soak_s: float) -> None:
    """Engines come, talk, lose their line, resume and go; memory and tasks stay bounded."""
    rng = random.Random(1)
    loop = asyncio.get_running_loop()
    began, turns, half, tasks = loop.time(), 0, 0.0, len(asyncio.all_tasks())
    while loop.time() < began + soak_s:
        lives = [play(palaver, random.Random(rng.random()), f"{turns}-{n}") for n in range(20)]
        turns += sum(await asyncio.gather(*lives))
        palaver.backend.calls.clear()
        if not half and loop.time() > began + soak_s / 2:
            gc.collect()
            half = resident_mib()
    gc.collect()
    assert turns
    assert len(asyncio.all_tasks()) <= tasks + 5
    assert resident_mib() - half < GROWTH_MIB
