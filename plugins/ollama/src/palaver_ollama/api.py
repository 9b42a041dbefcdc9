"""The questions one asks an Ollama server, each with a time limit."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from palaver.chain.http import Http
from palaver.errors import BackendResponseError
from palaver_ollama.config import OllamaSettings
from palaver_ollama.failures import HINT, from_status
from palaver_ollama.stream import BAD_JSON
from palaver_ollama.wire import (
    Loaded,
    Shown,
    Tag,
    decode_ps,
    decode_show,
    decode_tags,
    decode_version,
    encode,
)

__all__ = ["ASK_S", "Api", "make_http"]

T = TypeVar("T")

ASK_S = 2.0
"""Time for a server to say what it has, in seconds."""
KEEPALIVE_S = 30.0
"""Idle connections are closed after this; Ollama itself leaves them open."""


def make_http(backend: str, settings: OllamaSettings) -> Http:
    """Return the client for the servers of a backend."""
    key = os.environ.get(settings.api_key_env) if settings.api_key_env else None
    return Http(
        backend,
        connect_s=settings.connect_ms / 1000,
        headers={"Authorization": f"Bearer {key}"} if key else None,
        keepalive_s=KEEPALIVE_S,
        hint=HINT,
    )


class Api:
    """Asks one server.

    Args:
        backend: Name of the backend, for its errors.
        url: The server's address.
        http: Client to talk to it with.
        limit_s: Time for each answer, in seconds.
    """

    def __init__(self, backend: str, url: str, http: Http, limit_s: float = ASK_S) -> None:
        self._backend, self.url, self._http, self._limit_s = backend, url, http, limit_s

    async def version(self) -> str:
        """Ask for the server's version."""
        return await self._ask("GET", "/api/version", decode_version)

    async def tags(self) -> list[Tag]:
        """Ask for the models on disk."""
        return await self._ask("GET", "/api/tags", decode_tags)

    async def ps(self) -> list[Loaded]:
        """Ask for the models in memory."""
        return await self._ask("GET", "/api/ps", decode_ps)

    async def show(self, model: str) -> Shown:
        """Ask about a model.

        Raises:
            ModelNotFound: It is not there.
        """
        body = encode({"model": model})
        return await self._ask("POST", "/api/show", decode_show, body, model)

    async def _ask(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], T],
        body: bytes | None = None,
        model: str = "",
    ) -> T:
        status, answer = await self._http.fetch(
            method, f"{self.url}{path}", limit_s=self._limit_s, body=body
        )
        if status != 200:
            raise from_status(self._backend, model, status, {}, answer)
        try:
            return decode(answer)
        except BAD_JSON as err:
            raise BackendResponseError(
                self._backend, f"{self.url}{path} does not answer as Ollama; check `url`"
            ) from err
