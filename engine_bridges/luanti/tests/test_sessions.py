"""The sessions of mods, in virtual time: what is open, for how long, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from palaver.errors import ProtocolError
from palaver.server.security import Principal
from palaver.testing.clock import run
from palaver_luanti import sessions as module
from palaver_luanti.mailbox import Mailbox
from palaver_luanti.sessions import IDLE_S, ModSession, ModSessions

MOD = Principal("engine", key="mod's")
OTHER = Principal("engine", key="other's")


class Line:
    """A session upstream that notes what it is told."""

    messages_per_s = 200.0
    receipts = 1

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.closed = 0
        self.slow_s = 0.0

    async def tell(self, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        """Note them, after a while."""
        await asyncio.sleep(self.slow_s)
        self.told += messages
        return []

    async def close(self) -> None:
        """Note it."""
        self.closed += 1


class Up:
    """An upstream that notes what is opened."""

    turns = 64

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.slow_s = 0.0

    async def open(self, start: Mapping[str, Any], principal: Principal, mailbox: Mailbox) -> Line:
        """Open one, after a while."""
        await asyncio.sleep(self.slow_s)
        self.lines.append(Line())
        return self.lines[-1]


def all_sessions() -> tuple[Up, ModSessions]:
    """Return sessions and their upstream."""
    up = Up()
    return up, ModSessions(up)  # type: ignore[arg-type]  # what is used of one


async def use(session: ModSession, seconds: float = 0.0) -> None:
    """Make a request that takes a while."""
    with session.at_work():
        await asyncio.sleep(seconds)


def test_idle() -> None:
    """A session lives as long as it is used, and ten minutes more; a held request is a use."""

    async def talk() -> None:
        up, found = all_sessions()
        session = await found.open({}, MOD)
        for _ in range(5):
            await asyncio.sleep(IDLE_S - 1)
            assert found.find(session.id, MOD) is session
            await use(session)
        await use(session, IDLE_S * 3)
        await asyncio.sleep(IDLE_S - 1)
        assert (len(found), up.lines[0].closed) == (1, 0)
        # It is looked at from time to time, not at the very moment.
        await asyncio.sleep(IDLE_S + 2)
        assert (len(found), up.lines[0].closed) == (0, 1)
        with pytest.raises(ProtocolError, match="not known"):
            found.find(session.id, MOD)

    run(talk())


def test_own_token() -> None:
    """A session is found by the token that opened it."""

    async def talk() -> None:
        _, found = all_sessions()
        session = await found.open({}, MOD)
        with pytest.raises(ProtocolError, match="not known"):
            found.find(session.id, OTHER)
        await found.close()

    run(talk())


def test_mod_that_leaves() -> None:
    """What a mod told is told to its end, also where the mod or the session ends meanwhile."""

    async def talk() -> None:
        up, found = all_sessions()
        session = await found.open({}, MOD)
        up.lines[0].slow_s = 1.0
        left = asyncio.create_task(session.tell([{"type": "save.mark"}]))
        await asyncio.sleep(0.5)
        left.cancel()
        await found.close()
        assert up.lines[0].told == [{"type": "save.mark"}]
        assert up.lines[0].closed == 1

    run(talk())


def test_late_openings() -> None:
    """A session that opens while the bridge stops is closed, not forgotten."""

    async def talk() -> None:
        up, found = all_sessions()
        up.slow_s = 1.0
        opening = asyncio.create_task(found.open({}, MOD))
        await asyncio.sleep(0.5)
        await found.close()
        with pytest.raises(ProtocolError, match="stops"):
            await opening
        assert (len(found), up.lines[0].closed) == (0, 1)
        await found.close()

    run(talk())


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of as many as may be, one that is busy or was just used keeps its place."""
    monkeypatch.setattr(module, "MOST_SESSIONS", 2)

    async def talk() -> None:
        up, found = all_sessions()
        up.slow_s = 1.0
        busy, idle = await asyncio.gather(found.open({}, MOD), found.open({}, MOD))
        held = asyncio.create_task(use(busy, 300))
        with pytest.raises(ProtocolError, match="2 sessions are open"):
            await found.open({}, OTHER)
        await asyncio.sleep(module.SPARE_S)
        await found.open({}, OTHER)
        assert found.find(busy.id, MOD) is busy
        with pytest.raises(ProtocolError, match="not known"):
            found.find(idle.id, MOD)
        await held
        await found.close()
        assert [line.closed for line in up.lines] == [1, 1, 1]

    run(talk())


def test_a_mailbox_that_overflows_ends_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session of a mod that stops to read is closed without being asked for."""
    monkeypatch.setattr("palaver_luanti.mailbox.KEPT_BYTES", 50)

    async def talk() -> None:
        up, found = all_sessions()
        session = await found.open({}, MOD)
        session.mailbox.push('{"type":"turn.sentence","turn":"a","seq":1,"text":"Good evening."}')
        await asyncio.sleep(1)
        assert (len(found), up.lines[0].closed) == (0, 1)

    run(talk())
