"""`palaver serve`: serve a world to game engines until it is told to stop."""

from __future__ import annotations

from typing import Any

import click

from palaver.cli.options import Command, json_option, set_option, world_argument

__all__ = ["command"]


@click.command(
    "serve",
    cls=Command,
    example="""
    palaver serve
    palaver serve my-game --port 9000
    palaver serve my-game --set tiers.elite.first_text_ms=900
    """,
)
@world_argument
@click.option(
    "--host", metavar="HOST", help="Address to listen on; beyond this machine needs tokens."
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="How much is logged; info has one line for each turn.",
)
@set_option
@json_option
def command(
    world: str | None,
    host: str | None,
    port: int | None,
    log_level: str,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    """Serve a world to game engines.

    Engines connect to the address it prints, over WebSocket or HTTP. A saved persona, template or
    CSV is live on the next turn; plugins and palaver.toml need a restart. Ctrl-C stops it.

    With --json the first line of stdout tells the address, and each further line is of the log.
    """
    from palaver.cli.loops import run
    from palaver.cli.serving import serve

    if host is not None:
        settings["server.host"] = host
    if port is not None:
        settings["server.port"] = port
    run(serve(world, settings, log_level=log_level, as_json=as_json))
