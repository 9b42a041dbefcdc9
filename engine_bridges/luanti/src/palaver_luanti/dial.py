"""How the bridge reaches a gateway over the network: addresses, and the first word."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from palaver.errors import ConfigError, ProtocolError
from palaver.messages import PROTOCOL, SUBPROTOCOL
from palaver_luanti.reach import Reach
from palaver_luanti.upstream import AWAY, away, encode

__all__ = ["Gateway", "cut_off", "gateway_at", "look_for", "unreachable"]

OPEN_S = 4.0
"""Time to connect and to be greeted, in seconds."""
CLOSE_S = 2.0
LOOK = {"type": "session.start", "protocol": PROTOCOL, "client": {"name": "palaver luanti"}}
LOOK_S = 0.5
LOOK_CAP_S = 5.0
"""The n-th look for a gateway that is away comes after `min(cap, base * 2**n)`."""
REFUSED_S = 60.0
"""The same where it refuses: each look is a line in its log."""
MOST_BYTES = 1_000_000
"""Far above what the protocol allows; only a bound on what a broken gateway can make us hold."""
_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


class _Dial(websockets_connect):
    """Connects, and follows no redirects: the token is for this address only."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Take a redirect for the refusal that it is."""
        return exc


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway elsewhere.

    Attributes:
        url: Its WebSocket address.
        http: Its HTTP address, without a path.
        token: What it asks for, or None.
        reach: Whether it answers, as far as is known.
    """

    url: str
    http: str
    token: str | None = field(default=None, repr=False)
    reach: Reach = field(default_factory=Reach, repr=False, compare=False)

    async def greet(self, first: Mapping[str, Any]) -> tuple[ClientConnection, dict[str, Any]]:
        """Connect, and return the connection and the answer to its first message.

        Args:
            first: `session.start` or `session.resume`, without a token.

        Raises:
            ProtocolError: The gateway is away, or refuses.
        """
        token = {} if self.token is None else {"token": self.token}
        socket: ClientConnection | None = None
        greeted = False
        try:
            async with asyncio.timeout(OPEN_S):
                socket = await _Dial(
                    self.url,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    proxy=None,
                    open_timeout=None,
                    # The protocol has pings of its own, which a busy gateway answers too.
                    ping_interval=None,
                    close_timeout=CLOSE_S,
                    max_size=MOST_BYTES,
                )
                await socket.send(encode({**first, **token}))
                answer = json.loads(await socket.recv())
            if not isinstance(answer, dict):
                raise away(f"{self.url} is no gateway of Palaver's; give --gateway its address")
            if answer.get("type") == "error":
                raise _refusal(answer)
            greeted = True
            self.reach.found(self.url)
            return socket, answer
        except InvalidStatus as err:
            said = (err.response.body or b"").decode("utf-8", "replace").strip()[:200]
            raise away(
                f"{self.url} answers with HTTP status {err.response.status_code}: {said}"
            ) from err
        except TimeoutError as err:
            raise away(f"{self.url} does not answer within {OPEN_S:g} s") from err
        except (ValueError, RecursionError) as err:
            raise away(f"{self.url} does not answer as a gateway: {err}") from err
        except (OSError, WebSocketException) as err:
            raise unreachable(self.url, err) from err
        finally:
            if socket is not None and not greeted:
                socket.transport.abort()


def gateway_at(address: str, token: str | None = None) -> Gateway:
    """Return the gateway of an address.

    Args:
        address: `ws://host:8765`, or with `wss`, and with a path where it is not `/v1`.
        token: What it asks for, or None.

    Raises:
        ConfigError: It is no address.
    """
    try:
        parts = urlsplit(address)
        scheme, known = _SCHEMES.get(parts.scheme), bool(parts.hostname) and parts.port != 0
    except ValueError:  # Brackets or a port that are none.
        scheme, known = None, False
    if scheme is None or not known:
        raise ConfigError(
            f"{address!r} is no address; write one such as ws://127.0.0.1:8765", key="--gateway"
        )
    if "@" in parts.netloc:
        # It would stand in every message about this address.
        raise ConfigError(
            "an address holds no name and no password; give the token with --token-env",
            key="--gateway",
        )
    ws = "wss" if scheme == "https" else "ws"
    path = parts.path if parts.path not in ("", "/") else "/v1"
    return Gateway(
        urlunsplit((ws, parts.netloc, path, parts.query, "")),
        urlunsplit((scheme, parts.netloc, "", "", "")),
        token,
    )


async def cut_off(socket: ClientConnection, *last: Mapping[str, Any]) -> None:
    """Close a connection after last words, or cut it if that takes too long."""
    try:
        async with asyncio.timeout(CLOSE_S):
            for message in last:
                await socket.send(encode(message))
            await socket.close(1000)
    except (TimeoutError, OSError, WebSocketException):
        pass
    finally:
        socket.transport.abort()


async def look_for(gateway: Gateway) -> None:
    """Look for a gateway whenever it is lost, also while no mod asks; until cancelled."""
    pause = LOOK_S
    while True:
        await gateway.reach.until_lost()
        await asyncio.sleep(pause)
        pause = min(pause * 2, LOOK_CAP_S)
        if gateway.reach.away:
            try:
                # What sessions do: only that shows that they can.
                socket, _ = await gateway.greet(LOOK)
            except ProtocolError as err:
                if err.code != AWAY:
                    pause = REFUSED_S
                continue
            await cut_off(socket, {"type": "session.end"})
        pause = LOOK_S


def unreachable(url: str, err: Exception) -> ProtocolError:
    """Return the error of a gateway that is not there, with what the system says of it."""
    cause = getattr(err, "os_error", err)  # aiohttp wraps it
    number = getattr(cause, "errno", None)
    why = os.strerror(number) if number is not None and number > 0 else str(cause)
    return away(f"cannot reach {url}: {why}; start the gateway with `palaver serve`")


def _refusal(answer: Mapping[str, Any]) -> ProtocolError:
    code, said = str(answer.get("code")), str(answer.get("message"))
    if code == "unauthorized":
        said = f"the gateway does not let this bridge in: {said}; see --token-env"
    return ProtocolError(code, said, retryable=answer.get("retryable") is True)
