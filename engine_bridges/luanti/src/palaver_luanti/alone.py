"""The endpoints on a port of their own, beside the game: `palaver luanti`."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Any, Self

from aiohttp import web

from palaver._version import __version__
from palaver.cli.output import console, log_to_stderr, print_json, safe
from palaver.config.models import Server, Token
from palaver.errors import ConfigError, ProtocolError
from palaver.server.http import error_response, errors
from palaver.server.listening import listen
from palaver.server.security import GATE, Gate, check_binding
from palaver_luanti.bodies import BODY_BYTES
from palaver_luanti.bridge import Endpoints
from palaver_luanti.dial import Gateway, look_for
from palaver_luanti.remote import RemoteUpstream

__all__ = ["Alone", "run_alone"]

log = logging.getLogger("palaver.luanti")

SHUTDOWN_S = 5.0
"""Time for open requests when the bridge stops, in seconds."""


class Alone:
    """The endpoints on a port, over a gateway elsewhere.

    Args:
        gateway: The gateway; where it asks for a token, mods have to send the same.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        hosts: Further names by which mods may address it.
        infer_s: Time for a whole reply of `/infer`, in seconds.

    Raises:
        ConfigError: The address can be reached from other machines and there is no token.

    Attributes:
        port: The port it listens on, once it is open.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        host: str = "127.0.0.1",
        port: int = 8766,
        hosts: Sequence[str] = (),
        infer_s: float = 5.0,
    ) -> None:
        usual = Server.model_fields["hosts"].default
        tokens = []
        if gateway.token:
            digest = hashlib.sha256(gateway.token.encode()).hexdigest()
            tokens.append(Token(role="engine", sha256=digest))
        settings = Server(
            host=host, port=port, hosts=[*usual, host, f"[{host}]", *hosts], tokens=tokens
        )
        if not tokens:
            _check_loopback(settings)
        self._gate = Gate(settings)
        self._host = host
        self.port = port
        self.upstream = RemoteUpstream(gateway)
        self._endpoints = Endpoints(self.upstream, infer_s)
        app = web.Application(middlewares=[self._guard, errors], client_max_size=BODY_BYTES)
        app[GATE] = self._gate
        app.add_routes(self._endpoints.routes())
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_S,
            handler_cancellation=True,
        )

    @property
    def url(self) -> str:
        """Where mods send to."""
        host = f"[{self._host}]" if ":" in self._host.strip("[]") else self._host
        return f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigError: The port is taken.
        """
        self.port = await listen(self._runner, self._host, self.port, key="--port")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Answer who waits, end all sessions and stop listening."""
        for site in list(self._runner.sites):
            await site.stop()
        await self._endpoints.close()
        async with asyncio.timeout(SHUTDOWN_S * 2):
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Refuse requests by their headers, as Palaver's own port does."""
        problem = self._gate.check_request(request)
        if problem is not None:
            # The gate's own advice is about palaver.toml.
            problem = (
                "web pages may not ask this bridge"
                if "Origin" in request.headers
                else f"{problem.partition(' is not')[0]} is not known here; give it with "
                "--allow-host if it is yours"
            )
            log.warning("refused %r: %s", request.path, problem)
            return error_response("unauthorized", problem, status=403)
        return await handler(request)  # type: ignore[no-any-return]  # handlers return responses


async def run_alone(alone: Alone, gateway: Gateway, *, log_level: str, as_json: bool) -> None:
    """Run the endpoints until SIGINT or SIGTERM.

    Args:
        alone: The endpoints.
        gateway: The gateway, to tell of.
        log_level: Least level of the log.
        as_json: Whether a program reads what is printed.

    Raises:
        ConfigError: The port is taken.
    """
    log_to_stderr(log_level)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    async with alone:
        problem = None
        try:
            about = await alone.upstream.about()
        except ProtocolError as err:
            about, problem = {}, err.message
            gateway.reach.lost()
        _announce(alone, gateway, about, problem, as_json=as_json)
        look = asyncio.create_task(look_for(gateway), name="look for the gateway")
        try:
            await stop.wait()
        finally:
            look.cancel()
            await asyncio.wait({look}, timeout=SHUTDOWN_S)
        log.info("stopping")


def _announce(
    alone: Alone, gateway: Gateway, about: dict[str, Any], problem: str | None, *, as_json: bool
) -> None:
    if as_json:
        ready = {
            "event": "ready",
            "http_url": alone.url,
            "version": __version__,
            "gateway": gateway.url,
            "world": about.get("world"),
            "personas": about.get("personas", {}),
            "problem": problem,
        }
        print_json(ready, indent=None)
        sys.stdout.flush()
        return
    out = console()
    out.print(
        f"[bold]Palaver {__version__}[/] speaks for [bold]{safe(gateway.url)}[/]", soft_wrap=True
    )
    if problem is None:
        people = ", ".join(safe(name) for name in about["personas"])
        out.print(f"[dim]world[/]     {safe(about['world'])}", soft_wrap=True)
        out.print(f"[dim]personas[/]  {people or '[yellow]none[/]'}", soft_wrap=True)
    else:
        out.print(
            f"[yellow]{safe(problem)}. Mods say lines of their own until it answers.[/]",
            soft_wrap=True,
        )
    out.print(f"Mods send to [bold]{safe(alone.url)}[/]. Ctrl-C stops it.", soft_wrap=True)


def _check_loopback(settings: Server) -> None:
    try:
        check_binding(settings)
    except ConfigError as err:
        raise ConfigError(
            f"{settings.host!r} can be reached from other machines, and nobody has to show a "
            "token; name one with --token-env, or listen on 127.0.0.1",
            key="--host",
        ) from err
