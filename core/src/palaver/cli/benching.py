"""How `palaver bench` measures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Any

from palaver.cli.bench_player import Load, Player, Times
from palaver.cli.bench_server import ServerProcess
from palaver.cli.chat.people import ask_server
from palaver.cli.output import console, print_json, safe, table
from palaver.errors import PalaverError

__all__ = ["Load", "measure"]

TIER = "bench"
"""Tier of the server that is started: the one backend, and time enough."""
WARM_UP = 20
"""Turns before the clock runs, at most, for each player."""


async def measure(
    world: str | None,
    settings: Mapping[str, Any],
    backend: str,
    url: str | None,
    load: Load,
    *,
    as_json: bool,
) -> bool:
    """Measure a server and print the figures.

    Args:
        world: A folder, the name of an example, or None.
        settings: Settings by dotted key.
        backend: The only backend that is asked.
        url: A running server instead, or None.
        load: What is asked of it.
        as_json: Whether a program reads the figures.

    Returns:
        Whether the backend that was meant answered all turns.

    Raises:
        PalaverError: The server cannot be started or reached, or refuses.
    """
    if url is not None:
        times = await _run(url, load, token=os.environ.get("PALAVER_TOKEN"))
        _report(_figures(times, load), where=url, as_json=as_json)
        return True
    overrides = {
        "limits.messages_per_s": 1e9,
        f"tiers.{TIER}.chain": [backend],
        f"tiers.{TIER}.first_text_ms": 30_000,
        f"tiers.{TIER}.first_token_ms": 30_000,
        f"tiers.{TIER}.total_ms": 60_000,
        **settings,
    }
    async with ServerProcess(world, overrides) as server:
        if backend not in server.backends:
            known = ", ".join(server.backends) or "none"
            raise PalaverError(f"there is no backend {backend!r} here; there are: {known}")
        used: list[float | None] = []
        times = await _run(
            server.url, load, tier=TIER, on_start=lambda: used.append(server.cpu_s())
        )
        figures = _figures(times, load)
        before, after = used[0], server.cpu_s()
        if before is not None and after is not None:
            figures["server_cpu_ms_per_turn"] = round((after - before) * 1000 / load.turns, 3)
        if (memory := server.memory_mb()) is not None:
            figures["server_memory_mb"] = memory
    _report(figures, where=f"{server.world}, backend {backend}", as_json=as_json)
    return set(times.served_by) == {backend}


async def _run(
    url: str,
    load: Load,
    *,
    tier: str | None = None,
    token: str | None = None,
    on_start: Callable[[], None] | None = None,
) -> Times:
    """Let all players talk and return what was measured."""
    persona = load.persona
    if persona is None:
        people = (await ask_server(url, token)).all
        if not people:
            raise PalaverError("the server has no personas; give --persona")
        persona = people[0].id
    players = min(load.at_once, load.turns)
    async with AsyncExitStack() as stack:
        talkers = []
        for number in range(players):
            talker = Player(number, load, persona, tier)
            await talker.open(url, token, stack)
            talkers.append(talker)
        stack.enter_context(console(err=True).status(f"{players} at once, {load.turns} turns …"))
        warm_up = min(WARM_UP, -(-load.turns // players))
        await asyncio.gather(*(talker.talk(warm_up, Times()) for talker in talkers))
        if on_start is not None:
            on_start()
        times = Times()
        began = perf_counter()
        shares = [load.turns // players + (n < load.turns % players) for n in range(players)]
        await asyncio.gather(
            *(talker.talk(share, times) for talker, share in zip(talkers, shares, strict=True))
        )
        times.elapsed_s = perf_counter() - began
    return times


def _figures(times: Times, load: Load) -> dict[str, Any]:
    return {
        "turns": load.turns,
        "at_once": load.at_once,
        "first_text_ms": _spread(times.first),
        "whole_ms": _spread(times.whole),
        "turns_per_s": round(len(times.whole) / times.elapsed_s, 1),
        "frames_per_s": round(times.frames / times.elapsed_s, 1),
        "served_by": dict(times.served_by),
    }


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return median, tail and longest of some times, in milliseconds."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    last = len(ordered) - 1
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[round(last * part)] * 1000, 3) for name, part in at.items()}


def _report(figures: dict[str, Any], *, where: str, as_json: bool) -> None:
    if as_json:
        print_json({"where": where, **figures})
        return
    out = console()
    out.print(
        f"[bold]{safe(where)}[/] [dim]{figures['turns']} turns, {figures['at_once']} at once[/]",
        soft_wrap=True,
    )
    rows = table("", "p50", "p90", "p99", "max")
    for name, key in (("first words", "first_text_ms"), ("whole reply", "whole_ms")):
        spread = figures[key]
        rows.add_row(name, *(f"{spread[part]:.2f} ms" for part in spread))
    out.print(rows)
    out.print(f"{figures['turns_per_s']} turns/s, {figures['frames_per_s']} text frames/s")
    if "server_cpu_ms_per_turn" in figures:
        out.print(
            f"{figures['server_cpu_ms_per_turn']:.2f} ms of processor for each turn, "
            f"{figures.get('server_memory_mb', 0):.0f} MB in the server"
        )
    spoke = ", ".join(f"{safe(name)} {count}" for name, count in figures["served_by"].items())
    out.print(f"[dim]who spoke: {spoke}[/]")
