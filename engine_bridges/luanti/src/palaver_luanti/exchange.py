"""`POST /luanti/v1/exchange`: a session of the wire protocol, carried by requests.

The engine's HTTP client shows a mod no answer before it is whole, so nothing can stream. A mod
sends what it has to say, and waits in the same request for the first event of a turn, or in one
poll for whatever comes of all of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from aiohttp import web

from palaver import messages as m
from palaver.errors import ProtocolError
from palaver.server.frames import to_frame
from palaver.server.rates import TokenBucket
from palaver.server.security import Principal
from palaver_luanti.bodies import BODY_BYTES, ExchangeBody, read_body
from palaver_luanti.letters import mend
from palaver_luanti.mailbox import MOST_MESSAGES
from palaver_luanti.problems import engine, problem
from palaver_luanti.sessions import ModSession, ModSessions
from palaver_luanti.tolerant import message_of

__all__ = ["Exchange"]

log = logging.getLogger("palaver.luanti")

REQUESTS_PER_S = 400.0
"""Requests of one token in a second, on average: above what 50 NPCs and a poll need."""
PACE_S = 2.0
"""Messages beyond the rate wait so long for their turn: a new session has a whole game to tell."""
PACE_STEP_S = 0.25
EXAMPLE = '{"start": {"client": {"name": "my_mod"}}}'
_OPENING = ("session.start", "session.resume")


class Exchange:
    """The endpoint.

    Args:
        found: The sessions of mods.
    """

    def __init__(self, found: ModSessions) -> None:
        self._sessions = found
        # By token, of which there are as many as the settings name.
        self._rates: dict[str, TokenBucket] = {}

    async def serve(self, request: web.Request) -> web.Response:
        """Answer one request, of any method: see `bridge`."""
        try:
            principal = engine(request)
            self._check_rate(principal)
            body = await read_body(request, ExchangeBody, EXAMPLE, limit=BODY_BYTES)
            return web.Response(
                text=await self._exchange(body, principal), content_type="application/json"
            )
        except ProtocolError as err:
            return problem(err)

    async def _exchange(self, body: ExchangeBody, principal: Principal) -> str:
        cursor = body.cursor or 0
        fresh = body.session is None
        if body.session is not None:
            session = self._sessions.find(body.session, principal)
        elif body.start is not None:
            session = await self._sessions.open(_start(body.start), principal)
            cursor = 0
        else:
            raise ProtocolError(
                "bad_message", f"`session` or `start` is missing; send one, such as {EXAMPLE}"
            )
        try:
            with session.at_work():
                return await self._serve(session, body, cursor, fresh=fresh)
        except BaseException:
            if fresh:
                # Its mod will never know its id.
                self._sessions.end_soon(session)
            raise

    async def _serve(
        self, session: ModSession, body: ExchangeBody, cursor: int, *, fresh: bool
    ) -> str:
        """Do what a request asks for in its session, and return the answer."""
        session.mailbox.seen(cursor)
        errors, ended = await self._tell(session, body.messages)
        if ended:
            await session.close()
            self._sessions.end_soon(session)
            return _answer(session, fresh, cursor, errors, more=False)
        frames, cursor, more = await self._wait(session, body, cursor, told=len(errors))
        return _answer(session, fresh, cursor, errors + frames, more=more)

    async def _tell(
        self, session: ModSession, messages: list[dict[str, Any]]
    ) -> tuple[list[str], bool]:
        """Have messages handled; returns what is said to them, and whether they ended the session.

        Raises:
            ProtocolError: There is nobody to tell, or the session is over.
        """
        passed: list[dict[str, Any]] = []
        answers: list[str] = []
        ended = False
        until = asyncio.get_running_loop().time() + PACE_S
        for data in messages:
            message = message_of(data)
            kind = message.get("type")
            if kind == "session.end":
                ended = True
                break
            if kind == "ping":
                answers.append(_pong(message))
            elif kind in _OPENING:
                hint = "the session is open already; leave `session` out to open another"
                answers.append(_refused(message, "bad_message", hint))
            elif not await self._may(session, passed, answers, until):
                assert session.line is not None
                hint = f"more than {session.line.messages_per_s:g} messages per second; send fewer"
                answers.append(_refused(message, "rate_limited", hint, retryable=True))
            else:
                passed.append(message)
        if passed:
            answers += await session.tell(list(passed))
        return answers, ended

    async def _may(
        self,
        session: ModSession,
        passed: list[dict[str, Any]],
        answers: list[str],
        until: float,
    ) -> bool:
        """Say whether one more message may be sent; those before it are, where it has to wait.

        Args:
            session: The session.
            passed: What waits to be told; told, and emptied, before a wait.
            answers: Where the answers to that go.
            until: `loop.time()` after which nothing is waited for.

        Raises:
            ProtocolError: There is nobody to tell, or the session is over.
        """
        while not session.allows():
            if asyncio.get_running_loop().time() >= until:
                return False
            if passed:
                answers += await session.tell(list(passed))
                passed.clear()
            await asyncio.sleep(PACE_STEP_S)
        return True

    async def _wait(
        self, session: ModSession, body: ExchangeBody, cursor: int, *, told: int
    ) -> tuple[list[str], int, bool]:
        """Wait for what the mod asks for.

        Args:
            session: Its session.
            body: What it asks for.
            cursor: What it has seen.
            told: How much there is to answer already; then nothing is waited for.

        Raises:
            ProtocolError: The session is over, or there is nobody upstream.
        """
        mailbox = session.mailbox
        wait_s = 0.0 if told else (body.wait_ms or 0) / 1000
        most = (body.max or MOST_MESSAGES) - told
        if most <= 0:
            return [], cursor, True
        if body.turn is not None:
            # What this request started may be over, and seen by a poll, before we come here.
            started = any(one.get("turn") == body.turn for one in body.messages)
            if not told and not started and not mailbox.knows(body.turn):
                raise ProtocolError(
                    "bad_message",
                    f"there is no turn {body.turn!r}; send its turn.start in the same request",
                )
            await mailbox.ask(body.turn, wait_s)
            frames, _, more = mailbox.take(cursor, most, body.turn)
            return frames, cursor, more
        if not await mailbox.poll(wait_s, (body.linger_ms or 0) / 1000):
            return [], cursor, False
        return mailbox.take(cursor, most)

    def _check_rate(self, principal: Principal) -> None:
        bucket = self._rates.get(principal.key)
        if bucket is None:
            bucket = self._rates[principal.key] = TokenBucket(REQUESTS_PER_S)
        if not bucket.take():
            raise ProtocolError(
                "rate_limited",
                f"more than {REQUESTS_PER_S:.0f} requests per second; wait in one poll for all "
                "turns",
                retryable=True,
            )


def _start(given: dict[str, Any]) -> dict[str, Any]:
    """Return the `session.start` of a new session; the token is the request's."""
    fields = message_of(given)
    fields.pop("token", None)
    return {"protocol": m.PROTOCOL, **fields, "type": "session.start"}


def _answer(session: ModSession, fresh: bool, cursor: int, frames: list[str], *, more: bool) -> str:
    head = {
        "session": session.id,
        **({"fresh": True} if fresh else {}),
        "cursor": cursor,
        "more": more,
        "open": session.mailbox.open,
    }
    # The messages are JSON already.
    return f'{json.dumps(head)[:-1]}, "messages": [{",".join(frames)}]}}'


def _pong(message: dict[str, Any]) -> str:
    nonce = message.get("nonce")
    return mend(to_frame(m.Pong(nonce=nonce[:128] if isinstance(nonce, str) else None)))


def _refused(message: dict[str, Any], code: Any, hint: str, *, retryable: bool = False) -> str:
    """Return the error about a message that is not even passed on."""
    id_, turn = message.get("id"), message.get("turn")
    starts = message.get("type") == "turn.start"
    error = m.Error(
        code=code,
        message=hint,
        re=id_[:128] if isinstance(id_, str) else None,
        turn=turn[:128] if starts and isinstance(turn, str) else None,
        retryable=retryable,
    )
    return mend(to_frame(error))
