"""`palaver bench`: how fast turns are."""

from __future__ import annotations

from typing import Any

import click

from palaver.cli.options import Command, json_option, set_option, world_argument

__all__ = ["command"]


@click.command(
    "bench",
    cls=Command,
    example="""
    palaver bench
    palaver bench my-game --backend local --turns 200 --at-once 16
    palaver bench --url ws://127.0.0.1:8765 --persona vampire --json
    """,
)
@world_argument
@click.option(
    "--turns",
    type=click.IntRange(1, 1_000_000),
    default=1_000,
    show_default=True,
    help="Turns in all.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 1_000),
    default=1,
    show_default=True,
    help="Players that talk at once, each with an NPC and a connection of their own.",
)
@click.option(
    "--backend",
    default="static",
    show_default=True,
    metavar="NAME",
    help="The only backend that is asked.",
)
@click.option("--persona", metavar="NAME", help="Whom to talk to; the first one by default.")
@click.option(
    "--say", metavar="TEXT", default="Good evening.", show_default=True, help="What is said."
)
@click.option(
    "--url",
    metavar="ws://...",
    help="Measure a running server instead, with its own tiers. PALAVER_TOKEN holds its token.",
)
@set_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    world: str | None,
    turns: int,
    at_once: int,
    backend: str,
    persona: str | None,
    say: str,
    url: str | None,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    """Measure how fast turns are.

    Starts a server in a process of its own and talks to it over WebSocket: each player says
    something, waits for the whole reply, and says it again. First words are measured from the
    moment the turn is sent to the moment its first text has arrived. Nothing is remembered.
    """
    if url is not None and (world is not None or settings):
        raise click.UsageError(
            "With --url the other server has the world; leave WORLD and --set out."
        )
    from palaver.cli.benching import Load, measure
    from palaver.cli.loops import run
    from palaver.cli.output import log_to_stderr

    log_to_stderr()
    load = Load(turns=turns, at_once=at_once, persona=persona, text=say)
    if not run(measure(world, settings, backend, url, load, as_json=as_json)):
        ctx.exit(1)
