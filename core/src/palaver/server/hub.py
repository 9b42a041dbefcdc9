"""All sessions: opening, resuming after a cut, and their end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

from palaver.errors import ProtocolError
from palaver.messages import CAPABILITIES, SessionResume, SessionStart
from palaver.server.session import Session
from palaver.session_info import SessionInfo

if TYPE_CHECKING:
    from palaver.gateway import Gateway
    from palaver.server.outbox import Outbox
    from palaver.server.security import Principal

__all__ = ["Hub", "check_game"]

log = logging.getLogger("palaver.session")

GRANTED = frozenset(CAPABILITIES) - {"audio"}
"""Capabilities this server has."""
PLAYER_SESSIONS = 4
"""Sessions that one player's token may have open, as on two devices, and cut off."""


class Hub:
    """The sessions of one server.

    Args:
        gateway: What runs their turns.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._sessions: dict[str, Session] = {}
        self._expiries: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(
        self, start: SessionStart | SessionResume, principal: Principal, outbox: Outbox
    ) -> Session:
        """Open a session.

        Raises:
            ProtocolError: There are too many, or a player's game is not open.
        """
        check_game(principal, start.game, self._gateway)
        self._check_room(principal)
        game = self._gateway.game(start.game)
        if start.save is not None and principal.role == "engine":
            game.load(start.save)
            self._gateway.memory.play(game.name, start.save)
        info = SessionInfo(
            id=secrets.token_hex(16),
            game=game.name,
            save=game.branch.save,
            client_name=start.client.name,
            client_version=start.client.version,
            engine=start.client.engine,
            role=principal.role,
            player=principal.player,
            capabilities=GRANTED.intersection(start.capabilities),
        )
        session = Session(info, principal, self._gateway, game, outbox)
        self._sessions[info.id] = session
        log.info("%r opened a session of the game %r", start.client.name, game.name)
        self._gateway.session_opened(info)
        return session

    def find(self, session: str, principal: Principal) -> Session | None:
        """Return a session that can go on, or None; only its own token finds it."""
        found = self._sessions.get(session)
        if found is None or found.closed or found.principal.key != principal.key:
            return None
        return found

    def attach(self, session: Session, outbox: Outbox) -> Outbox | None:
        """Give a session a new connection; returns the way out of the older one, if any."""
        expiry = self._expiries.pop(session.info.id, None)
        if expiry is not None:
            expiry.cancel()
        older, session.outbox = session.outbox, outbox
        return older

    def detach(self, session: Session, outbox: Outbox) -> None:
        """Take note that a connection is gone; the session ends when its window is over."""
        if session.outbox is not outbox or session.closed:
            return
        session.outbox = None
        loop = asyncio.get_running_loop()
        window_s = self._gateway.settings.limits.resume_ms / 1000
        self._expiries[session.info.id] = loop.call_later(window_s, self._expire, session)

    async def end(self, session: Session) -> None:
        """End a session now."""
        self._sessions.pop(session.info.id, None)
        expiry = self._expiries.pop(session.info.id, None)
        if expiry is not None:
            expiry.cancel()
        await session.end()

    async def close(self) -> None:
        """End all sessions."""
        for expiry in self._expiries.values():
            expiry.cancel()
        self._expiries.clear()
        await asyncio.gather(*(self.end(session) for session in list(self._sessions.values())))
        if self._ending:
            await asyncio.wait(self._ending, timeout=5)

    def _check_room(self, principal: Principal) -> None:
        """Make sure that there is room for one more session.

        Raises:
            ProtocolError: There is none, for anybody or for this player.
        """
        limit = self._gateway.settings.limits.sessions
        if principal.role == "player":
            own = sum(one.principal.key == principal.key for one in self._sessions.values())
            if own >= PLAYER_SESSIONS and not self._make_room(principal):
                raise ProtocolError(
                    "overloaded",
                    f"a player has at most {PLAYER_SESSIONS} sessions; end one of them",
                    retryable=True,
                    close_code=4429,
                )
        if len(self._sessions) >= limit and not self._make_room(principal):
            raise ProtocolError(
                "overloaded",
                f"{limit} sessions are open; try again later",
                retryable=True,
                close_code=4429,
            )

    def _make_room(self, principal: Principal) -> bool:
        """End the session of this token that was cut off the longest ago, if there is one.

        Others' are left alone: their clients may be about to resume them.
        """
        for name in self._expiries:
            session = self._sessions[name]
            if session.principal.key == principal.key:
                self._expire(session)
                return True
        return False

    def _expire(self, session: Session) -> None:
        self._sessions.pop(session.info.id, None)
        handle = self._expiries.pop(session.info.id, None)
        if handle is not None:
            handle.cancel()
        task = asyncio.get_running_loop().create_task(session.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def check_game(principal: Principal, game: str, gateway: Gateway) -> None:
    """Make sure that a player joins a game that is open; an engine opens one by naming it.

    Raises:
        ProtocolError: It is not open.
    """
    if principal.role == "player" and game not in gateway.games:
        raise ProtocolError(
            "unauthorized",
            f"the game {game!r} is not open; its engine has to join before its players",
            retryable=True,
            close_code=4401,
        )
