"""The server: everything on one port."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from palaver.errors import ConfigError
from palaver.lifecycle import quietly
from palaver.server.admission import Admission
from palaver.server.http import HttpRoutes, error_response, errors
from palaver.server.hub import Hub
from palaver.server.listening import listen
from palaver.server.openai import OpenAiRoutes
from palaver.server.security import GATE, Gate, check_binding
from palaver.server.turns import TurnRoutes
from palaver.server.websocket import WebSocketEndpoint

if TYPE_CHECKING:
    from palaver.gateway import Gateway

__all__ = ["Server"]

log = logging.getLogger("palaver.server")

PROBES = frozenset({"/healthz", "/readyz"})
SHUTDOWN_S = 5.0
"""Time for open requests when the server stops, in seconds."""


class Server:
    """WebSocket and HTTP on one port, over an open gateway.

        async with Gateway(parts) as gateway, Server(gateway) as server:
            print(server.url)

    Args:
        gateway: What runs turns.

    Raises:
        ConfigError: The address can be reached from other machines and there are no tokens, or
            a token's variable is not set.

    Attributes:
        port: The port it listens on, once it is open.
        hub: The sessions.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._settings = gateway.settings.server
        check_binding(self._settings)
        self._gate = Gate(self._settings)
        self.port = self._settings.port
        self.hub = Hub(gateway)
        self._websocket = WebSocketEndpoint(gateway, self.hub, self._gate)
        admission = Admission(gateway.settings.limits)
        http = HttpRoutes(gateway, self.hub, self._gate, admission)
        openai = OpenAiRoutes(gateway, self._gate, admission)
        app = web.Application(
            middlewares=[self._guard, errors],
            client_max_size=gateway.settings.limits.message_bytes,
        )
        app[GATE] = self._gate
        app.router.add_get("/v1", self._websocket.serve)
        app.add_routes(http.routes())
        app.add_routes(openai.routes())
        app.add_routes(TurnRoutes(gateway, self._gate, admission).routes())
        self._bridges = gateway.plugins.bridges
        for bridge in self._bridges:
            try:
                app.add_routes(bridge.routes(gateway))
            except Exception:
                log.exception("bridge %s has no routes; everything else goes on", bridge.name)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_S,
            # Nobody generates for an HTTP client that has left.
            handler_cancellation=True,
        )
        self._open = False

    @property
    def url(self) -> str:
        """The WebSocket address, such as `ws://127.0.0.1:8765/v1`."""
        scheme = "wss" if self._settings.tls_cert else "ws"
        return f"{scheme}://{self._authority}/v1"

    @property
    def http_url(self) -> str:
        """The HTTP address, such as `http://127.0.0.1:8765`."""
        scheme = "https" if self._settings.tls_cert else "http"
        return f"{scheme}://{self._authority}"

    @property
    def _authority(self) -> str:
        host = self._settings.host
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"{host}:{self.port}"

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigError: The port is taken, or the certificate cannot be read.
        """
        where = self._settings
        self.port = await listen(
            self._runner, where.host, where.port, key="server.port", tls=self._tls()
        )
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close connections with 1001, end sessions and stop listening; safe to call twice."""
        if not self._open:
            return
        self._open = False
        for site in list(self._runner.sites):
            await site.stop()
        await self._websocket.close()
        await self.hub.close()
        # Before the requests are waited for: a bridge answers those that it holds.
        for bridge in reversed(self._bridges):
            await quietly(bridge.close, bridge.name)
        async with asyncio.timeout(SHUTDOWN_S * 2):
            await self._runner.cleanup()

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.tls_cert is None or self._settings.tls_key is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._settings.tls_cert, self._settings.tls_key)
        except (OSError, ssl.SSLError) as err:
            raise ConfigError(
                f"the certificate {str(self._settings.tls_cert)!r} with the key "
                f"{str(self._settings.tls_key)!r} cannot be used: "
                f"{err.strerror or err}; give a PEM chain and its private key",
                key="server.tls_cert",
            ) from err
        return context

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Refuse requests by their headers before anything else of them is read."""
        # Probes come by any address, and learn nothing but that somebody is there.
        problem = self._gate.check_request(request, any_host=request.path in PROBES)
        if problem is not None:
            log.warning("refused %r: %s", request.path, problem)
            return error_response("unauthorized", problem, status=403)
        return await handler(request)  # type: ignore[no-any-return]  # handlers return responses
