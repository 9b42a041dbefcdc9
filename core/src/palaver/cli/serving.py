"""What `palaver serve` does while it serves."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from palaver._version import __version__
from palaver.cache.notes import NOTE
from palaver.chain.backend import Health
from palaver.cli.output import (
    HeldLog,
    console,
    log_to_stderr,
    milliseconds,
    print_json,
    safe,
    send_log_to,
    table,
)
from palaver.gateway import Gateway, Parts
from palaver.hookspecs import hookimpl
from palaver.server.app import Server
from palaver.startup import prepare

if TYPE_CHECKING:
    from palaver.chain.servers import Entry
    from palaver.turn.model import Turn, TurnResult

__all__ = ["health_of", "serve"]

log = logging.getLogger("palaver.serve")

GC_THRESHOLD = 5_000
"""Objects that come before the collector looks at the youngest; a turn makes about 200."""
HEALTH_S = 5.0
"""Time for a backend to say how it is, in seconds."""


class TurnLog:
    """A plugin of the command itself: one line in the log for each turn, without what was said."""

    @hookimpl(trylast=True)
    def palaver_turn_finished(self, turn: Turn, result: TurnResult) -> None:
        """Log a turn."""
        asked = " → ".join(f"{one.backend} {one.outcome}" for one in result.trail) or "nobody asked"
        log.info(
            "%s to %s: %s · first words %s · %s in all%s",
            turn.npc.id,
            turn.counterpart or "nobody",
            asked,
            milliseconds(result.ttft_ms),
            milliseconds(result.total_ms),
            "" if result.status == "completed" else f" · {result.status}",
        )
        for note in turn.trace:
            if note.startswith(NOTE):
                continue  # nearly each turn has one; `palaver explain` shows it
            log.info("%s: %s", turn.npc.id, note)


async def serve(
    world: str | None,
    settings: Mapping[str, Any],
    *,
    log_level: str,
    as_json: bool,
) -> None:
    """Serve a world until SIGINT or SIGTERM.

    Args:
        world: A folder, the name of an example, or None.
        settings: Settings by dotted key.
        log_level: Least level of the log.
        as_json: Whether a program reads what is printed.

    Raises:
        PalaverError: The world or a setting cannot be used.
    """
    held = HeldLog() if as_json else None
    if held is None:
        log_to_stderr(log_level)
    else:
        send_log_to(held, log_level)
    try:
        await _serve(world, settings, log_level, held)
    finally:
        if held is not None:
            held.let_go(log_level)


async def _serve(
    world: str | None,
    settings: Mapping[str, Any],
    log_level: str,
    held: HeldLog | None,
) -> None:
    stop = _stop_on_signals()
    parts = await prepare(world, overrides=settings)
    if log.isEnabledFor(logging.INFO):
        parts.plugins.manager.register(TurnLog(), "palaver turn log")
    async with Gateway(parts) as gateway, Server(gateway) as server_:
        await _announce(gateway, server_, parts, as_json=held is not None)
        if held is not None:
            held.let_go(log_level)
        spare_the_collector()
        await stop.wait()
        log.info("stopping")


def spare_the_collector() -> None:
    """Take what is loaded by now out of the garbage collector's sight.

    It stays as long as the server does, and looking through all of it again and again would stop
    every turn for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


def _stop_on_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set; a second one ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, on_signal, number)
        except NotImplementedError:  # Windows.
            signal.signal(number, lambda n, _: loop.call_soon_threadsafe(on_signal, n))
    return stop


async def health_of(entry: Entry, limit_s: float = HEALTH_S) -> Health:
    """Ask a backend how it is, and take whatever goes wrong for an answer.

    Args:
        entry: The backend.
        limit_s: Time it has, in seconds.
    """
    try:
        async with asyncio.timeout(limit_s):
            return await entry.backend.health()
    except TimeoutError:
        return Health(ok=False, detail=f"did not answer within {limit_s:.0f} s")
    except Exception as err:
        return Health(ok=False, detail=f"{type(err).__name__}: {err}")


async def _announce(gateway: Gateway, server: Server, parts: Parts, *, as_json: bool) -> None:
    entries = gateway.backends
    answers = await asyncio.gather(*(health_of(entry) for entry in entries.values()))
    health = dict(zip(entries, answers, strict=True))
    world = gateway.world
    notes = list(parts.notes)
    problems = [str(problem) for problem in world.problems]
    if as_json:
        print_json(
            {
                "event": "ready",
                "url": server.url,
                "http_url": server.http_url,
                "version": __version__,
                "world": world.name,
                "folder": str(world.folder),
                "personas": {key: one.front.name for key, one in world.personas.items()},
                "backends": {
                    name: {
                        "type": entry.type.name,
                        "ok": health[name].ok,
                        "detail": health[name].detail,
                    }
                    for name, entry in entries.items()
                },
                "notes": notes,
                "problems": problems,
            },
            indent=None,
        )
        sys.stdout.flush()
        return
    out = console()
    out.print(
        f"[bold]Palaver {__version__}[/] serves [bold]{safe(world.name)}[/] "
        f"[dim]{safe(world.folder)}[/]",
        soft_wrap=True,
    )
    people = ", ".join(
        f"{safe(key)} [dim]({safe(one.front.name)})[/]"
        for key, one in sorted(world.personas.items())
    )
    out.print(f"[dim]personas[/]  {people or '[yellow]none[/]'}", soft_wrap=True)
    rows = table("backend", "type", "", "")
    for name, entry in entries.items():
        state = "[green]answers[/]" if health[name].ok else "[yellow]does not answer[/]"
        rows.add_row(
            safe(name), safe(entry.type.name), state, f"[dim]{safe(health[name].detail)}[/]"
        )
    out.print(rows)
    for note in notes:
        out.print(f"[yellow]{safe(note)}[/]", soft_wrap=True)
    out.print(f"Engines connect to [bold]{safe(server.url)}[/]. Ctrl-C stops it.", soft_wrap=True)
