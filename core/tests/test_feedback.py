"""Feedback on replies: who is told of it, and that nobody waits for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from palaver.hookspecs import hookimpl
from palaver.session_info import SessionInfo
from palaver.testing.server import running_server
from palaver.turn.model import Turn

WAIT_S = 40


class Listener:
    """Keeps what it is told, and is in no hurry over it."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.turns: list[Turn] = []
        self.hold = asyncio.Event()

    @hookimpl
    async def palaver_turn_feedback(
        self, turn: str, session: SessionInfo, kind: str, note: str | None
    ) -> None:
        self.told.put_nowait((turn, session.game, kind, note))
        await self.hold.wait()

    @hookimpl
    def palaver_turn_finished(self, turn: Turn) -> None:
        self.turns.append(turn)


async def test_plugins_learn_of_feedback(palaver_world: Path) -> None:
    """Each `turn.feedback` calls the hook, and a plugin that takes its time holds up nobody."""
    listener = Listener()
    async with running_server(palaver_world, plugins={"listener": listener}) as palaver:
        engine = await palaver.ready(game="shard")
        await engine.send({"type": "turn.feedback", "turn": "t1", "kind": "skip"})
        await engine.send({"type": "turn.feedback", "turn": "t1", "kind": "report", "note": "rude"})
        await engine.ping()
        async with asyncio.timeout(WAIT_S):
            assert await listener.told.get() == ("t1", "shard", "skip", None)
            assert await listener.told.get() == ("t1", "shard", "report", "rude")
        listener.hold.set()


async def test_a_plugin_that_fails_harms_nobody(palaver_world: Path) -> None:
    """The session goes on, and the next plugin is told."""

    class Broken:
        @hookimpl
        def palaver_turn_feedback(self) -> None:
            raise RuntimeError("no")

    listener = Listener()
    listener.hold.set()
    plugins = {"broken": Broken(), "listener": listener}
    async with running_server(palaver_world, plugins=plugins) as palaver:
        engine = await palaver.ready()
        await engine.send({"type": "turn.feedback", "turn": "t1", "kind": "like"})
        async with asyncio.timeout(WAIT_S):
            await listener.told.get()
        await engine.ping()


async def test_a_turn_knows_its_session(palaver_world: Path) -> None:
    """A turn that an engine started carries the id of the session; one of `ask` carries none."""
    listener = Listener()
    async with running_server(palaver_world, plugins={"listener": listener}) as palaver:
        engine = await palaver.ready()
        await engine.send({"type": "turn.start", "turn": "t1", "npc": "vlad", "text": "Hi."})
        async with asyncio.timeout(WAIT_S):
            await engine.until("turn.done")
        await palaver.gateway.ask("Hi.", persona="vampire")
        await engine.ping()
        first, second = listener.turns
        assert first.session
        assert second.session is None
