"""`palaver chat`: talk to an NPC in the terminal, the way an engine does."""

from __future__ import annotations

import os
from typing import Any

import click

from palaver.cli.options import Command, facts, json_option, set_option, world_argument

__all__ = ["command"]


@click.command(
    "chat",
    cls=Command,
    example="""
    palaver chat
    palaver chat my-game --npc vampire
    palaver chat --npc vampire --say "Good evening." --fact mood=bored
    palaver chat --url ws://127.0.0.1:8765 --npc vampire
    """,
)
@world_argument
@click.option("--npc", metavar="ID", help="Who to talk to: a persona, or with --url an NPC.")
@click.option("--say", metavar="TEXT", help="Say this, print the answer, and end.")
@click.option("--cue", metavar="TEXT", help="This happens; print what the NPC says, and end.")
@click.option("--player", metavar="NAME", default="Player", show_default=True, help="Your name.")
@click.option(
    "--fact",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A fact of the NPC, or with player. or game. in front of one of those; may be repeated.",
)
@click.option("--lang", metavar="LANG", help="Language of the replies, such as fr.")
@click.option("--tier", metavar="TIER", help="Policy to use instead of the persona's.")
@click.option("--trail/--no-trail", default=True, help="Show who answered and how fast.")
@click.option("--explain", is_flag=True, help="Show that on a timeline after each reply.")
@click.option(
    "--fresh",
    is_flag=True,
    help="The NPC remembers nothing of earlier chats, nor this one later. Costs and quality are "
    "not written down, and count from 0 for ceilings.",
)
@click.option(
    "--url",
    metavar="ws://...",
    help="Talk to a running server instead of one of your own. PALAVER_TOKEN holds its token.",
)
@click.option("--game", metavar="NAME", help="The running game to join.")
@set_option
@json_option
def command(
    world: str | None,
    npc: str | None,
    say: str | None,
    cue: str | None,
    player: str,
    pairs: tuple[str, ...],
    lang: str | None,
    tier: str | None,
    trail: bool,
    explain: bool,
    fresh: bool,
    url: str | None,
    game: str | None,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    """Talk to an NPC in the terminal.

    The world is served inside this command, and you talk to it over the wire as a game engine
    does. What you said is remembered for the next time.
    """
    if say is not None and cue is not None:
        raise click.UsageError("Give either --say or --cue.")
    if (say is not None or cue is not None) and npc is None:
        raise click.UsageError("--say and --cue need --npc: who is to answer?")
    if as_json and explain:
        raise click.UsageError("Give either --json or --explain.")
    if as_json and say is None and cue is None:
        raise click.UsageError("--json needs --say or --cue.")
    if url is not None and (world is not None or settings):
        raise click.UsageError(
            "With --url the other server has the world; leave WORLD and --set out."
        )
    from palaver.cli.chat.run import chat, once
    from palaver.cli.chat.talk import Options, Said

    options = Options(
        world=world,
        settings=settings,
        url=url,
        token=os.environ.get("PALAVER_TOKEN"),
        player=player,
        lang=lang,
        tier=tier,
        game=game,
        save=_save(fresh=fresh, url=url),
        fresh=fresh,
        facts=facts(pairs),
    )
    if npc is not None and (say is not None or cue is not None):
        said = Said(say or "") if cue is None else Said(cue, cue=True)
        once(options, npc, said, trail=trail, explain=explain, as_json=as_json)
    else:
        chat(options, npc, trail=trail, explain=explain)


def _save(*, fresh: bool, url: str | None) -> str | None:
    """Return the branch of memory to talk in: a new one, the usual one, or a server's own."""
    if fresh:
        return f"fresh-{os.urandom(6).hex()}"
    # Not the last one, which may have been a fresh one.
    return "main" if url is None else None
