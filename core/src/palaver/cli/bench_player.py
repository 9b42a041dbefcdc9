"""One player of `palaver bench`, and what is measured of it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from palaver.cli.output import plain
from palaver.errors import PalaverError
from palaver.messages import PROTOCOL, SUBPROTOCOL

__all__ = ["Load", "Player", "Times"]

OPEN_S = 10.0
REPLY_S = 120.0
"""Longest wait for one message of a server, in seconds."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the server.

    Attributes:
        turns: Turns in all.
        at_once: Players that talk at once.
        persona: Whom to talk to, or None for the first.
        text: What is said.
    """

    turns: int
    at_once: int
    persona: str | None
    text: str


@dataclass(slots=True)
class Times:
    """What was measured.

    Attributes:
        first: Seconds to the first text, one for each turn that had any.
        whole: Seconds to the end of the reply, one for each turn.
        frames: Text frames that came.
        served_by: How often each backend spoke.
        elapsed_s: From the first turn to the last, in seconds.
    """

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    frames: int = 0
    served_by: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0


class Player:
    """One player with an NPC and a connection of its own.

    It reads frames as they are instead of through the client, which would check each of them: the
    server is what is measured.
    """

    def __init__(self, number: int, load: Load, persona: str, tier: str | None) -> None:
        self._npc, self._player = f"bench-npc-{number}", f"bench-player-{number}"
        self._load = load
        self._persona = persona
        self._tier = tier
        self._count = 0
        self._pause_s = 0.0
        self._connection: ClientConnection

    async def open(self, url: str, token: str | None, stack: AsyncExitStack) -> None:
        """Connect and tell the server of NPC and player."""
        address = url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1"
        try:
            self._connection = await stack.enter_async_context(
                connect(
                    address,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    proxy=None,
                    open_timeout=OPEN_S,
                    close_timeout=OPEN_S,
                )
            )
        except (OSError, TimeoutError, WebSocketException) as err:
            raise PalaverError(f"cannot connect to {address}: {err}") from err
        start: dict[str, Any] = {
            "type": "session.start",
            "protocol": PROTOCOL,
            "client": {"name": "palaver bench"},
            "game": f"bench-{os.getpid()}",
        }
        if token:
            start["token"] = token
        await self._send(start)
        ready = _decode(await self._receive())
        if ready.get("type") != "session.ready":
            raise PalaverError(f"the server refuses: {plain(str(ready.get('message')))}")
        # A server of others is only sent what it allows.
        self._pause_s = 1 / float(ready["limits"].get("messages_per_s", 200))
        npc = {"type": "npc.upsert", "npc": self._npc, "persona": self._persona}
        await self._send(npc if self._tier is None else {**npc, "tier": self._tier})

    async def talk(self, turns: int, times: Times) -> None:
        """Say it so many times, one after another."""
        for _ in range(turns):
            began = perf_counter()
            await self._turn(times)
            rest = self._pause_s - (perf_counter() - began)
            if rest > 0:
                await asyncio.sleep(rest)

    async def _turn(self, times: Times) -> None:
        self._count += 1
        turn = {
            "type": "turn.start",
            "turn": f"t{self._count}",
            "npc": self._npc,
            "player": self._player,
            "text": self._load.text,
        }
        frame = msgspec.json.encode(turn).decode()
        first: float | None = None
        began = perf_counter()
        await self._connection.send(frame)
        while True:
            frame = await self._receive()
            if frame.startswith('{"type":"turn.delta"'):
                times.frames += 1
                if first is None:
                    first = perf_counter() - began
            elif frame.startswith('{"type":"turn.done"'):
                break
            elif frame.startswith('{"type":"error"'):
                raise PalaverError(f"the server says: {plain(_decode(frame)['message'])}")
        times.whole.append(perf_counter() - began)
        if first is not None:
            times.first.append(first)
        times.served_by[_decode(frame)["served_by"]["backend"]] += 1

    async def _send(self, message: dict[str, Any]) -> None:
        await self._connection.send(msgspec.json.encode(message).decode())

    async def _receive(self) -> str:
        try:
            async with asyncio.timeout(REPLY_S):
                frame = await self._connection.recv()
        except (TimeoutError, WebSocketException) as err:
            raise PalaverError(f"the server went silent: {str(err) or 'no word'}") from err
        return frame if isinstance(frame, str) else ""


def _decode(frame: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(frame)
    except msgspec.DecodeError as err:
        raise PalaverError("what answers there is no Palaver server") from err
    return found if isinstance(found, dict) else {}
