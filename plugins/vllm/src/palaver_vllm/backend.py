"""The backend: its servers, what they serve, and the streams they answer with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence

import aiohttp

from palaver.chain.backend import (
    BackendContext,
    Finish,
    GenerateRequest,
    Health,
    ModelInfo,
)
from palaver.chain.readings import Reading
from palaver.errors import (
    BackendError,
    BackendResponseError,
)
from palaver_vllm.call import Call
from palaver_vllm.config import VllmSettings
from palaver_vllm.failures import from_status
from palaver_vllm.http import open_http
from palaver_vllm.replica import Plan, Replica
from palaver_vllm.wire import chat_body

__all__ = ["VllmBackend"]


class VllmBackend:
    """One or more vLLM servers with the same model.

    Args:
        name: Name in `palaver.toml`.
        settings: Its table.
        context: What it may know of the world.
    """

    def __init__(self, name: str, settings: VllmSettings, context: BackendContext) -> None:
        self.name = name
        self.settings = settings
        self._context = context
        self._key_missing = bool(settings.api_key_env) and not os.environ.get(
            settings.api_key_env or ""
        )
        self._http = open_http(
            name,
            connect_s=settings.connect_ms / 1000,
            api_key=os.environ.get(settings.api_key_env) if settings.api_key_env else None,
        )
        self.replicas = [
            Replica(name, url, settings, self._http, context.report, self.speak)
            for url in settings.addresses
        ]

    async def start(self) -> None:
        """Ask the servers what they serve; one that is away is asked again when it is needed."""
        if self._key_missing:
            self._context.report(
                f"backend {self.name}: the variable {self.settings.api_key_env} with its key is "
                "not set; set it and start again"
            )
        results = await asyncio.gather(
            *(replica.ask() for replica in self.replicas), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BackendError):
                self._context.report(f"{result}")
            elif isinstance(result, BaseException):
                raise result
        self._learn()

    async def close(self) -> None:
        """Stop loading and close all connections."""
        for replica in self.replicas:
            await replica.close()
        await self._http.close()

    def _learn(self) -> None:
        """Take the context window from the servers where the settings do not say."""
        known = [r.context_tokens for r in self.replicas if r.context_tokens is not None]
        if known and self.settings.context_tokens is None:
            self.settings = self.settings.model_copy(update={"context_tokens": min(known)})

    async def readings(self) -> Sequence[Reading]:
        """Ask every server for its metrics, side by side."""
        told = await asyncio.gather(*(replica.readings() for replica in self.replicas))
        return [reading for one in told for reading in one]

    async def health(self) -> Health:
        """Ask every server; one that is well is enough."""
        lines, ok = [], False
        for replica in self.replicas:
            try:
                version = await replica.version()
                cards = await replica.cards()
            except BackendError as err:
                lines.append(err.reason)
            else:
                ok = True
                adapters = sum(card.parent is not None for card in cards)
                bases = ", ".join(card.id for card in cards if card.parent is None)
                lines.append(f"vLLM {version} at {replica.url}: {bases}, {adapters} adapters")
        return Health(ok=ok, detail="; ".join(lines))

    async def models(self) -> Sequence[ModelInfo]:
        """List models and adapters of all servers that answer."""
        found: dict[str, ModelInfo] = {}
        error: BackendError | None = None
        for replica in self.replicas:
            try:
                cards = await replica.cards()
            except BackendError as err:
                error = err
                continue
            for card in cards:
                length = card.max_model_len or replica.context_tokens
                found.setdefault(card.id, ModelInfo(card.id, card.parent, length))
        if not found and error is not None:
            raise error
        self._learn()
        return list(found.values())

    def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Stream a reply of the first server; the chain asks the `replicas` themselves."""
        return self.replicas[0].generate(request)

    async def speak(
        self, replica: Replica, request: GenerateRequest
    ) -> AsyncGenerator[str | Finish, None]:
        """Stream a reply of one server; see `palaver.chain.backend.Replica`."""
        call = Call(self, replica, request)
        try:
            response = await call.open()
            reader = call.reader
            read, feed = response.content.readany, reader.feed
            while not reader.over:
                try:
                    data = await read()
                except (aiohttp.ClientError, OSError) as err:
                    raise call.failed(err) from err
                text = feed(data) if data else reader.end()
                if text:
                    yield text
                if not data:
                    break
            yield call.finish()
        finally:
            await call.close()

    async def send(
        self, replica: Replica, plan: Plan, request: GenerateRequest
    ) -> aiohttp.ClientResponse:
        """Ask a server and return its stream.

        Raises:
            BackendError: It did not answer with one.
        """
        settings = self.settings
        body = chat_body(request, plan.model, priority=settings.priority, extra=settings.extra_body)
        response = await self._http.send("POST", replica.chat_url, body, request.deadline)
        try:
            if response.status == 200 and response.content_type == "text/event-stream":
                return response
            answer = await self._http.read(response, request.deadline)
        except BaseException:
            response.close()
            raise
        response.release()
        if response.status == 200:
            raise BackendResponseError(
                self.name, f"answers with {response.content_type}, not with a stream; check `url`"
            )
        raise from_status(self.name, plan.model, response.status, response.headers, answer)

    async def plan(self, replica: Replica, adapter: str | None) -> Plan:
        """Decide what to ask a server for.

        Raises:
            BackendError: It does not say what it serves.
        """
        if not replica.known:
            await replica.ask()
            self._learn()
        return replica.plan(adapter, self._context.adapters() if adapter else {})

    def without_adapter(self, replica: Replica, adapter: str) -> Plan:
        """Return the plan for a server that has lost an adapter, which is loaded again."""
        replica.residency.forget()
        return replica.plan(adapter, self._context.adapters())
