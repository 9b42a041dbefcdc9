"""`palaver cost`: what players would cost, and what they did cost today."""

from __future__ import annotations

from typing import Any

import click

from palaver.cli.options import Command, json_option, set_option

__all__ = ["command"]

SHARE = click.FloatRange(0, 100)
USD = click.FloatRange(0)
ASSUMED = 80.0
"""Percent of dialogues from the cache in the analysis whose figures the defaults are."""
MEASURED = 1.0
"""The same in the simulated day with the shipped tiers; docs/explanation/cost.md has it."""


@click.command(
    "cost",
    cls=Command,
    example="""
    palaver cost
    palaver cost --players 200 --cache 60 --local 95
    palaver cost --model gpt-6-luna --prompt-tokens 900 --reply-tokens 60
    palaver cost my-game --prompt-tokens 900 --reply-tokens 60
    palaver cost my-game --spent
    """,
)
@click.argument("named", metavar="[WORLD]", required=False)
@click.option("--players", type=click.IntRange(1), default=1_000, show_default=True)
@click.option(
    "--dialogues",
    type=click.FloatRange(0),
    default=20,
    show_default=True,
    help="Dialogues of a player in an hour.",
)
@click.option("--hours", type=click.FloatRange(0, 24), default=12, show_default=True, help="A day.")
@click.option("--days", type=click.FloatRange(1, 31), default=30, show_default=True)
@click.option(
    "--prompt-tokens",
    type=click.FloatRange(0),
    default=100,
    show_default=True,
    help="Tokens that a model reads for one dialogue.",
)
@click.option(
    "--reply-tokens",
    type=click.FloatRange(0),
    default=50,
    show_default=True,
    help="Tokens that it writes.",
)
@click.option(
    "--price",
    type=USD,
    default=None,
    help="US dollars for 1,000 tokens, prompt or reply.  [default: 0.03]",
)
@click.option("--model", metavar="NAME", help="Take the price of this model from the price table.")
@click.option(
    "--prompt-cached",
    type=SHARE,
    default=0,
    show_default=True,
    help="Percent of prompt tokens that the provider has in its own cache.",
)
@click.option(
    "--cache",
    type=SHARE,
    default=None,
    help="Percent of dialogues that the dialogue cache answers, where it is used.  [default: "
    "80, the analysis's; for a WORLD 1, as measured with the shipped tiers]",
)
@click.option(
    "--local",
    type=SHARE,
    default=80,
    show_default=True,
    help="Percent of the others that a local model answers, where there is one.",
)
@click.option(
    "--hardware", type=USD, default=30_000, show_default=True, help="Machines for local models."
)
@click.option(
    "--lifetime",
    type=click.FloatRange(1),
    default=36,
    show_default=True,
    help="How long they last, in months.",
)
@click.option(
    "--running",
    type=USD,
    default=0,
    show_default=True,
    help="What they cost each month besides: power, space, people.",
)
@click.option("--world", metavar="WORLD", help="The same as WORLD.")
@click.option("--spent", is_flag=True, help="Show what was spent today (UTC) instead.")
@set_option
@json_option
def command(
    named: str | None,
    world: str | None,
    settings: dict[str, Any],
    as_json: bool,
    **asked: Any,
) -> None:
    """Say what players would cost, or did today.

    With WORLD, chains and prices are those of its tiers, and with --spent it is its gateway's
    sums that are shown; without, those of the world in the current folder.

    The defaults are those of a cost analysis whose figures many start from: 1,000 players, $0.03
    for 1,000 tokens, 150 tokens a dialogue. Take them for what they are. A prompt costs too, and
    an NPC's has 500 to 2,000 tokens, not 100: say --prompt-tokens. Prompt and reply have
    different prices: say --model. A cache seldom answers 80 %: say --cache. Machines need power
    and somebody who looks after them: say --running. And 1,000 players at once, 12 hours a day,
    are many more than 1,000 players.
    """
    from palaver.cli.costing import Asked, say_cost, say_world
    from palaver.cli.output import log_to_stderr
    from palaver.cli.spent import say_spent

    log_to_stderr()
    if named is not None and world is not None:
        raise click.UsageError("Give the world once.")
    world = named if world is None else world
    spent = asked.pop("spent")
    if asked["cache"] is None:
        asked["cache"] = ASSUMED if world is None else MEASURED
    if spent:
        say_spent(world, settings, as_json=as_json)
    elif world is not None:
        say_world(world, settings, Asked(**asked), as_json=as_json)
    else:
        say_cost(Asked(**asked), settings, as_json=as_json)
