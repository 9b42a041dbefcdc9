"""A conversation over the wire: what is said to whom, and the reply as it comes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from palaver.cli.chat.people import People, Person, ask_server, of_world
from palaver.cli.local import local_server
from palaver.cli.loops import LoopThread, on_interrupt
from palaver.client import Client, ClientTurn, TurnEvent, connect
from palaver.errors import ServerError
from palaver.messages import TurnAction, TurnDelta, TurnDone
from palaver.recent import RecentTurns

__all__ = ["Options", "Said", "Talk", "open_talk"]

OWN_GAME = "chat"
"""Game under which chats of this command are remembered, apart from those of engines."""
NOTE_S = 1.0
"""Time for the server to note a turn that is over, in seconds; without the note it is shown too."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for.

    Attributes:
        world: A folder, the name of an example, or None.
        settings: Settings by dotted key.
        url: A running server to talk to instead, or None.
        token: Its token, or None.
        player: Name of whoever talks.
        lang: Language of the replies, or None.
        tier: Tier instead of the persona's, or None.
        game: Game to join, or None for the usual one.
        save: Memory branch, or None for the usual one.
        fresh: Whether a server of one's own writes down no costs and no quality.
        facts: Facts by owner: `npc`, `player`, `game`.
    """

    world: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    url: str | None = None
    token: str | None = None
    player: str = "Player"
    lang: str | None = None
    tier: str | None = None
    game: str | None = None
    save: str | None = None
    fresh: bool = False
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def player_id(self) -> str:
        """Id of the player: the name in small letters, so that it is the same tomorrow."""
        return re.sub(r"\W+", "-", self.player.casefold()).strip("-")[:64] or "player"


@dataclass(frozen=True, slots=True)
class Said:
    """What was said last, to say it again.

    Attributes:
        text: What was said, or what happened.
        cue: Whether it happened rather than was said.
    """

    text: str
    cue: bool = False


class Talk:
    """One conversation.

    Args:
        loop: Where the client lives.
        client: The client.
        people: Who there is to talk to.
        options: What the command line asked for.
        notes: What whoever starts it should know.
        recent: The turns of a server of one's own, or None.
    """

    def __init__(
        self,
        loop: LoopThread,
        client: Client,
        people: People,
        options: Options,
        notes: list[str],
        recent: RecentTurns | None = None,
    ) -> None:
        self._recent = recent
        self._loop = loop
        self._client = client
        self._options = options
        self._facts: dict[str, dict[str, Any]] = {}
        self.people = people
        self.notes = notes
        self.npc: Person | None = None
        self.last: Said | None = None
        loop.call(
            client.upsert_player(
                options.player_id,
                name=options.player,
                lang=options.lang,
                facts=options.facts.get("player"),
            )
        )
        if game := options.facts.get("game"):
            loop.call(client.update_facts(game))

    def choose(self, name: str) -> Person:
        """Turn to somebody: a persona, or (on another server) an NPC that is there.

        Raises:
            LookupError: There is nobody of that name.
        """
        person = self.people.find(name)
        if person is not None:
            self._loop.call(
                self._client.upsert_npc(
                    person.id,
                    persona=person.id,
                    tier=self._options.tier,
                    facts={**self._options.facts.get("npc", {}), **self._facts.get(person.id, {})},
                )
            )
        elif self._options.url is not None:
            person = Person(name, name)
        else:
            raise LookupError(self.people.unknown(name))
        self.npc = person
        return person

    def set_facts(self, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Set facts of the NPC, the player and the game.

        Raises:
            ServerError: The server refuses.
        """
        assert self.npc is not None
        if own := facts.get("npc"):
            self._loop.call(self._client.update_facts(own, npc=self.npc.id))
            self._facts.setdefault(self.npc.id, {}).update(own)
        if player := facts.get("player"):
            self._loop.call(self._client.update_facts(player, player=self._options.player_id))
            self._note_facts("player", player)
        if game := facts.get("game"):
            self._loop.call(self._client.update_facts(game))
            self._note_facts("game", game)

    def _note_facts(self, owner: str, facts: Mapping[str, Any]) -> None:
        known = self._facts.setdefault("", {})
        known.update({f"{owner}.{name}": value for name, value in facts.items()})

    def facts(self) -> dict[str, str]:
        """Return the facts of this NPC as `/facts` shows them: declared, given and set here."""
        assert self.npc is not None
        given = self._options.facts
        shown = {
            **self.npc.facts,
            **given.get("npc", {}),
            **{f"player.{name}": value for name, value in given.get("player", {}).items()},
            **{f"game.{name}": value for name, value in given.get("game", {}).items()},
            **self._facts.get("", {}),
            **self._facts.get(self.npc.id, {}),
        }
        return {name: json.dumps(value, ensure_ascii=False) for name, value in shown.items()}

    def cache_note(self, turn: str) -> str | None:
        """Return what the cache made of a turn, or None where that is not known.

        Args:
            turn: Id of the turn.
        """
        return None if self._recent is None else self._loop.call(_noted(self._recent, turn))

    def say(self, said: Said) -> Iterator[TurnEvent]:
        """Say something and yield the reply's events; the last one is `TurnDone`.

        Ctrl-C stops the NPC: what was shown until then is what it remembers.

        Raises:
            ServerError: The server refuses.
            ConnectionLost: The server went away.
        """
        assert self.npc is not None
        self.last = said
        start = self._client.cue if said.cue else self._client.say
        reply = _Reply(self._loop)
        with on_interrupt(reply.stop):
            try:
                reply.turn = self._loop.call(
                    start(
                        self.npc.id,
                        said.text,
                        player=self._options.player_id,
                        lang=self._options.lang,
                        priority="player",
                    )
                )
            except ServerError as err:
                if err.code != "unknown_npc":
                    raise
                raise ServerError(err.code, self.people.unknown(self.npc.id)) from err
            while (event := self._loop.call(_next(reply.turn))) is not None:
                if isinstance(event, TurnDelta):
                    if reply.stopping:
                        continue
                    reply.heard += event.text
                yield event
                if isinstance(event, TurnAction):
                    with suppress(ServerError):
                        # No game is here that could refuse; a player's token may not say so.
                        self._loop.call(reply.turn.action_result(event.call, ok=True))
                if isinstance(event, TurnDone):
                    return


class _Reply:
    """One reply, which Ctrl-C stops.

    Args:
        loop: Where the client lives.
    """

    def __init__(self, loop: LoopThread) -> None:
        self._loop = loop
        self.turn: ClientTurn | None = None
        self.heard = ""
        self.stopping = False

    def stop(self) -> None:
        """Stop the NPC; before it has begun, or if asked twice, stop waiting for it too."""
        if self.turn is None or self.stopping:
            raise KeyboardInterrupt
        self.stopping = True
        self._loop.start(self.turn.cancel(self.heard))


async def _next(turn: ClientTurn) -> TurnEvent | None:
    return await anext(turn, None)


async def _noted(recent: RecentTurns, turn: str) -> str | None:
    """Wait for a turn to be told of, which is right after its last message."""
    with suppress(TimeoutError):
        async with asyncio.timeout(NOTE_S):
            while (found := recent.find(turn)) is None:  # noqa: ASYNC110 - nobody says when
                await asyncio.sleep(0.005)
            note: str | None = found["cache"]
            return note
    return None


@contextmanager
def open_talk(options: Options) -> Iterator[Talk]:
    """Open a conversation with a server of one's own, or with a running one.

    Raises:
        PalaverError: The world, a setting or the server cannot be used.
    """
    with LoopThread() as loop, loop.holding(_open(options)) as (client, people, notes, recent):
        yield Talk(loop, client, people, options, notes, recent)


@asynccontextmanager
async def _open(
    options: Options,
) -> AsyncIterator[tuple[Client, People, list[str], RecentTurns | None]]:
    if options.url is not None:
        people = await ask_server(options.url, options.token)
        async with _client(options, options.url, options.game or "default") as client:
            yield client, people, [], None
        return
    own = local_server(options.world, options.settings, trial=options.fresh)
    async with own as (gateway, server, parts):
        people = of_world(gateway.world)
        # What is broken in the world or a plugin is logged already.
        notes = list(parts.notes)
        async with _client(options, server.url, options.game or OWN_GAME) as client:
            yield client, people, notes, gateway.recent


def _client(options: Options, url: str, game: str) -> Client:
    return connect(
        url, game=game, save=options.save, token=options.token, client_name="palaver chat"
    )
