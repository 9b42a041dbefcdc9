"""The backend: one model of a provider, asked over one client with one key."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from palaver.chain.backend import (
    BackendContext,
    Finish,
    GenerateRequest,
    Health,
    ModelInfo,
)
from palaver.chain.http import KEEPALIVE_S, Http
from palaver.errors import BackendError, BackendResponseError
from palaver_cloud.anthropic_wire import Anthropic
from palaver_cloud.call import Call
from palaver_cloud.failures import Failures
from palaver_cloud.gemini_wire import Gemini
from palaver_cloud.key import Key
from palaver_cloud.openai_wire import OpenAI
from palaver_cloud.sse import BAD_JSON

if TYPE_CHECKING:
    from palaver_cloud.config import CloudSettings
    from palaver_cloud.provider import Provider

__all__ = ["PROVIDERS", "CloudBackend"]

PROVIDERS: dict[str, type[Provider]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "gemini": Gemini,
}
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
        # A key goes to the host it was named for: another `url` has to name its own.
        self._key = Key(
            settings.api_key_env or (provider.key_env if provider.own else None), os.environ
        )
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
        """Say what is wrong with the key; no connection is opened before it is needed."""
        if self._key.problem is not None:
            self._context.report(f"backend {self.name}: {self._key.problem}")
        elif self._key.env is not None and _is_open(self._provider.base):
            self._context.report(
                f"backend {self.name}: its key goes unencrypted to {self._provider.base}; "
                "write https:// in `url`"
            )

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


def _is_open(url: str) -> bool:
    """Return whether what is sent to an address can be read on its way."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "http" and host != "localhost" and not host.startswith(("127.", "::1"))
