"""Sessions in a gateway elsewhere: the bridge runs beside the game."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp

from palaver.errors import ProtocolError
from palaver_luanti.dial import Gateway, unreachable
from palaver_luanti.line import RemoteLine
from palaver_luanti.upstream import away

if TYPE_CHECKING:
    from palaver.server.security import Principal
    from palaver_luanti.mailbox import Mailbox

__all__ = ["RemoteUpstream"]

TURNS = 64
"""Prompts of `/infer` at work at once."""
INFO_S = 4.0
"""Time for a gateway to say what it is, in seconds."""
FRESH_S = 5.0
"""How long its personas are taken to be the same, in seconds."""
MOST_BYTES = 1_000_000


class RemoteUpstream:
    """An `Upstream` that is a gateway somewhere else.

    Args:
        gateway: The gateway.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.turns = TURNS
        self._gateway = gateway
        self._client: aiohttp.ClientSession | None = None
        self._closed = False
        self._personas: dict[str, str] = {}
        self._known_at = float("-inf")

    async def open(
        self, start: Mapping[str, Any], principal: Principal, mailbox: Mailbox
    ) -> RemoteLine:
        """Open a session whose messages go into a mailbox."""
        line = RemoteLine(self._gateway, start, mailbox)
        await line.open()
        return line

    async def ask(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Run one turn without a session."""
        given = {key: value for key, value in fields.items() if value is not None}
        return await self._request("POST", "/v1/turns", given)

    async def personas(self) -> Mapping[str, str]:
        """Return the world's personas."""
        now = asyncio.get_running_loop().time()
        if now - self._known_at > FRESH_S:
            found = (await self._known())["personas"]
            self._personas = {str(id_): str(name) for id_, name in found.items()}
            self._known_at = now
        return self._personas

    async def about(self) -> dict[str, Any]:
        """Return server, world and backends.

        The gateway's own bridge knows how the backends are; where it has none, nobody tells.
        """
        try:
            found = await self._in_time("/info")
            if {"server", "world", "personas", "active", "backends"} <= found.keys():
                return found
        except ProtocolError as err:
            if err.code != "bad_message":
                raise
        return await self._known()

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _known(self) -> dict[str, Any]:
        """Return what every gateway tells, in the form of `/info`."""
        found = await self._in_time("/v1/info")
        try:
            return {
                "server": found["server"],
                "world": found["world"],
                "personas": dict(found["personas"]),
                "active": {"backend": None, "model": None},
                "backends": {
                    name: {**about, "ok": None, "detail": "not asked from here", "models": []}
                    for name, about in found["backends"].items()
                },
            }
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise away(f"{self._gateway.http} is no gateway of this version") from err

    async def _in_time(self, path: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(INFO_S):
                return await self._request("GET", path)
        except TimeoutError as err:
            raise away(f"{self._gateway.http} does not answer within {INFO_S:g} s") from err

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask the gateway over HTTP; how long that may take is the caller's to say.

        Raises:
            ProtocolError: It refuses, or is away.
        """
        if self._closed:
            raise away("the bridge stops")
        if self._client is None:
            self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None))
        token = self._gateway.token
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        url = self._gateway.http + path
        try:
            async with self._client.request(
                method, url, json=body, headers=headers, allow_redirects=False
            ) as response:
                raw = await response.content.read(MOST_BYTES)
                while not response.content.at_eof() and len(raw) < MOST_BYTES:
                    raw += await response.content.read(MOST_BYTES - len(raw))
                status = response.status
        except (aiohttp.ClientError, OSError) as err:
            raise unreachable(self._gateway.http, err) from err
        try:
            found = json.loads(raw)
            if status == 200:
                return dict(found)
            error = found["error"]
            refusal = ProtocolError(
                str(error["code"]), str(error["message"]), retryable=error["retryable"] is True
            )
        except (ValueError, TypeError, KeyError, RecursionError) as err:
            raise away(f"{url} answers with HTTP status {status}, and not as a gateway") from err
        raise refusal
