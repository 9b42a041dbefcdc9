"""`palaver render`: the exact prompt of a persona."""

from __future__ import annotations

from typing import Any

import click

from palaver.cli.options import Command, facts, json_option, set_option

__all__ = ["command"]


@click.command(
    "render",
    cls=Command,
    example="""
    palaver render body-broker vampire
    palaver render my-game innkeeper --say "A room, please." --fact rooms=0
    palaver render my-game innkeeper --fact player.reputation=friend --messages
    """,
)
@click.argument("world")
@click.argument("persona")
@click.option("--say", metavar="TEXT", default="Hello.", show_default=True, help="What is said.")
@click.option("--cue", metavar="TEXT", help="What happens, instead of something said.")
@click.option(
    "--fact",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A fact of the NPC, or with player. or game. in front of one of those; may be repeated.",
)
@click.option("--player", metavar="NAME", default="Player", show_default=True, help="Who speaks.")
@click.option("--lang", metavar="LANG", help="Language of the reply, such as fr.")
@click.option("--tier", metavar="TIER", help="Policy to use instead of the persona's.")
@click.option("--backend", metavar="NAME", help="Trim it as for this backend.")
@click.option("--messages", is_flag=True, help="Show the messages as a model server gets them.")
@set_option
@json_option
def command(
    world: str,
    persona: str,
    say: str,
    cue: str | None,
    pairs: tuple[str, ...],
    player: str,
    lang: str | None,
    tier: str | None,
    backend: str | None,
    messages: bool,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    """Show the exact prompt of a persona.

    Section by section, with the place it has in the prompt, the file and block it comes from, and
    its length. Plugins take part as in a real turn; nothing is remembered and no model is asked.
    """
    from palaver.cli.loops import run
    from palaver.cli.output import log_to_stderr
    from palaver.cli.rendering import Asked, show

    log_to_stderr()
    asked = Asked(
        persona=persona,
        text=None if cue is not None else say,
        cue=cue,
        facts=facts(pairs),
        player=player,
        lang=lang,
        tier=tier,
        backend=backend,
    )
    run(show(world, settings, asked, messages=messages, as_json=as_json))
