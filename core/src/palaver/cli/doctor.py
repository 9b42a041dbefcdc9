"""`palaver doctor`: test every backend for real."""

from __future__ import annotations

from typing import Any

import click

from palaver.cli.options import Command, json_option, set_option, world_argument

__all__ = ["command"]


@click.command(
    "doctor",
    cls=Command,
    example="""
    palaver doctor
    palaver doctor my-game --persona vampire --backend local
    palaver doctor my-game --json
    """,
)
@world_argument
@click.option("--persona", metavar="NAME", help="Whom to let speak; the first one by default.")
@click.option("--backend", "only", metavar="NAME", help="Test this backend only.")
@click.option("--say", metavar="TEXT", default="Hello.", show_default=True, help="What is said.")
@click.option(
    "--limit",
    "limit_s",
    type=click.FloatRange(1, 600),
    default=60.0,
    show_default=True,
    help="Longest wait for each backend's reply, in seconds.",
)
@set_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    world: str | None,
    persona: str | None,
    only: str | None,
    say: str,
    limit_s: float,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    """Test every backend of a world for real.

    Asks each one, without fallback and without the time limits of a tier, how it is, what models
    it has, and for a short reply; shows when the first words were there. Nothing is remembered.
    Ends with exit code 1 if one of them fails.
    """
    from palaver.cli.doctoring import Asked, examine
    from palaver.cli.loops import run
    from palaver.cli.output import log_to_stderr

    log_to_stderr()
    asked = Asked(persona=persona, backend=only, text=say, limit_s=limit_s)
    if not run(examine(world, settings, asked, as_json=as_json)):
        ctx.exit(1)
