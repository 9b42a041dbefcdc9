"""Who may connect, and as what.

Localhost is open to every web page that a browser shows, so the `Host` and `Origin` headers are
checked before anything else is read. Tokens are compared by their hashes, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aiohttp import web

from palaver.errors import ConfigError, ProtocolError

if TYPE_CHECKING:
    from palaver.config.models import Server

__all__ = ["GATE", "Gate", "Principal", "check_binding"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is at the other end.

    Attributes:
        role: `engine` may do everything; `player` may only speak as its own player.
        player: The player that a `player` speaks for, or None.
        key: Hash of its token, or empty where no tokens are used; sessions are bound to it.
    """

    role: Literal["engine", "player"]
    player: str | None = None
    key: str = ""


_ANYBODY = Principal("engine")


class Gate:
    """Checks requests and tokens.

    Args:
        settings: `[server]`.
        environ: The environment that holds tokens.

    Raises:
        ConfigError: A token's environment variable is not set.
    """

    def __init__(self, settings: Server, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._hosts = frozenset(host.lower() for host in settings.hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in settings.origins)
        self._tokens: list[tuple[str, Principal]] = []
        for token in settings.tokens:
            digest = token.sha256
            if token.env is not None:
                value = environ.get(token.env, "")
                if not value:
                    raise ConfigError(
                        f"the environment variable {token.env} is not set; set it to the token, "
                        "or remove this entry",
                        key="server.tokens",
                    )
                digest = _digest(value)
            assert digest is not None
            self._tokens.append((digest, Principal(token.role, token.player, digest)))

    def check_request(self, request: web.BaseRequest, *, any_host: bool = False) -> str | None:
        """Return why a request is refused, or None if its headers are in order.

        Args:
            request: The request.
            any_host: Whether it may address this server by any name.
        """
        host = request.headers.get("Host", "").lower()
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if not any_host and name not in self._hosts and host not in self._hosts:
            return f"the Host {host!r} is not in server.hosts; add it if it is yours"
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() not in self._origins:
            return f"the Origin {origin!r} is not in server.origins; add it to allow that page"
        return None

    def principal(self, token: str | None) -> Principal:
        """Return who a token belongs to.

        Raises:
            ProtocolError: Tokens are needed, and this is none of them.
        """
        if not self._tokens:
            return _ANYBODY
        digest = _digest(token or "")
        found: Principal | None = None
        # Every entry is compared, so that the time says nothing about which one fits.
        for known, principal in self._tokens:
            if hmac.compare_digest(known, digest):
                found = principal
        if found is None:
            problem = "the token is not known" if token else "this server asks for a `token`"
            raise ProtocolError("unauthorized", f"{problem}; ask its operator", close_code=4401)
        return found

    def bearer(self, request: web.BaseRequest) -> Principal:
        """Return who an HTTP request comes from, by its `Authorization: Bearer`.

        Raises:
            ProtocolError: As `principal`.
        """
        header = request.headers.get("Authorization", "")
        kind, _, value = header.partition(" ")
        return self.principal(value.strip() if kind.lower() == "bearer" else None)


GATE = web.AppKey("gate", Gate)
"""Where routes find the server's gate: `request.app[GATE]`."""


def check_binding(settings: Server) -> None:
    """Make sure that nobody is let in by accident.

    Raises:
        ConfigError: The address can be reached from other machines and there are no tokens.
    """
    if settings.tokens or _is_loopback(settings.host):
        return
    raise ConfigError(
        f"{settings.host!r} can be reached from other machines, and nobody has to show a token. "
        "Add a [[server.tokens]] entry (those of a world count once it is trusted), or listen on "
        "127.0.0.1",
        key="server.host",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
