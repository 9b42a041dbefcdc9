"""How long a reply takes from frame to frame: authored lines beside the dialogue cache.

    python tests/bench/cached.py [TURNS]

Runs a server with a WebSocket on this machine and a client beside it, in one process, and prints
the median and the 99th percentile from the frame that says "Hello" to the first `turn.delta` and
to `turn.done`, for the world's authored lines and for what a model said before. Both take turns,
so that a machine that gets slower meanwhile slows both.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import aiohttp

from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import running_server, write_world

LINES = "id,text,intent\n" + "".join(
    f'line-{number},"Good evening to you for the {number}th time.",any\n' for number in range(40)
)
SETTINGS = {
    "tiers.elite.chain": ["local"],
    "tiers.elite.cache": {"variants": 4},
    "tiers.grunt.chain": ["static"],
    "tiers.grunt.cache": False,
    "limits.messages_per_s": 1e6,
}
TURNS = 2_000


async def measure(turns: int) -> None:
    """Measures and prints."""
    times: dict[str, list[tuple[float, float]]] = {"static": [], "cached": []}
    with tempfile.TemporaryDirectory() as folder:
        world = write_world(Path(folder) / "world")
        (world / "lines").mkdir()
        (world / "lines" / "vampire.csv").write_text(LINES, encoding="utf-8")
        backend = ScriptedBackend("local", *(f"Ah, visitor number {n}." for n in range(20)))
        environ = {"PALAVER_PLUGINS": "static"}
        async with (
            running_server(world, backend=backend, overrides=SETTINGS, environ=environ) as palaver,
            aiohttp.ClientSession() as session,
            session.ws_connect(palaver.url, protocols=["palaver.v1"]) as socket,
        ):
            client = {"name": "bench", "version": "1", "engine": "none"}
            await socket.send_json({"type": "session.start", "protocol": 1, "client": client})
            await socket.receive_json()
            for npc, tier in (("cached", "elite"), ("static", "grunt")):
                known = {"type": "npc.upsert", "npc": npc, "persona": "vampire", "tier": tier}
                await socket.send_json(known)

            async def turn(npc: str, number: int) -> tuple[float, float, bool]:
                start = {"type": "turn.start", "turn": f"{npc}{number}", "npc": npc}
                text = json.dumps({**start, "player": f"p{number % 50}", "text": "Hello"})
                begun = perf_counter()
                first = 0.0
                await socket.send_str(text)
                while True:
                    message = json.loads((await socket.receive()).data)
                    if message["type"] == "turn.delta" and not first:
                        first = perf_counter()
                    elif message["type"] == "turn.done":
                        return first - begun, perf_counter() - begun, message["cached"]

            for number in range(100):  # until the cache has its variants, and all is warm
                await turn("cached", number)
                await turn("static", number)
            for number in range(100, 100 + turns):
                for npc, found in times.items():
                    first, done, cached = await turn(npc, number)
                    assert cached == (npc == "cached")
                    found.append((first, done))
            counts = palaver.gateway.cache.counts["elite"]
    print(f"{turns} turns each, one at a time; hit rate {counts.hit_rate:.3f}")
    print("         first text p50    p99   turn.done p50    p99   (ms)")
    for npc, found in times.items():
        firsts, dones = zip(*found, strict=True)
        row = [f"{1000 * value:8.3f}" for values in (firsts, dones) for value in both(values)]
        print(f"{npc}        {row[0]} {row[1]}        {row[2]} {row[3]}")


def both(values: tuple[float, ...]) -> tuple[float, float]:
    """Returns the median and the 99th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=100)[98]


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else TURNS))
