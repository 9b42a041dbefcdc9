"""`GET /metrics`: counts turns as they end, and shows everything when Prometheus asks."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from palaver.errors import ConfigError, ProtocolError
from palaver.hookspecs import hookimpl
from palaver.server.security import GATE
from palaver_metrics.gpu import GpuReader

if TYPE_CHECKING:
    from palaver.gateway import Gateway
    from palaver.session_info import SessionInfo
    from palaver.turn.model import Turn, TurnResult
    from palaver_metrics.page import Page

__all__ = ["VARIABLE", "MetricsBridge"]

VARIABLE = "PALAVER_METRICS_TOKEN"
LEAST_CHARS = 16
"""Shortest token that is accepted: whoever guesses it sees what the game costs."""


class MetricsBridge:
    """The bridge to Prometheus.

    Args:
        environ: The environment, which may hold the scrapers' own token.
        gpu: Reads the graphics cards of this machine.

    Raises:
        ConfigError: That token is too short.

    Attributes:
        name: `metrics`.
    """

    name = "metrics"

    def __init__(
        self, *, environ: Mapping[str, str] | None = None, gpu: GpuReader | None = None
    ) -> None:
        token = (os.environ if environ is None else environ).get(VARIABLE, "")
        if token and len(token) < LEAST_CHARS:
            raise ConfigError(
                f"is shorter than {LEAST_CHARS} characters; make one with `openssl rand -hex 32`",
                key=VARIABLE,
            )
        self._token = token.encode("utf-8", "surrogatepass")
        self._gpu = gpu or GpuReader()
        self._page: Page | None = None
        self._sessions = {"engine": 0, "player": 0}

    def routes(self, gateway: Gateway) -> Sequence[web.AbstractRouteDef]:
        """Return the route `/metrics`."""

        async def metrics(request: web.Request) -> web.Response:
            try:
                self._check(request)
            except ProtocolError as err:
                return web.json_response(
                    {"error": {"code": err.code, "message": err.message, "retryable": False}},
                    status=401,
                    headers={"WWW-Authenticate": "Bearer"},
                )
            if self._page is None:
                raise web.HTTPServiceUnavailable(reason="metrics could not start; see the log")
            accept = request.headers.get("Accept", "")
            body, content_type = await self._page.write(accept, self._sessions)
            return web.Response(body=body, headers={"Content-Type": content_type})

        return [web.get("/metrics", metrics)]

    async def start(self, gateway: Gateway) -> None:
        """Begin to count."""
        # Every `palaver` command makes this bridge, and few need what is imported here.
        from palaver_metrics.page import Page

        self._page = Page(gateway, self._gpu)
        self._page.start()

    async def close(self) -> None:
        """Stop measuring; safe to call twice."""
        if self._page is not None:
            await self._page.close()

    @hookimpl
    def palaver_turn_finished(self, turn: Turn, result: TurnResult) -> None:
        """Count a turn."""
        if self._page is not None:
            self._page.turns.finished(turn, result)

    @hookimpl
    def palaver_turn_feedback(self, kind: str) -> None:
        """Count what a player thinks."""
        if self._page is not None:
            self._page.turns.feedback(kind)

    @hookimpl
    def palaver_session_opened(self, session: SessionInfo) -> None:
        """Count a session."""
        self._sessions[session.role] += 1

    @hookimpl
    def palaver_session_closed(self, session: SessionInfo) -> None:
        """Count it no longer."""
        self._sessions[session.role] -= 1

    def _check(self, request: web.Request) -> None:
        """Let scrapers in by their own token, and engines by theirs.

        Raises:
            ProtocolError: It is neither, where one of them is needed.
        """
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        if self._token and kind.lower() == "bearer":
            if hmac.compare_digest(value.strip().encode("utf-8", "surrogateescape"), self._token):
                return
        principal = request.app[GATE].bearer(request)
        # Without a key nobody has to show a token, and then the scrapers' own is the only one.
        if principal.role != "engine" or (self._token and not principal.key):
            raise ProtocolError(
                "unauthorized", f"show the token in {VARIABLE}, or one of the role `engine`"
            )
