"""The backend: one model of a provider, asked over one client with one key."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from palaver.chain.backend import (
    BackendContext,
    Finish,
    GenerateRequest,
    Health,
    ModelInfo,
)
from palaver.chain.http import KEEPALIVE_S, Http
from palaver.errors import BackendError, BackendResponseError
from palaver_cloud.call import Call
from palaver_cloud.failures import Failures
from palaver_cloud.key import Key
from palaver_cloud.providers import PROVIDERS
from palaver_cloud.sse import BAD_JSON

if TYPE_CHECKING:
    from palaver_cloud.config import CloudSettings

__all__ = ["CloudBackend"]

ASK_S = 5.0
"""Time for a provider to list its models, in seconds."""
CLOUD_KEEPALIVE_S = 30.0
"""Idle encrypted connections are kept so long: a new one costs several round trips."""


class CloudBackend:
    """One model of a provider.

    Args:
        name: Name in `palaver.toml`.
        settings: Its table.
        context: What it may know of the world.
    """

    def __init__(self, name: str, settings: CloudSettings, context: BackendContext) -> None:
        self.name = name
        self.settings = settings
        self._context = context
        self._provider = PROVIDERS[settings.provider](settings)
        provider = self._provider
        self._key = Key(provider.variable, os.environ)
        self._failures = Failures(name, settings.model, self._key)
        self._omitted = set(settings.omit)
        self._http = Http(
            name,
            connect_s=settings.connect_ms / 1000,
            headers=provider.headers(self._key.reveal()),
            keepalive_s=CLOUD_KEEPALIVE_S if provider.base.startswith("https:") else KEEPALIVE_S,
            hint="is this machine online, and `url` right?",
        )

    async def start(self) -> None:
        """Do nothing: a provider that is never asked never hears of us.

        What is wrong with the key the type's `check` says, once, when Palaver starts.
        """

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Stream a reply; see `palaver.chain.backend.Backend`."""
        call = Call(
            self._http,
            self._provider,
            self._failures,
            self._omitted,
            self._context.report,
            request,
        )
        return call.stream()

    async def health(self) -> Health:
        """List the provider's models, which costs nothing, and look for this one."""
        model, base = self.settings.model, self._provider.base
        try:
            names = [info.name for info in await self.models()]
        except BackendError as err:
            return Health(ok=False, detail=err.reason)
        if not names:
            return Health(ok=True, detail=f"{base} answers; it lists no models")
        # `claude-x` stands for the newest `claude-x-20261121`, which is what is listed.
        if any(name == model or name.startswith(f"{model}-") for name in names):
            return Health(ok=True, detail=f"{model} at {base}")
        if not self._provider.own:
            return Health(ok=True, detail=f"{base} answers; it does not list {model}")
        return Health(ok=False, detail=f"{base} does not list {model}; set `model` to one it has")

    async def models(self) -> Sequence[ModelInfo]:
        """List the provider's models; none where a compatible server has no such list."""
        self._failures.check_key()
        status, body = await self._http.fetch("GET", self._provider.list_url(), limit_s=ASK_S)
        if status in (404, 405) and not self._provider.own:
            return []
        if status != 200:
            raise self._failures.from_answer(status, {}, body)[0]
        try:
            return self._provider.read_models(body)
        except BAD_JSON as err:
            raise BackendResponseError(
                self.name,
                f"{self._provider.base} does not list its models as {self.settings.provider} "
                "does; check `url` and `provider`",
            ) from err
