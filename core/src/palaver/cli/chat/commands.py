"""What can be typed in a chat besides what is said: `/help`, `/npc`, `/facts` ..."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from palaver.cli.chat.talk import Said
from palaver.cli.options import facts as parse_facts

if TYPE_CHECKING:
    from palaver.cli.chat.session import ChatSession

__all__ = ["completions", "perform"]

HELP = {
    "/npc NAME": "talk to somebody else; without a name, show who there is",
    "/facts NAME=VALUE": "change a fact: mood=bored, player.reputation=friend, game.night=true",
    "/cue WHAT": "something happens: /cue The player draws a sword.",
    "/again": "say the last thing again",
    "/trail": "show or hide who answered and how fast",
    "/explain": "the last answer on a timeline; `/explain on` shows one after each",
    "/help": "this",
    "/quit": "end (also Ctrl-D)",
}
FOOTER = "An empty line: you say nothing. Ctrl-C while somebody speaks interrupts them."


def perform(session: ChatSession, line: str) -> Said | None:
    """Do what a line that begins with `/` asks for.

    Args:
        session: The chat.
        line: The line.

    Returns:
        Something to say, where that is what it asks for.
    """
    name, _, rest = line[1:].partition(" ")
    command = _find(name)
    if command is None:
        session.screen.line(f"There is no /{name}; /help shows what there is.", "yellow")
        return None
    return command(session, rest.strip())


def _find(name: str) -> Callable[[ChatSession, str], Said | None] | None:
    if name in _COMMANDS:
        return _COMMANDS[name]
    begun = [known for known in _COMMANDS if name and known.startswith(name)]
    return _COMMANDS[begun[0]] if len(begun) == 1 else None


def completions(line: str, people: Sequence[str], facts: Sequence[str]) -> list[str]:
    """Return what the last word of a line can be completed to."""
    words = line.split(" ")
    if len(words) == 1:
        begin = [f"/{name} " for name in _COMMANDS] if line.startswith("/") else []
    elif words[0] == "/npc":
        begin = list(people)
    elif words[0] == "/facts":
        begin = [f"{name}=" for name in facts]
    else:
        begin = []
    return sorted(word for word in begin if word.startswith(words[-1]))


def _help(session: ChatSession, rest: str) -> None:
    width = max(len(usage) for usage in HELP)
    for usage, meaning in HELP.items():
        session.screen.line(f"  {usage:<{width}}  {meaning}")
    session.screen.line(f"  {FOOTER}", "dim")


def _npc(session: ChatSession, rest: str) -> None:
    if not rest:
        session.offer()
        return
    try:
        session.talk.choose(rest)
    except LookupError as err:
        session.screen.line(str(err.args[0]), "yellow")
        return
    session.greet()


def _facts(session: ChatSession, rest: str) -> None:
    if rest:
        try:
            session.talk.set_facts(parse_facts(_pairs(rest)))
        except click.BadParameter:
            session.screen.line("Write NAME=VALUE, such as mood=bored.", "yellow")
            return
    known = session.talk.facts()
    if not known:
        session.screen.line("No facts are declared or set.", "dim")
    width = max(map(len, known), default=0)
    for name, value in known.items():
        session.screen.line(f"  {name:<{width}}  {value}", "dim")


def _pairs(text: str) -> list[str]:
    """Split `a=1 b="two words" c=three words` where a new name begins."""
    pairs: list[str] = []
    for word in text.split(" "):
        begins = "=" in word and word.partition("=")[0].replace(".", "").isidentifier()
        if begins or not pairs:
            pairs.append(word)
        else:
            pairs[-1] += f" {word}"
    return pairs


def _cue(session: ChatSession, rest: str) -> Said | None:
    if not rest:
        session.screen.line("Write what happens: /cue The player draws a sword.", "yellow")
        return None
    return Said(rest, cue=True)


def _again(session: ChatSession, rest: str) -> Said | None:
    if session.talk.last is None:
        session.screen.line("Nothing was said yet.", "yellow")
    return session.talk.last


def _trail(session: ChatSession, rest: str) -> None:
    session.show_trail = not session.show_trail
    state = "shown" if session.show_trail else "hidden"
    session.screen.line(f"The trail is {state} from now on.", "dim")


def _explain(session: ChatSession, rest: str) -> None:
    if rest in ("on", "off"):
        session.show_timeline = rest == "on"
        state = "shown" if session.show_timeline else "no longer shown"
        session.screen.line(f"Timelines are {state} after each answer.", "dim")
    elif rest:
        session.screen.line("Write /explain, /explain on or /explain off.", "yellow")
    elif session.last_done is None:
        session.screen.line("Nobody has answered yet.", "yellow")
    else:
        session.explain(session.last_done)


def _quit(session: ChatSession, rest: str) -> None:
    session.over = True


_COMMANDS: dict[str, Callable[[ChatSession, str], Said | None]] = {
    "again": _again,
    "cue": _cue,
    "explain": _explain,
    "facts": _facts,
    "help": _help,
    "npc": _npc,
    "quit": _quit,
    "exit": _quit,
    "trail": _trail,
}
