"""The endpoints that the bridge adds to Palaver's one port.

`POST /luanti/v1/exchange` is what the mod `llm_agent` talks to; `POST /infer` and `GET /info` are
for a mod that only wants a text for a prompt. The engine may use any method: until 5.9 its HTTP
client went on with PUT once any mod had used it
(https://github.com/luanti-org/luanti/commit/0d817ff4ff).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from palaver.errors import ConfigError
from palaver_luanti.exchange import Exchange
from palaver_luanti.infer import VARIABLE, Infer
from palaver_luanti.local import LocalUpstream
from palaver_luanti.sessions import ModSessions

if TYPE_CHECKING:
    from palaver.gateway import Gateway
    from palaver_luanti.upstream import Upstream

__all__ = ["INFER_MS", "Endpoints", "LuantiBridge", "limit_of"]

INFER_MS = 5_000


class Endpoints:
    """All endpoints, over whatever runs the turns.

    Args:
        upstream: What runs the turns.
        infer_s: Time for a whole reply of `/infer`, in seconds.
    """

    def __init__(self, upstream: Upstream, infer_s: float) -> None:
        self._upstream = upstream
        self.sessions = ModSessions(upstream)
        self._exchange = Exchange(self.sessions)
        self._infer = Infer(upstream, infer_s)

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.route("*", "/luanti/v1/exchange", self._exchange.serve),
            web.route("*", "/infer", self._infer.infer),
            web.route("*", "/info", self._infer.info),
        ]

    async def close(self) -> None:
        """End all sessions; who waits is told. Safe to call twice."""
        await self.sessions.close()
        await self._upstream.close()


class LuantiBridge:
    """The Luanti bridge.

    Args:
        infer_ms: Time for a whole reply of `/infer`, in milliseconds; by default the environment
            variable `PALAVER_LUANTI_INFER_MS`, or 5,000.
        environ: The environment; the process's by default.

    Raises:
        ConfigError: The variable is no number of milliseconds.

    Attributes:
        name: `luanti`.
    """

    name = "luanti"

    def __init__(
        self, *, infer_ms: int | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._infer_s = (infer_ms or limit_of(os.environ if environ is None else environ)) / 1000
        self._endpoints: Endpoints | None = None

    def routes(self, gateway: Gateway) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        self._endpoints = Endpoints(LocalUpstream(gateway), self._infer_s)
        return self._endpoints.routes()

    async def start(self, gateway: Gateway) -> None:
        """Nothing besides answering requests."""

    async def close(self) -> None:
        """End all sessions."""
        if self._endpoints is not None:
            await self._endpoints.close()


def limit_of(environ: Mapping[str, str]) -> int:
    """Return the time limit of `/infer`, in milliseconds.

    Raises:
        ConfigError: The variable is no number of milliseconds.
    """
    raw = environ.get(VARIABLE)
    if raw is None:
        return INFER_MS
    try:
        value = int(raw)
    except ValueError:
        value = 0
    if not 1 <= value <= 600_000:
        raise ConfigError(f"{raw!r} is no time; write milliseconds, such as 5000", key=VARIABLE)
    return value
