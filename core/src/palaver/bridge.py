"""What connects one engine: a bridge adds its endpoints to Palaver's one port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aiohttp import web

    from palaver.gateway import Gateway

__all__ = ["Bridge"]


class Bridge(Protocol):
    """One bridge, as a plugin registers it.

    Its methods that are marked with `hookimpl` are called as a plugin's are, but for the register
    hooks: so a bridge learns of turns and sessions of its own gateway.

    Attributes:
        name: Its name, such as `luanti`.
    """

    name: str

    def routes(self, gateway: Gateway) -> Sequence[web.AbstractRouteDef]:
        """Return the HTTP routes it adds; called once, before the port is open.

        `Host` and `Origin` are checked for them; tokens are the bridge's to check, with
        `request.app[GATE].bearer(request)` (from `palaver.server.security`).
        """

    async def start(self, gateway: Gateway) -> None:
        """Begin whatever it does besides answering requests."""

    async def close(self) -> None:
        """End it, and whatever requests it holds open; safe to call twice."""
