"""The client: one session of one game with a Palaver server."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl as ssl_module
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from palaver._version import __version__
from palaver.client.link import Link, Target
from palaver.client.outbox import Outbox, Request
from palaver.client.state import State
from palaver.client.turn import ClientTurn
from palaver.errors import ConnectionLost, PalaverError, ServerError
from palaver.messages import (
    CLIENT_MESSAGES,
    PROTOCOL,
    ActionSpec,
    ClientInfo,
    Error,
    SessionReady,
    SessionStart,
    TurnAccepted,
    TurnDone,
)

__all__ = ["Client", "connect"]

MAX_WAITING = 256
"""Calls of one client that may wait for the server at once; further ones wait for their turn."""
MESSAGE_BYTES = 60_000

_log = logging.getLogger("palaver.client")


def connect(
    url: str = "ws://127.0.0.1:8765",
    *,
    game: str = "default",
    save: str | None = None,
    token: str | None = None,
    client_name: str = "palaver-python",
    client_version: str = __version__,
    engine: str = "",
    capabilities: Iterable[str] = ("sentence", "emotion", "action"),
    ssl: ssl_module.SSLContext | None = None,
    reconnect: bool = True,
    timeout_s: float = 10.0,
    turn_timeout_s: float | None = 120.0,
) -> Client:
    """Return a client; `async with` opens its session and ends it.

    Args:
        url: Address of the server, `ws://` or `wss://`; without a path `/v1` is meant.
        game: The running game or shard under which NPCs, players, facts and memory live.
        save: Memory branch to go on with, or None for the game's last one.
        token: Where the server asks for one.
        client_name: Who connects, for the server's log.
        client_version: Its version.
        engine: The engine and its version.
        capabilities: What the client wants to receive or promises: `sentence`, `emotion`,
            `action`, and `heard` (then a reply is remembered only after `ClientTurn.heard`).
        ssl: TLS settings for `wss://`, or None for the system's certificates.
        reconnect: Whether to connect again after a cut, for as long as the client is open. The
            first connection is tried once.
        timeout_s: Limit, in seconds, of connecting and of every call but reading a turn.
        turn_timeout_s: Longest silence of a turn, in seconds, or None for no limit.

    Raises:
        ValueError: An argument is not of the protocol.
    """
    start = SessionStart(
        protocol=PROTOCOL,
        client=ClientInfo(name=client_name, version=client_version, engine=engine),
        token=token,
        game=game,
        save=save,
        capabilities=list(capabilities),
    ).model_dump(exclude_none=True)
    parts = urlsplit(url)
    if parts.path in ("", "/"):
        url = urlunsplit(parts._replace(path="/v1"))
    target = Target(url, ssl, start, reconnect, timeout_s)
    return Client(target, turn_timeout_s=turn_timeout_s)


class Client:
    """A session with a Palaver server; made by `connect`.

    Every call waits until the server has handled it, so what it refuses is raised where it was
    asked for. A cut in between is no error, as long as the connection is back in time.

    All methods raise:
        ServerError: The server refuses, with its error code.
        ConnectionLost: Not confirmed within `timeout_s`, or the session is over.
        ValueError: An argument is not of the protocol.
    """

    def __init__(self, target: Target, *, turn_timeout_s: float | None) -> None:
        self._timeout_s = target.timeout_s
        self._turn_timeout_s = turn_timeout_s
        self._outbox = Outbox()
        self._state = State()
        self._turns: dict[str, ClientTurn] = {}
        self._accepted: set[str] = set()
        self._slots = asyncio.Semaphore(MAX_WAITING)
        self._link = Link(target, self._outbox, self)
        self._task: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._over: ServerError | None = None
        self._prefix = secrets.token_hex(4)
        self._count = 0

    @property
    def ready(self) -> SessionReady:
        """What the server said when it opened the session: id, version, capabilities, limits.

        Raises:
            ConnectionLost: The client is not open yet.
        """
        if self._link.ready is None:
            raise ConnectionLost("the client is not open; use `async with`")
        return self._link.ready

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._link.connected.is_set()

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise PalaverError("a client is opened once; call `connect` again for another one")
        self._task = asyncio.create_task(self._link.run(self._opened.set), name="palaver client")
        try:
            # The link's own limit is the same; this one is for what it does not foresee.
            async with asyncio.timeout(self._timeout_s + 5):
                await self._opened.wait()
        except BaseException:
            await self.close()
            raise
        if self._over is not None:
            await self.close()
            raise self._over.with_traceback(None)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session. Open turns end with `ConnectionLost`. Safe to call twice."""
        await self._link.close()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,), timeout=self._timeout_s)
        if self._over is None:
            self.on_lost(ConnectionLost("the client was closed"))

    async def upsert_npc(
        self,
        npc: str,
        *,
        persona: str,
        tier: str | None = None,
        zone: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Create or change an NPC.

        Args:
            npc: The engine's id of it.
            persona: Name of a persona of the world.
            tier: Policy of its turns, or None for the persona's.
            zone: Where it is; None leaves it as it was.
            facts: Facts by name, merged key by key; plain data of at most 4,000 bytes each.
        """
        await self.tell("npc.upsert", npc=npc, persona=persona, tier=tier, zone=zone, facts=facts)

    async def remove_npc(self, npc: str) -> None:
        """Remove an NPC; its memory stays."""
        await self.tell("npc.remove", npc=npc)

    async def upsert_player(
        self,
        player: str,
        *,
        name: str | None = None,
        zone: str | None = None,
        lang: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Create or change a player; what is None stays as it was.

        Args:
            player: The engine's id of them.
            name: Name that NPCs may use.
            zone: Where they are.
            lang: Their language, such as `fr`.
            facts: Facts by name, merged key by key.
        """
        await self.tell(
            "player.upsert", player=player, name=name, zone=zone, lang=lang, facts=facts
        )

    async def update_facts(
        self,
        facts: Mapping[str, Any] | None = None,
        *,
        npc: str | None = None,
        player: str | None = None,
        unset: Iterable[str] = (),
    ) -> None:
        """Change facts of an NPC, of a player, or (with neither) of the game.

        Args:
            facts: Facts to set, merged key by key.
            npc: Whose facts.
            player: Whose facts.
            unset: Names of facts to remove.
        """
        await self.tell(
            "facts.update", npc=npc, player=player, set=dict(facts or {}), unset=list(unset)
        )

    async def set_actions(
        self, actions: Iterable[ActionSpec | Mapping[str, Any]], *, npc: str | None = None
    ) -> None:
        """Declare what the engine can carry out; replaces what was declared before.

        Args:
            actions: Each with `name`, `description`, `args` (a JSON Schema of an object, without
                `$ref` and `pattern`) and `confirm`.
            npc: For this NPC only, or None for all.
        """
        await self.tell("actions.set", npc=npc, actions=list(actions))

    async def mark_save(self, save: str) -> None:
        """Let memory belong to this branch from here on."""
        await self.tell("save.mark", save=save)

    async def ping(self) -> float:
        """Return the time to the server and back in seconds; all calls before are then handled."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._ask(None)
        return loop.time() - began

    async def say(
        self,
        npc: str,
        text: str,
        *,
        player: str | None = None,
        speaker: str | None = None,
        audience: Iterable[str] = (),
        lang: str | None = None,
        priority: Literal["player", "scene", "ambient", "background"] = "player",
        first_text_ms: int | None = None,
        seed: int | None = None,
        turn: str | None = None,
    ) -> ClientTurn:
        """Say something to an NPC; returns when the turn is accepted.

        Args:
            npc: Who is spoken to.
            text: What was said, at most 4,000 characters; may be empty.
            player: The player who said it.
            speaker: The NPC that said it, instead of a player.
            audience: Ids of those who also hear and remember it, at most 32.
            lang: Language of the reply, or None for the player's.
            priority: How urgent it is.
            first_text_ms: A shorter limit for the first words than the tier's, in milliseconds.
            seed: For repeatable replies.
            turn: Id of the turn, unique in the session, or None to make one up.
        """
        return await self._start(
            turn,
            npc=npc,
            text=text,
            player=player,
            speaker=speaker,
            audience=list(audience) or None,
            lang=lang,
            priority=priority,
            first_text_ms=first_text_ms,
            seed=seed,
        )

    async def cue(
        self,
        npc: str,
        cue: str,
        *,
        player: str | None = None,
        audience: Iterable[str] = (),
        lang: str | None = None,
        priority: Literal["player", "scene", "ambient", "background"] = "scene",
        first_text_ms: int | None = None,
        seed: int | None = None,
        turn: str | None = None,
    ) -> ClientTurn:
        """Tell an NPC what happened, so that it speaks; returns when the turn is accepted.

        Args:
            npc: Who speaks.
            cue: What happened, at most 4,000 characters, such as `The player draws a sword.`
            player: To whom it speaks.
            audience: As for `say`.
            lang: As for `say`.
            priority: As for `say`.
            first_text_ms: As for `say`.
            seed: As for `say`.
            turn: As for `say`.
        """
        return await self._start(
            turn,
            npc=npc,
            cue=cue,
            player=player,
            audience=list(audience) or None,
            lang=lang,
            priority=priority,
            first_text_ms=first_text_ms,
            seed=seed,
        )

    async def tell(self, type: str, **fields: Any) -> None:
        """Send any other message of the protocol, and wait until it is handled.

        Args:
            type: Type of the message.
            **fields: Its fields; those that are None are left out.
        """
        message = _message(type, fields)
        await self._ask(message, turn=message.get("turn"))

    async def _start(self, turn_id: str | None, **fields: Any) -> ClientTurn:
        if turn_id is None:
            self._count += 1
            turn_id = f"{self._prefix}-{self._count}"
        if turn_id in self._turns:
            raise ServerError("duplicate_turn", f"turn {turn_id!r} is still running", turn=turn_id)
        message = _message("turn.start", {"turn": turn_id, **fields})
        turn = ClientTurn(self, turn_id, fields["npc"], timeout_s=self._turn_timeout_s)
        self._turns[turn_id] = turn
        try:
            await self._ask(message, turn=turn_id, starts_turn=True)
        except BaseException:
            self._forget(turn_id)
            raise
        return turn

    async def _ask(
        self, message: dict[str, Any] | None, *, turn: str | None = None, starts_turn: bool = False
    ) -> None:
        sent: Request | None = None
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                if self._over is not None:
                    raise self._over.with_traceback(None)
                request = self._outbox.request(
                    message,
                    on_done=None if turn is not None else self._state.note,
                    turn=turn,
                    starts_turn=starts_turn,
                )
                limit = self._link.ready.limits.message_bytes if self._link.ready else MESSAGE_BYTES
                if len(request.frame) > limit:
                    raise ServerError(
                        "too_large",
                        f"the message has {len(request.frame)} bytes, but the server takes at "
                        f"most {limit}; send less at once",
                        turn=turn,
                    )
                self._outbox.put(request)
                sent = request
                # Not awaited directly: a caller that gives up must not cancel the request itself.
                await asyncio.wait((request.done,))
        except BaseException as error:
            if sent is not None and not self._outbox.withdraw(sent) and starts_turn:
                # The server may have begun already; nobody will listen.
                self._abandon(turn)
            if isinstance(error, TimeoutError):
                reason = self._link.problem or "the server did not confirm it"
                raise ConnectionLost(f"not handled within {self._timeout_s} s: {reason}") from error
            raise
        sent.done.result()

    def _abandon(self, turn: str | None) -> None:
        cancel = {"type": "turn.cancel", "turn": turn, "heard": ""}
        self._outbox.put(self._outbox.request(cancel, turn=turn))

    def _forget(self, turn: str) -> None:
        self._turns.pop(turn, None)
        self._accepted.discard(turn)

    def on_turn(self, message: Any) -> None:
        """Take in a `turn.*` message; called by the link."""
        turn = self._turns.get(message.turn)
        if turn is None:
            return
        turn.receive(message)
        if isinstance(message, TurnAccepted):
            self._accepted.add(turn.id)
            self._outbox.accepted(turn.id)
        elif isinstance(message, TurnDone):
            # A turn that was over before we heard of its acceptance was accepted all the same.
            self._outbox.accepted(turn.id)
            self._forget(turn.id)

    def on_error(self, message: Error) -> None:
        """Take in an `error`; called by the link."""
        error = ServerError(
            message.code, message.message, turn=message.turn, retryable=message.retryable
        )
        if not self._outbox.refused(error, message.re):
            _log.warning("the server says: %s", error)

    def on_reset(self, limits_bytes: int) -> None:
        """Begin a new session with the old one's state; called by the link."""
        for name in self._accepted & set(self._turns):
            self._turns.pop(name).fail(
                ConnectionLost(
                    f"turn {name!r} was lost with its session; say it again if it still matters"
                )
            )
        self._accepted.clear()
        known = self._turns
        self._outbox.reset(self._state.messages(limits_bytes), lambda turn: turn not in known)

    def on_lost(self, error: ServerError) -> None:
        """End everything; called by the link, or when the client is closed."""
        self._over = error
        self._outbox.fail(error)
        for turn in self._turns.values():
            turn.fail(error)
        self._turns.clear()
        self._accepted.clear()
        self._opened.set()


def _message(type: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Check a message and return it as plain data, without what was left out."""
    if type not in CLIENT_MESSAGES:
        raise ValueError(f"{type!r} is no message of the protocol")
    given = {name: value for name, value in fields.items() if value is not None}
    model = CLIENT_MESSAGES[type].model_validate(given)
    return {"type": type, **model.model_dump(mode="json", exclude_unset=True)}
