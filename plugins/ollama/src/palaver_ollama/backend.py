"""The backend: one or more Ollama servers with the same model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from palaver.chain.backend import BackendContext, Finish, GenerateRequest, Health, ModelInfo
from palaver.errors import BackendError, BackendOverloaded, BackendTimeout, BackendUnavailable
from palaver_ollama.api import make_http
from palaver_ollama.config import OllamaSettings
from palaver_ollama.server import Server
from palaver_ollama.wire import same_model

__all__ = ["OllamaBackend"]


class OllamaBackend:
    """One or more Ollama servers with the same model.

    Args:
        name: Name in `palaver.toml`.
        settings: Its table.
        context: What it may know of the world.

    Attributes:
        replicas: The servers.
        settings: Its table; the context window is filled in once it is known.
    """

    def __init__(self, name: str, settings: OllamaSettings, context: BackendContext) -> None:
        self.name = name
        self.settings = settings
        self._context_set = settings.context_tokens is not None
        self._context = context
        self._http = make_http(name, settings)
        self.replicas = [
            Server(name, url, settings, self._http, context.report, self._learn)
            for url in settings.addresses
        ]
        self._turns = 0

    async def start(self) -> None:
        """Ask about the model and begin to load it; a server that is away is asked again later."""
        variable = self.settings.api_key_env
        if variable and not os.environ.get(variable):
            self._context.report(
                f"backend {self.name}: the variable {variable} with its key is not set; set it "
                "and start again"
            )
        await asyncio.gather(*map(self._begin, self.replicas))

    async def _begin(self, server: Server) -> None:
        try:
            await server.ask()
        except BackendError as err:
            self._context.report(str(err))
        else:
            if self.settings.preload:
                server.loader.begin().add_done_callback(self._preloaded)

    def _preloaded(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._context.report(str(error))

    async def close(self) -> None:
        """Stop loading and close all connections."""
        for server in self.replicas:
            await server.close()
        await self._http.close()

    def _learn(self) -> None:
        """Take the context window from the servers where the settings do not say."""
        known = [one.context_tokens for one in self.replicas if one.context_tokens is not None]
        if known and not self._context_set:
            self.settings = self.settings.model_copy(update={"context_tokens": min(known)})

    async def health(self) -> Health:
        """Ask every server; one that is well is enough."""
        lines, ok = [], False
        for server in self.replicas:
            try:
                version, model = await server.api.version(), await server.ask()
                loaded = await server.api.ps()
            except BackendError as err:
                lines.append(err.reason)
                continue
            ok = True
            state = "loaded" if any(same_model(one.name, model) for one in loaded) else "on disk"
            lines.append(f"Ollama {version} at {server.name}: {model} ({state})")
        return Health(ok=ok, detail="; ".join(lines))

    async def models(self) -> Sequence[ModelInfo]:
        """List the models of all servers that answer, the one in use first."""
        found: dict[str, ModelInfo] = {}
        error: BackendError | None = None
        for server in self.replicas:
            try:
                model, tags = await server.ask(), await server.api.tags()
            except BackendError as err:
                error = err
                continue
            found[model] = ModelInfo(model, context_tokens=server.context_tokens)
            for tag in tags:
                if tag.speaks and not same_model(tag.name, model):
                    found.setdefault(tag.name, ModelInfo(tag.name))
        if not found and error is not None:
            raise error
        return list(found.values())

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Stream a reply of the first server that has one; a chain asks the replicas itself."""
        error: BackendError | None = None
        for server in self._order():
            begun = False
            try:
                async with aclosing(server.generate(request)) as stream:
                    async for piece in stream:
                        begun = True
                        yield piece
            except (BackendUnavailable, BackendTimeout, BackendOverloaded) as err:
                if begun or (isinstance(err, BackendTimeout) and err.phase == "total"):
                    raise
                error = error or err
            else:
                return
        assert error is not None  # there is at least one server
        raise error

    def _order(self) -> list[Server]:
        """Return the servers in the order to ask them: with the model in memory, idle, in turn."""
        self._turns += 1
        count = len(self.replicas)
        turned = [self.replicas[(index + self._turns) % count] for index in range(count)]
        return sorted(turned, key=lambda server: (not server.warm(None), server.active))
