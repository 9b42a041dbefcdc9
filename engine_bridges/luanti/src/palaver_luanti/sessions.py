"""The sessions of mods: bounded in number, in what they ask at once, and in how long they idle."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from palaver.errors import ProtocolError
from palaver.server.rates import TokenBucket
from palaver_luanti.mailbox import Mailbox
from palaver_luanti.upstream import gone

if TYPE_CHECKING:
    from palaver.server.security import Principal
    from palaver_luanti.upstream import Line, Upstream

__all__ = ["ModSession", "ModSessions"]

log = logging.getLogger("palaver.luanti")

IDLE_S = 600.0
"""A session without requests lives this long."""
MOST_SESSIONS = 64
"""Sessions at once; one game server has one."""
MOST_REQUESTS = 128
"""Requests of one session at work at once."""
SPARE_S = 60.0
"""Where there is no room, a session that was idle this long gives its place away."""
END_S = 10.0
"""Time for tasks to end when the bridge closes."""


class ModSession:
    """What one mod has open.

    Args:
        key: Hash of the token it was opened with.

    Attributes:
        id: Its id, a secret of the mod.
        mailbox: What waits for the mod.
    """

    def __init__(self, key: str) -> None:
        self.id = secrets.token_hex(16)
        self.key = key
        self.mailbox = Mailbox()
        self.line: Line | None = None
        self.requests = 0
        self.used_at = asyncio.get_running_loop().time()
        self._rate = TokenBucket(1)
        self._telling: set[asyncio.Task[list[str]]] = set()

    def begin(self, line: Line) -> None:
        """Take the session's line upstream."""
        self.line = line
        self._rate = TokenBucket(line.messages_per_s)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold a place for one request.

        Raises:
            ProtocolError: Too many are at work already.
        """
        if self.requests >= MOST_REQUESTS:
            raise ProtocolError(
                "overloaded",
                f"{MOST_REQUESTS} requests of this session are at work; wait for one to end",
                retryable=True,
            )
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            self.used_at = asyncio.get_running_loop().time()

    def allows(self) -> bool:
        """Say whether one more message may be sent now."""
        return self._rate.take()

    async def tell(self, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        """Have messages handled, also if the mod leaves meanwhile: half of them would be worse.

        Raises:
            ProtocolError: There is nobody to tell, or the session is over.
        """
        assert self.line is not None
        for _ in range(self.line.receipts):
            self._rate.charge()
        task = asyncio.create_task(self.line.tell(messages), name="tell for a mod")
        self._telling.add(task)
        task.add_done_callback(self._told)
        await asyncio.wait({task})
        return task.result()

    async def close(self) -> None:
        """End it with its turns."""
        self.mailbox.fail(gone("the session has ended"))
        if self._telling:
            _, late = await asyncio.wait(set(self._telling), timeout=END_S)
            for task in late:
                task.cancel()
        if self.line is not None:
            await self.line.close()

    def _told(self, task: asyncio.Task[list[str]]) -> None:
        self._telling.discard(task)
        if not task.cancelled():
            task.exception()  # The request tells of it, if it is still there.


class ModSessions:
    """All of them.

    Args:
        upstream: Where they live.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._sessions: dict[str, ModSession] = {}
        self._opening = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._sessions)

    async def open(self, start: Mapping[str, Any], principal: Principal) -> ModSession:
        """Open a session.

        Args:
            start: A `session.start`, without a token.
            principal: Who asks.

        Raises:
            ProtocolError: It is refused, there is no room, or there is nobody to ask.
        """
        self._check_room()
        session = ModSession(principal.key)
        self._opening += 1
        try:
            line = await self._upstream.open(start, principal, session.mailbox)
        finally:
            self._opening -= 1
        session.begin(line)
        if self._closed:
            await session.close()
            raise gone("the bridge stops")
        self._sessions[session.id] = session
        session.mailbox.full = lambda: self.end_soon(session)
        self._look_after(session)
        return session

    def find(self, id_: str, principal: Principal) -> ModSession:
        """Return an open session; only its own token finds it.

        Raises:
            ProtocolError: There is none.
        """
        session = self._sessions.get(id_)
        if session is None or session.key != principal.key:
            raise gone("the session is not known here")
        if session.mailbox.over is not None:
            self.end_soon(session)
            raise session.mailbox.over.with_traceback(None)
        return session

    def end_soon(self, session: ModSession) -> None:
        """End a session, without waiting for it."""
        if self._sessions.pop(session.id, None) is None:
            return
        self._timers.pop(session.id).cancel()
        task = asyncio.create_task(session.close(), name="end a mod's session")
        self._ending.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """End all; safe to call twice."""
        self._closed = True
        for session in list(self._sessions.values()):
            self.end_soon(session)
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=END_S)

    def _check_room(self) -> None:
        if len(self._sessions) + self._opening < MOST_SESSIONS:
            return
        now = asyncio.get_running_loop().time()
        idle = [one for one in self._sessions.values() if not one.requests]
        oldest = min(idle, key=lambda one: one.used_at, default=None)
        if oldest is None or now - oldest.used_at < SPARE_S:
            raise ProtocolError(
                "overloaded",
                f"{MOST_SESSIONS} sessions are open; try again in a minute",
                retryable=True,
            )
        self.end_soon(oldest)

    def _look_after(self, session: ModSession) -> None:
        """End a session that is idle, with one timer for each."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        until = (now if session.requests else session.used_at) + IDLE_S
        if now < until:
            self._timers[session.id] = loop.call_at(until, self._look_after, session)
        else:
            log.info("a mod's session was idle for %.0f s; it is ended", IDLE_S)
            self.end_soon(session)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a session did not end well", exc_info=task.exception())
