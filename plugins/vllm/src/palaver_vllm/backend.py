"""The backend: asks a server, streams its answer, and gives up properly."""

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
from palaver.chain.http_errors import broken
from palaver.chain.readings import Reading
from palaver.errors import (
    BackendError,
    BackendOverloaded,
    BackendResponseError,
    BackendTimeout,
    BackendUnavailable,
    ModelNotFound,
)
from palaver_vllm.config import VllmSettings
from palaver_vllm.failures import from_reader, from_status
from palaver_vllm.http import open_http
from palaver_vllm.replica import Plan, Replica
from palaver_vllm.stream import StreamReader
from palaver_vllm.wire import chat_body

__all__ = ["VllmBackend"]

REST_S = 2.0
"""How long a server that was away is asked last, in seconds."""
DRAIN_S = 0.05
"""Time for the last bytes after `[DONE]`, so that the connection can be used again, in seconds."""


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
            Replica(name, url, settings, self._http, context.report) for url in settings.addresses
        ]
        self._turns = 0

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

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Stream a reply; see `palaver.chain.backend.Backend`."""
        call = _Call(self, request)
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

    def order(self, adapter: str | None) -> list[Replica]:
        """Return the servers in the order to ask them: well, with the adapter, idle, in turn."""
        if len(self.replicas) == 1:
            return self.replicas
        now, count = asyncio.get_running_loop().time(), len(self.replicas)
        self._turns += 1

        def rank(item: tuple[int, Replica]) -> tuple[bool, bool, int, int]:
            index, replica = item
            return (
                replica.resting_until > now,
                adapter is not None and not replica.residency.warm(adapter),
                replica.activity.streams,
                (index + self._turns) % count,
            )

        return [replica for _, replica in sorted(enumerate(self.replicas), key=rank)]

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


class _Call:
    """One generate: the server, the connection, the deadline."""

    def __init__(self, backend: VllmBackend, request: GenerateRequest) -> None:
        self._backend, self._request = backend, request
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._entered: tuple[Replica, str | None] | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._plan = Plan("")
        self._expired = False
        self.reader = StreamReader()

    async def open(self) -> aiohttp.ClientResponse:
        """Return the stream of the first server that has one."""
        error: BackendError | None = None
        for replica in self._backend.order(self._request.adapter):
            try:
                response = await self._ask(replica)
            except (BackendUnavailable, BackendTimeout, BackendOverloaded) as err:
                if isinstance(err, BackendTimeout) and err.phase == "total":
                    raise
                if not isinstance(err, BackendOverloaded):
                    replica.lost(REST_S)
                error = error or err
            else:
                self._response = response
                if self._request.deadline is not None:
                    self._alarm = self._loop.call_at(self._request.deadline, self._expire)
                return response
        assert error is not None  # there is at least one server
        raise error

    async def _ask(self, replica: Replica) -> aiohttp.ClientResponse:
        backend, adapter = self._backend, self._request.adapter
        plan = await backend.plan(replica, adapter)
        try:
            return await self._send(replica, plan)
        except ModelNotFound:
            if plan.adapter is None:
                # It serves another model now; the next turn asks again.
                replica.lost(0)
                raise
            # The server was started again without its adapters. Nothing was said yet.
            return await self._send(replica, backend.without_adapter(replica, plan.adapter))

    async def _send(self, replica: Replica, plan: Plan) -> aiohttp.ClientResponse:
        self._plan = plan
        self._enter(replica, plan.adapter)
        try:
            return await self._backend.send(replica, plan, self._request)
        except BaseException:
            self._leave()
            raise

    def _enter(self, replica: Replica, adapter: str | None) -> None:
        replica.activity.enter(adapter)
        self._entered = (replica, adapter)

    def _leave(self) -> None:
        if self._entered is not None:
            (replica, adapter), self._entered = self._entered, None
            replica.activity.leave(adapter)

    def _expire(self) -> None:
        # A timeout around the loop's reads would have to be set anew for every token.
        self._expired = True
        if self._response is not None:
            self._response.close()

    def failed(self, err: Exception) -> BackendError:
        """Return the error for a stream that broke."""
        if self._expired:
            limit_s = max(0.0, (self._request.deadline or 0.0) - self._started)
            return BackendTimeout(self._backend.name, "total", limit_s)
        if self._entered is not None:
            self._entered[0].lost(0)
        return broken(self._backend.name, err)

    def finish(self) -> Finish:
        """Return how the reply ended.

        Raises:
            BackendError: It is not whole.
        """
        reader, plan = self.reader, self._plan
        if reader.finish is None or reader.error is not None or reader.garbage is not None:
            raise from_reader(self._backend.name, plan.model, reader)
        usage = reader.usage
        return Finish(
            reason=reader.finish,
            model=plan.base,
            adapter=plan.adapter,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            note=plan.note,
        )

    async def close(self) -> None:
        """Let go: of a whole reply gently, of any other at once, which aborts the generation."""
        self._leave()
        if self._alarm is not None:
            self._alarm.cancel()
        response = self._response
        if response is None:
            return
        try:
            if self.reader.done and not response.content.is_eof():
                async with asyncio.timeout(DRAIN_S):
                    await response.content.readany()
        except (aiohttp.ClientError, OSError):
            pass  # the reply is whole; the connection just cannot be used again
        finally:
            if self.reader.done and response.content.is_eof():
                response.release()
            else:
                response.close()
