"""The public client: one method for each thing an engine can tell a Palaver server."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from palaver._version import __version__
from palaver.client.link import Target
from palaver.client.session import Session
from palaver.client.turn import ClientTurn
from palaver.messages import PROTOCOL, ActionSpec, ClientInfo, SessionStart

__all__ = ["Client", "connect"]


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


class Client(Session):
    """A session with a Palaver server; made by `connect`.

    Every call waits until the server has handled it, so what it refuses is raised where it was
    asked for. A cut in between is no error, as long as the connection is back in time.

    All methods raise:
        ServerError: The server refuses, with its error code.
        ConnectionLost: Not confirmed within `timeout_s`, or the session is over.
        ValueError: An argument is not of the protocol.
    """

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
        await self.ask(None)
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
        return await self.start_turn(
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
        return await self.start_turn(
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
