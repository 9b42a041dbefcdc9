"""The two ways to chat: once, and until one has had enough."""

from __future__ import annotations

import logging
import sys

import click

from palaver.cli.chat.picture import picture
from palaver.cli.chat.screen import screen, trail_line
from palaver.cli.chat.session import ChatSession
from palaver.cli.chat.talk import Options, Said, Talk, open_talk
from palaver.cli.chat.terminal import Notices, Terminal
from palaver.cli.output import log_to_stderr, plain, send_log_to
from palaver.errors import PalaverError, ServerError
from palaver.messages import TurnDelta, TurnDone

__all__ = ["chat", "once"]


def once(
    options: Options, npc: str, said: Said, *, trail: bool, explain: bool, as_json: bool
) -> None:
    """Say one thing; only the answer goes to stdout.

    Args:
        options: How to talk.
        npc: To whom.
        said: What.
        trail: Whether the trail goes to stderr.
        explain: Whether it goes there as a timeline.
        as_json: Whether the messages are printed as JSON lines instead.

    Raises:
        PalaverError: The world, a setting or the server cannot be used, or there is no such NPC.
    """
    log_to_stderr()
    with open_talk(options) as talk:
        err = screen(sys.stderr)
        for note in talk.notes:
            err.line(plain(note), "yellow")
        try:
            talk.choose(npc)
        except LookupError as unknown:
            raise PalaverError(str(unknown.args[0])) from None
        try:
            done = _print_reply(talk, said, as_json=as_json)
        except ServerError as refused:
            raise PalaverError(refused.message) from refused
        if done is not None and explain:
            err.raw(picture(done, err, talk.cache_note(done.turn)))
        elif done is not None and trail and not as_json:
            err.line(trail_line(done), "dim")
        if done is not None and done.status == "cancelled":
            raise click.Abort


def _print_reply(talk: Talk, said: Said, *, as_json: bool) -> TurnDone | None:
    done: TurnDone | None = None
    out = screen()
    for event in talk.say(said):
        if isinstance(event, TurnDone):
            done = event
        if as_json:
            out.line(event.model_dump_json())
        elif isinstance(event, TurnDelta):
            out.say(event.text)
    if not as_json:
        out.end()
    return done


def chat(options: Options, npc: str | None, *, trail: bool, explain: bool) -> None:
    """Talk until the person ends it.

    Args:
        options: How to talk.
        npc: To whom at first, or None to offer a choice.
        trail: Whether trails are shown.
        explain: Whether they are shown as timelines.

    Raises:
        PalaverError: The world, a setting or the server cannot be used, or there is no such NPC.
    """
    log_to_stderr()
    with open_talk(options) as talk:
        out = screen()
        terminal = Terminal(out, lambda line: session.complete(line))
        session = ChatSession(talk, out, terminal, show_trail=trail, show_timeline=explain)
        send_log_to(Notices(terminal))
        # That a changed persona is live is what its writer waits for.
        world_log = logging.getLogger("palaver.world")
        world_log.setLevel(logging.INFO)
        try:
            _begin(session, npc)
            session.run()
        finally:
            world_log.setLevel(logging.NOTSET)
            log_to_stderr()
            terminal.close()


def _begin(session: ChatSession, npc: str | None) -> None:
    for note in session.talk.notes:
        session.screen.line(plain(note), "yellow")
    if not session.talk.people.all and npc is None:
        raise PalaverError(
            f"{session.talk.people.world} has no personas to talk to; `palaver check` says why, "
            "and `palaver init DIR` makes a world that has one"
        )
    if npc is None:
        if not session.choose():
            session.over = True
            return
    else:
        try:
            session.talk.choose(npc)
        except LookupError as unknown:
            raise PalaverError(str(unknown.args[0])) from None
    session.greet("/help shows what you can do.")
