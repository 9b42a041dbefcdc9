"""The gateway: one world, its plugins, backends, memory and games, ready to run turns.

    async with Gateway(parts) as gateway:
        result = await gateway.ask("Good evening.", persona="vampire")

The server, the command line and bridges all run turns through it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from palaver.audience import Audience
from palaver.cache import DialogueCache
from palaver.chain.servers import Entry
from palaver.errors import ProtocolError
from palaver.game import Game, Place, unknown_npc
from palaver.lifecycle import cancel, quietly, start_backend, start_bridge, start_store
from palaver.memory import Exchange, player_key
from palaver.messages import TurnStart
from palaver.parts import Parts
from palaver.quality import Quality
from palaver.recent import RecentTurns
from palaver.spend.governor import Governor
from palaver.turn.accept import make_turn, unknown_persona
from palaver.turn.context import name_of
from palaver.turn.model import Turn, TurnResult
from palaver.turn.pipeline import Pipeline

if TYPE_CHECKING:
    from palaver.session_info import SessionInfo
    from palaver.turn.outgoing import TurnSink
    from palaver.world.world import World

__all__ = ["Gateway", "Parts"]

log = logging.getLogger("palaver.gateway")

STALE = ("ambient", "background")
"""Turns that are of no use when they come late: a bark about something that is over."""


class _NoSink:
    """Takes a turn's messages where only its result matters."""

    capabilities: frozenset[str] = frozenset()

    def emit(self, head: str, tail: str) -> None:
        """Drop the message."""

    end = emit


class Gateway:
    """One running Palaver.

    Attributes:
        settings: The settings.
        plugins: The plugins.
        backends: Configured backends by name.
        memory: Where exchanges are kept.
        store: Where gateways keep what they share.
        cache: What models said before.
        games: Running games by name.
        recent: The turns that ended last.
        data_dir: Folder for what the server writes.
        governor: Keeps what is spent below the ceilings.
        quality: How good replies are.
        hedges: How often two backends may work for the same turn.
        flights: Requests under way.
    """

    def __init__(self, parts: Parts) -> None:
        self.settings = parts.settings
        self.plugins = parts.plugins
        self.memory = parts.memory
        self.store = parts.store
        self.data_dir = parts.data_dir
        self.backends = {
            name: Entry(backend, kind) for name, (backend, kind) in parts.backends.items()
        }
        for name, entry in self.backends.items():
            told = (note.removeprefix(f"backends.{name}: ") for note in parts.notes)
            known = frozenset(told)
            for server in entry.servers:
                server.breaker.known = known
        self.games: dict[str, Game] = {}
        self.recent = RecentTurns()
        self._worlds = parts.worlds
        manager = parts.plugins.manager
        learned = None if parts.trial else parts.data_dir
        self.governor = Governor(parts.settings, self.backends, learned, store=parts.store)
        self.cache = DialogueCache(parts.settings, self.backends, parts.store)
        self._pipeline = Pipeline(
            manager,
            parts.settings,
            self.backends,
            parts.memory,
            governor=self.governor,
            cache=self.cache,
        )
        self.hedges = self._pipeline.shared.hedges
        self.flights = self._pipeline.shared.flights
        self.quality = Quality(
            parts.settings.quality,
            parts.settings.tiers,
            self.backends,
            learned,
            self.governor,
        )
        self._audience = Audience(manager, self.quality)
        self._numbers = itertools.count(1)
        self._stack: AsyncExitStack | None = None

    @property
    def world(self) -> World:
        """The world as it is now."""
        return self._worlds.current

    async def __aenter__(self) -> Self:
        """Open memory and backends and begin to watch the world.

        Raises:
            ConfigError: The memory cannot be opened.
        """
        async with AsyncExitStack() as stack:
            await self.memory.start()
            stack.push_async_callback(self.memory.close)
            await start_store(self.store)
            stack.push_async_callback(quietly, self.store.close, "the store")
            await self.governor.start()
            stack.push_async_callback(quietly, self.governor.close, "the spend governor")
            await asyncio.gather(*(start_backend(entry) for entry in self.backends.values()))
            for entry in self.backends.values():
                stack.push_async_callback(quietly, entry.backend.close, entry.backend.name)
            self.cache.start(self._pipeline.rehearse)
            stack.push_async_callback(quietly, self.cache.close, "the dialogue cache")
            await self.quality.start()
            stack.push_async_callback(quietly, self.quality.close, "the quality signals")
            for bridge in self.plugins.bridges:
                stack.push_async_callback(quietly, bridge.close, bridge.name)
                await start_bridge(bridge, self)
            watcher = asyncio.create_task(self._worlds.watch(), name="watch the world")
            stack.push_async_callback(cancel, watcher)
            stack.push_async_callback(self._audience.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close everything; safe to call twice."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def game(self, name: str) -> Game:
        """Return a running game; it begins when it is first named.

        Where there are as many as may be, the one that was idle the longest is forgotten: its
        engine would send its state again.

        Raises:
            ProtocolError: There are too many, and all are busy.
        """
        found = self.games.pop(name, None)
        if found is None:
            if len(self.games) >= self.settings.limits.games:
                self._forget_idle_game()
            found = Game(name, self.settings.limits, self.memory.last_save(name) or "main")
        # The one that was used last stands last.
        self.games[name] = found
        return found

    def _forget_idle_game(self) -> None:
        idle = next((name for name, game in self.games.items() if not game.busy), None)
        if idle is None:
            raise ProtocolError(
                "overloaded",
                f"{self.settings.limits.games} games are open; try again later, or raise "
                "limits.games",
                retryable=True,
            )
        del self.games[idle]

    def check_persona(self, persona: str) -> None:
        """Make sure that a persona exists.

        Raises:
            ProtocolError: It does not; the message names the nearest one.
        """
        if persona not in self.world.personas:
            raise unknown_persona(persona, self.world)

    def check_tier(self, tier: str | None) -> None:
        """Make sure that a tier exists.

        Raises:
            ProtocolError: It does not.
        """
        if tier is not None and tier not in self.settings.tiers:
            known = ", ".join(sorted(self.settings.tiers))
            raise ProtocolError("bad_message", f"there is no tier {tier!r}; there are: {known}")

    def make_turn(self, game: Game, fields: TurnStart) -> Turn:
        """Make a turn of what a client sent.

        Args:
            game: The game.
            fields: The message, checked.

        Raises:
            ProtocolError: The NPC or its persona does not exist.
        """
        return make_turn(self.world, self.settings, game, fields)

    def order(self, turn: Turn) -> tuple[str, ...]:
        """Return the key of turns that must run one after another with this one."""
        if turn.given_prompt is not None:
            return ("", turn.id)
        if turn.counterpart_key is not None:
            return (turn.npc.id, turn.counterpart_key)
        return (turn.npc.id, "", *sorted(turn.audience))

    def join(self, game: Game, turn: Turn) -> Place:
        """Take a turn's place among those of its NPC with its player.

        Raises:
            ProtocolError: Too many wait already.
        """
        place = game.join(self.order(turn))
        if place is None:
            raise ProtocolError(
                "overloaded",
                f"{self.settings.limits.queue} turns wait for {turn.npc.id!r} already; wait for "
                "one to finish, or cancel it",
                turn=turn.id,
                retryable=True,
            )
        return place

    async def run(self, turn: Turn, game: Game, place: Place, sink: TurnSink) -> None:
        """Run an accepted turn in its place; `turn.done` is sent whatever happens.

        Args:
            turn: The turn.
            game: Its game.
            place: Its place, from `join`; it is left.
            sink: Where its messages go.

        Raises:
            asyncio.CancelledError: It was cancelled; `turn.done` says so.
        """
        arrived = False
        try:
            await game.arrive(place)
            arrived = True
            if place.turn_comes is not None:
                waited_ms = (time.perf_counter() - turn.accepted_at) * 1000
                turn.waited_ms = waited_ms
                turn.note(f"waited {waited_ms:.0f} ms for the turns before it")
                if turn.priority in STALE and waited_ms > self.settings.limits.stale_ms:
                    turn.note("nobody wants it any more: see limits.stale_ms")
                    arrived = False
                    return
            begun = asyncio.get_running_loop().time()
            await self._pipeline.run(turn, game, sink, begun=begun)
        finally:
            game.leave(place)
            if not arrived:
                self._pipeline.never_ran(turn, sink)
            self.recent.add(turn)
            self._audience.turn_finished(turn)

    def remember(self, turn: Turn, heard: str) -> None:
        """Keep what was said and heard of a turn, in the background.

        Args:
            turn: The turn.
            heard: The part of the reply that was really heard; nothing is kept if it is empty,
                nor of a turn that a plugin refused (what no model may read now must not come to
                one with the next turn), nor of one whose client remembers for itself.
        """
        if not heard or turn.refused is not None or turn.given_history is not None:
            return
        game = self.games.get(turn.game) or Game(turn.game, self.settings.limits)
        speaker = turn.variables.get("player", {}).get("name") or turn.counterpart or ""
        exchange = Exchange(
            npc=turn.npc.id,
            counterpart=turn.counterpart_key,
            said=turn.cue if turn.cue is not None else turn.text,
            cue=turn.cue is not None,
            reply=heard,
            at=time.time(),
            speaker_name=str(speaker),
            npc_name=name_of(turn.npc.id, game, turn),
        )
        audience = [name if name in game.npcs else player_key(name) for name in turn.audience]
        try:
            self.memory.remember(turn.game, turn.save, exchange, audience)
        except Exception:
            log.exception("memory failed; turn %s is not remembered", turn.id)

    async def ask(
        self,
        text: str | None = None,
        *,
        npc: str | None = None,
        persona: str | None = None,
        player: str | None = None,
        game: str = "default",
        facts: Mapping[str, Any] | None = None,
        tier: str | None = None,
        sink: TurnSink | None = None,
        on_turn: Callable[[Turn], None] | None = None,
        **fields: Any,
    ) -> TurnResult:
        """Run one turn and return what it came to; for bridges, HTTP and programs.

        Args:
            text: What is said, or None with `cue=...`.
            npc: The NPC; it is created where it is new. The default is the persona's name.
            persona: Its persona; needed for an NPC that is new.
            player: Who speaks.
            game: The running game.
            facts: Facts of the NPC, merged key by key.
            tier: Policy, instead of the persona's.
            sink: Where messages go as they come, or None.
            on_turn: Called with the turn once it is accepted; what it changes counts.
            fields: More fields of `turn.start`: `cue`, `lang`, `seed`, `priority`, ...

        Raises:
            ProtocolError: The NPC or persona does not exist, a field is wrong, or there is no
                room.
        """
        name = npc or persona
        if name is None:
            raise ProtocolError("bad_message", "give `npc`, or a `persona` to speak with")
        number = fields.pop("turn", None) or f"ask-{next(self._numbers)}"
        message = _turn_start(turn=number, npc=name, player=player, text=text, **fields)
        if persona is not None:
            self.check_persona(persona)
        elif game not in self.games:
            raise unknown_npc(name)
        self.check_tier(tier)
        the_game = self.game(game)
        if persona is not None or facts or tier:
            the_game.upsert_npc(name, persona, tier=tier, facts=facts)
        turn = self.make_turn(the_game, message)
        return await self.ask_turn(turn, the_game, sink=sink, on_turn=on_turn)

    async def ask_turn(
        self,
        turn: Turn,
        game: Game,
        *,
        sink: TurnSink | None = None,
        on_turn: Callable[[Turn], None] | None = None,
    ) -> TurnResult:
        """Run a turn that is made already, remember it, and return what it came to.

        Args:
            turn: The turn.
            game: Its game.
            sink: Where messages go as they come, or None.
            on_turn: Called with the turn once it is accepted.

        Raises:
            ProtocolError: There is no room.
        """
        place = self.join(game, turn)
        if on_turn is not None:
            on_turn(turn)
        await self.run(turn, game, place, sink or _NoSink())
        if turn.result.status != "cancelled":
            self.remember(turn, turn.result.text)
        return turn.result

    def session_opened(self, session: SessionInfo) -> None:
        """Tell plugins that an engine has joined; they never delay it."""
        self._audience.session_opened(session)

    def session_closed(self, session: SessionInfo) -> None:
        """Tell plugins that an engine has left."""
        self._audience.session_closed(session)

    def feedback(self, turn: str, session: SessionInfo, kind: str, note: str | None) -> None:
        """Take what a player thinks of a reply, and tell plugins; nobody waits for them.

        Args:
            turn: The client's id of the turn.
            session: The session that says so.
            kind: `skip`, `like`, `dislike` or `report`.
            note: The player's own words, or None.
        """
        if kind in ("dislike", "report"):
            self.cache.dislike(session.id, turn, for_all=session.role == "engine")
        self._audience.feedback(turn, session, kind, note)


def _turn_start(**fields: Any) -> TurnStart:
    """Return a checked `turn.start`.

    Raises:
        ProtocolError: A field is wrong; the message names it.
    """
    try:
        return TurnStart.model_validate(fields)
    except ValidationError as err:
        from palaver.server.frames import problem

        raise ProtocolError("bad_message", problem(err, TurnStart)) from err
