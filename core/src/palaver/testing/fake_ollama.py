"""An Ollama server's manners, and every way to misbehave, for tests without a model.

    async with FakeOllama() as server:
        server.replies = [["Good ", "evening", CUT], Reply(status=503, retry_after="2")]
        ...  # talk to server.url
        assert server.asked[0].body["options"]["num_ctx"] == 4096
        assert server.loads == [("tiny:latest", 4096)]

It listens on a free port of the loopback and speaks as https://github.com/ollama/ollama does in
docs/api.md, server/routes.go and server/sched.go (2026-08): one model in memory, loaded anew for
other options; requests one after another; loading that ends when its request is given up. Replies
are scripted as for `palaver.testing.fake_vllm`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from palaver.testing.fake_ollama_state import (
    AskedOllama,
    FakeModel,
    InMemory,
    Refusal,
    Think,
    check_chat,
    line,
)
from palaver.testing.fake_ollama_stream import OllamaStream
from palaver.testing.fake_server import FakeServer
from palaver.testing.fake_vllm_reply import CUT, HANG, Fail, Raw, Reply

__all__ = ["CUT", "HANG", "AskedOllama", "Fail", "FakeModel", "FakeOllama", "Raw", "Reply", "Think"]

BUSY = "server busy, please try again.  maximum pending requests exceeded"
DEFAULT_NUM_CTX = 4_096
_RUNNER = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread")


class FakeOllama(FakeServer[AskedOllama]):
    """A server to be used with `async with`.

    Args:
        models: Models on disk, by name; the one changed last comes first.
        parallel: Replies at once (`OLLAMA_NUM_PARALLEL`).
        max_queue: Chats that may wait for that (`OLLAMA_MAX_QUEUE`).
        max_loaded: Models in memory at once (`OLLAMA_MAX_LOADED_MODELS`).
        api_key: Key that a proxy in front of it would ask for, or None.
        port: Port to listen on; 0 takes a free one.

    Attributes:
        models: Models on disk; tests may change them.
        replies: What to answer next: each is taken out for one chat, and the last one stays.
        asked: Every chat with a message in it.
        calls: Every request as `METHOD /path`.
        loads: Every time a model was loaded, as name and context window.
        aborted_loads: How often loading ended because its request was given up.
        load_hold: If set to an event, loading waits for it.
        memory: Models in memory.
        running: Chats that are answered now, or wait for that.
        most: Most that were answered at once.
        pulls: What `/api/pull` sends for a name, line by line; others do not exist.
        pull_hold: If set to an event, a download waits for it after its first line.
    """

    def __init__(
        self,
        models: Mapping[str, FakeModel] | None = None,
        *,
        parallel: int = 64,
        max_queue: int = 512,
        max_loaded: int = 1,
        api_key: str | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(api_key=api_key, port=port)
        self.models = dict(models if models is not None else {"tiny:latest": FakeModel()})
        self.max_queue, self.max_loaded = max_queue, max_loaded
        self.loads: list[tuple[str, int]] = []
        self.aborted_loads = 0
        self.load_hold: asyncio.Event | None = None
        self.memory: dict[str, InMemory] = {}
        self.most = self._answering = 0
        self.pulls: dict[str, Sequence[Mapping[str, Any]]] = {}
        self.pull_hold: asyncio.Event | None = None
        self._parallel = asyncio.Semaphore(parallel)
        self._scheduler = asyncio.Lock()

    async def start(self) -> None:
        """Listen; after `stop` on the same port, with nothing in memory."""
        self.memory.clear()
        await super().start()

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/api/chat", self._chat)
        router.add_post("/api/show", self._show)
        router.add_post("/api/pull", self._pull)
        router.add_get("/api/tags", self._tags)
        router.add_get("/api/ps", self._ps)
        router.add_get("/api/version", self._version)

    # --- requests -------------------------------------------------------------------------------

    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return web.json_response({"error": "unauthorized"}, status=401)
        try:
            response: web.StreamResponse = await handler(request)
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        except web.HTTPNotFound:
            return web.Response(status=404, text="404 page not found")
        return response

    async def _json(self, request: web.Request) -> dict[str, Any]:
        try:
            body = json.loads(await request.read())
        except ValueError as err:
            raise Refusal(400, f"invalid JSON: {err}") from None
        return body if isinstance(body, dict) else {}

    def _model(self, body: Mapping[str, Any]) -> tuple[str, FakeModel]:
        name = str(body.get("model") or "")
        if not name:
            raise Refusal(400, "model is required")
        full = name if ":" in name else f"{name}:latest"
        if full not in self.models:
            raise Refusal(404, f"model '{name}' not found")
        return full, self.models[full]

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "0.12.6"})

    async def _tags(self, _request: web.Request) -> web.Response:
        return web.json_response({"models": [m.tag(name) for name, m in self.models.items()]})

    async def _ps(self, _request: web.Request) -> web.Response:
        entries = [one.entry(name, self.models[name]) for name, one in self.memory.items()]
        return web.json_response({"models": entries})

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._model(await self._json(request))[1].shown())

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        name = str((await self._json(request)).get("model") or "")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(line(status="pulling manifest"))
        if self.pull_hold is not None:
            await self.pull_hold.wait()
        if name not in self.pulls:
            await response.write(line(error="pull model manifest: file does not exist"))
        for progress in self.pulls.get(name, ()):
            await response.write(line(**progress))
            if progress.get("status") == "success":
                self.models[name if ":" in name else f"{name}:latest"] = FakeModel()
        await response.write_eof()
        return response

    # --- chats ----------------------------------------------------------------------------------

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._json(request)
        name, model = self._model(body)
        check_chat(body, model)
        if not body.get("messages"):
            return await self._load_only(name, model, body)
        asked = AskedOllama(body, dict(request.headers))
        self.asked.append(asked)
        async with self._noted(asked), AsyncExitStack() as stack:
            return await self._answer(request, asked, name, model, stack)

    async def _load_only(
        self, name: str, model: FakeModel, body: Mapping[str, Any]
    ) -> web.Response:
        reason = "load"
        if body.get("keep_alive") in (0, "0s"):
            self.memory.pop(name, None)
            reason = "unload"
        else:
            await self._schedule(name, model, body)
        message = {"role": "assistant", "content": ""}
        return web.Response(
            body=line(model=body["model"], message=message, done_reason=reason, done=True),
            content_type="application/json",
        )

    async def _schedule(self, name: str, model: FakeModel, body: Mapping[str, Any]) -> None:
        """Put the model into memory as this request wants it; others wait meanwhile."""
        options = body.get("options") or {}
        runner = {key: options[key] for key in _RUNNER if key in options}
        async with self._scheduler:
            there = self.memory.get(name)
            if there is None or there.runner != runner:
                while self.memory and (there is not None or len(self.memory) >= self.max_loaded):
                    # One that is in use is not unloaded before it is idle.
                    await self.until(lambda: not self._answering)
                    self.memory.pop(name if there is not None else next(iter(self.memory)))
                    there = None
                num_ctx = min(int(options.get("num_ctx", DEFAULT_NUM_CTX)), model.context_length)
                self.loads.append((name, num_ctx))
                await self.notify()
                try:
                    if self.load_hold is not None:
                        await self.load_hold.wait()
                except asyncio.CancelledError:
                    self.aborted_loads += 1
                    raise
                self.memory[name] = InMemory(runner, num_ctx, _seconds(body.get("keep_alive")))
        await self.notify()

    async def _answer(
        self,
        request: web.Request,
        asked: AskedOllama,
        name: str,
        model: FakeModel,
        stack: AsyncExitStack,
    ) -> web.StreamResponse:
        reply = self._next(asked.body)
        if reply.status != 200:
            message = reply.error or (BUSY if reply.status == 503 else "something went wrong")
            return self._error(reply, {"error": message})
        if self._parallel.locked() and self.running - self._answering >= self.max_queue:
            raise Refusal(503, BUSY)
        await stack.enter_async_context(self._counted())
        await self._schedule(name, model, asked.body)
        tokens = sum(len(str(one["content"])) for one in asked.body["messages"]) // 4
        if tokens >= self.memory[name].num_ctx and not model.context_shift:
            raise Refusal(400, "the prompt is longer than the context length currently available")
        await stack.enter_async_context(self._parallel)
        self._answering += 1
        stack.callback(self._answered)
        self.most = max(self.most, self._answering)
        gone = await self._before_headers(reply, request)
        if gone is not None:
            return gone
        return await OllamaStream(request, asked, reply, self.notify).run(max(1, tokens))

    def _answered(self) -> None:
        self._answering -= 1


def _seconds(keep_alive: Any) -> float:
    if isinstance(keep_alive, int | float):
        return keep_alive if keep_alive >= 0 else float("inf")
    text = str(keep_alive or "5m")
    value = float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]
    return value if value >= 0 else float("inf")
