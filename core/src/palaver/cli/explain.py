"""`palaver explain`: who answered a turn, when and why."""

from __future__ import annotations

import os

import click

from palaver.cli.options import Command, json_option

__all__ = ["command"]

URL = "http://127.0.0.1:8765"


@click.command(
    "explain",
    cls=Command,
    example="""
    palaver explain
    palaver explain --last 5
    palaver explain t17 --url http://game.example:8765
    palaver explain --file client.log
    """,
)
@click.argument("turn", required=False)
@click.option(
    "--url",
    metavar="http://...",
    default=URL,
    show_default=True,
    help="The running server to ask. PALAVER_TOKEN holds its token.",
)
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(1, 1_000),
    help="Show the last N turns; 1 if left out.",
)
@click.option(
    "--file",
    metavar="FILE",
    help="Read turns from a file instead: messages turn.done, a client's log; - is standard input.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    turn: str | None,
    url: str,
    last: int | None,
    file: str | None,
    as_json: bool,
) -> None:
    """Show who answered a turn, when and why.

    Prints the trail of a turn as a timeline: which backends were asked when, when their first
    text came, what became of each and what it cost. TURN is the id that the client gave it;
    without one it is the last turn that has ended. A server keeps the last 1,000 turns, without
    a word of what was said.
    """
    if turn is not None and last is not None:
        raise click.UsageError("Give either TURN or --last.")
    url_given = ctx.get_parameter_source("url") is click.core.ParameterSource.COMMANDLINE
    if file is not None and url_given:
        raise click.UsageError("Give either --file or --url.")
    from palaver.cli.explaining import turns_of_file, turns_of_server
    from palaver.cli.loops import run
    from palaver.cli.output import log_to_stderr, print_json

    log_to_stderr()
    if file is not None:
        turns = turns_of_file(file, turn, last or 1)
    else:
        turns = run(turns_of_server(url, os.environ.get("PALAVER_TOKEN"), turn, last or 1))
    if as_json:
        print_json([one.model_dump(exclude_none=True) for one in turns])
        return
    from palaver.cli.timeline.screen import show

    show(turns)
