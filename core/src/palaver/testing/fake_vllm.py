"""A model server with vLLM's manners, and every way to misbehave, for tests without a model.

    async with FakeVllm(adapters={"vampire@1": "/adapters/vampire"}) as server:
        server.replies = [["Good ", "evening", CUT], Reply(status=503, retry_after="2")]
        ...  # talk to server.url
        assert server.asked[0].model == "vampire@1"

It listens on a free port of the loopback. Delays are in units of `palaver.testing.UNIT_S`, or the
test holds a reply with an `asyncio.Event`. What it shares with a real vLLM 0.32 is compared by
`tests/vllm`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from palaver.testing.fake_server import FakeServer
from palaver.testing.fake_state import Asked
from palaver.testing.fake_vllm_reply import (
    CUT,
    HANG,
    Chunks,
    Fail,
    Raw,
    Reply,
    Script,
    Step,
    error_body,
)
from palaver.testing.fake_vllm_state import Adapters, FakeError, PrefixCache
from palaver.testing.fake_vllm_stream import Stream
from palaver.testing.scripted import Pause

__all__ = ["CUT", "HANG", "Asked", "Fail", "FakeVllm", "Pause", "Raw", "Reply", "Script", "Step"]


class FakeVllm(FakeServer[Asked]):
    """A server to be used with `async with`.

    Args:
        model: Name under which the base model is served.
        root: What `/v1/models` says is the base model's path; None repeats the name.
        max_model_len: Context window in the fake's tokens, which are four characters.
        max_loras: Adapter slots: streams of more adapters wait for each other.
        max_lora_rank: Largest rank that can be loaded.
        max_queued: Streams at once, above which a request is answered with 503; None has no bound.
        adapters: Adapters that are there from the start, path by name.
        runtime_lora: Whether adapters can be loaded while it runs.
        api_key: Key that `/v1` asks for, or None.
        port: Port to listen on; 0 takes a free one.

    Attributes:
        replies: What to answer next: each is taken out for one chat completion, and the last one
            stays and is repeated.
        asked: Every chat completion that was asked for.
        calls: Every request as `METHOD /path`.
        loads: Every adapter that was loaded, as name and path.
        load_hold: If set to an event, loading waits for it, and all streams wait for the loading.
        healthy: What `/health` says.
    """

    replies: list[Script]

    def __init__(
        self,
        *,
        model: str = "base",
        root: str | None = None,
        max_model_len: int = 1024,
        max_loras: int = 4,
        max_lora_rank: int = 16,
        max_queued: int | None = None,
        adapters: Mapping[str, str] | None = None,
        runtime_lora: bool = True,
        api_key: str | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(api_key=api_key, port=port)
        self.model, self.root, self.max_model_len = model, root or model, max_model_len
        self.max_queued = max_queued
        self.loads: list[tuple[str, str]] = []
        self.load_hold: asyncio.Event | None = None
        self.healthy = True
        self._slots, self._max_rank = max_loras, max_lora_rank
        self._static = dict(adapters or {})
        self._runtime_lora = runtime_lora
        self._ids = itertools.count(1)
        self._forget()

    def _forget(self) -> None:
        self.adapters = Adapters(self.model, self._slots, self._max_rank)
        for name, path in self._static.items():
            self.adapters.load(name, path)
        self.prefix_cache = PrefixCache()
        # Set while no adapter is being loaded: the engine does one thing at a time.
        self._engine_free = asyncio.Event()
        self._engine_free.set()

    async def start(self) -> None:
        """Listen; after `stop` on the same port, with nothing but the first adapters loaded."""
        self._forget()
        await super().start()

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/chat/completions", self._chat)
        router.add_get("/v1/models", self._models)
        router.add_get("/health", self._health)
        router.add_get("/version", self._version)
        router.add_get("/metrics", self._metrics)
        if self._runtime_lora:
            router.add_post("/v1/load_lora_adapter", self._load)
            router.add_post("/v1/unload_lora_adapter", self._unload)

    # --- requests -------------------------------------------------------------------------------

    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.api_key is not None and request.path.startswith("/v1"):
            if request.headers.get("Authorization") != f"Bearer {self.api_key}":
                return web.json_response({"error": "Unauthorized"}, status=401)
        try:
            response: web.StreamResponse = await handler(request)
        except FakeError as error:
            return web.json_response(error.body, status=error.status)
        except web.HTTPException as error:
            return web.json_response({"detail": error.reason}, status=error.status)
        return response

    async def _json(self, request: web.Request) -> dict[str, Any]:
        try:
            body = json.loads(await request.read())
        except ValueError as error:
            raise FakeError(400, f"JSON decode error: {error}", "Bad Request", "body.0") from None
        if not isinstance(body, dict):
            raise FakeError(400, "Input should be a valid dictionary", "Bad Request", "body")
        return body

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0"})

    async def _models(self, _request: web.Request) -> web.Response:
        def card(name: str, root: str, parent: str | None, length: int | None) -> dict[str, Any]:
            return {
                "id": name,
                "object": "model",
                "created": int(time.time()),
                "owned_by": "vllm",
                "root": root,
                "parent": parent,
                "max_model_len": length,
                "permission": [_PERMISSION],
            }

        cards = [card(self.model, self.root, None, self.max_model_len)]
        cards += [card(name, path, self.model, None) for name, path in self.adapters.names.items()]
        return web.json_response({"object": "list", "data": cards})

    async def _metrics(self, _request: web.Request) -> web.Response:
        labels = f'{{engine="0",model_name="{self.model}"}}'
        cache = self.prefix_cache
        lines = [
            f"vllm:num_requests_running{labels} {float(self.running)}",
            f"vllm:prefix_cache_queries_total{labels} {float(cache.queries)}",
            f"vllm:prefix_cache_hits_total{labels} {float(cache.hits)}",
            *self.adapters.metrics(),
        ]
        return web.Response(text="\n".join(lines) + "\n")

    async def _load(self, request: web.Request) -> web.Response:
        body = await self._json(request)
        name, path = str(body.get("lora_name", "")), str(body.get("lora_path", ""))
        self.adapters.check(name, path)
        self._engine_free.clear()
        try:
            if self.load_hold is not None:
                await self.load_hold.wait()
            self.adapters.load(name, path)
        finally:
            self._engine_free.set()
        self.loads.append((name, path))
        await self.notify()
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        name = str((await self._json(request)).get("lora_name", ""))
        self.adapters.unload(name)
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    # --- chat completions -----------------------------------------------------------------------

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._json(request)
        asked = Asked(body, dict(request.headers))
        self.asked.append(asked)
        async with self._noted(asked), AsyncExitStack() as stack:
            return await self._answer(request, asked, stack)

    async def _answer(
        self, request: web.Request, asked: Asked, stack: AsyncExitStack
    ) -> web.StreamResponse:
        prompt_tokens = self._check(asked)
        reply = self._next(asked.body)
        if reply.status != 200:
            await self.notify()
            return self._error(reply, error_body(reply.status, reply.error))
        if self.max_queued is not None and self.running >= self.max_queued:
            raise FakeError(503, str(error_body(503)["error"]["message"]), "Service Unavailable")
        await stack.enter_async_context(self._counted())
        if asked.model in self.adapters.names:
            await self.adapters.acquire(asked.model)
            stack.push_async_callback(self.adapters.release, asked.model)
        gone = await self._before_headers(reply, request)
        if gone is not None:
            return gone
        chunks = Chunks(f"chatcmpl-{next(self._ids)}", asked.model, int(time.time()), reply)
        stream = Stream(request, asked, reply, chunks, self._engine_free, self.notify)
        return await stream.run(prompt_tokens)

    def _check(self, asked: Asked) -> int:
        body, name = asked.body, asked.model
        if name and name != self.model and name not in self.adapters.names:
            raise FakeError(
                404,
                f"The model `{name}` does not exist. Valid aliases: {self.model}.",
                "NotFoundError",
                "model",
            )
        if body.get("continue_final_message") and body.get("add_generation_prompt", True):
            # vLLM's default is true as well, but it objects only to a true that was sent.
            if "add_generation_prompt" in body:
                raise FakeError(
                    400,
                    "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
                )
        for field in ("temperature", "top_p", "max_tokens", "seed"):
            if not isinstance(body.get(field), int | float | None):
                raise FakeError(
                    400, f"Input should be a valid number: {field}", "Bad Request", f"body.{field}"
                )
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise FakeError(400, "Field required", "Bad Request", "body.messages")
        prompt = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
        key = f"{name}:{self.adapters.names.get(name, '')}"
        tokens = len(prompt) // 4
        if tokens >= self.max_model_len:
            raise FakeError(
                400,
                f"This model's maximum context length is {self.max_model_len} tokens. However, "
                f"your prompt contains {tokens} input tokens, which exceeds this limit even "
                "without any output tokens. Please reduce the length of the input prompt.",
                param="input_tokens",
            )
        return self.prefix_cache.look_up(key, prompt)


_PERMISSION = {
    "id": "modelperm-0",
    "object": "model_permission",
    "created": 0,
    "allow_create_engine": False,
    "allow_sampling": True,
    "allow_logprobs": True,
    "allow_search_indices": False,
    "allow_view": True,
    "allow_fine_tuning": False,
    "organization": "*",
    "group": None,
    "is_blocking": False,
}
