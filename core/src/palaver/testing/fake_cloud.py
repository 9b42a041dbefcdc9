"""A cloud provider in this process, with its wire format and every way to misbehave.

    async with FakeCloud("anthropic", api_key="secret") as server:
        server.replies = [[Thought("Hm."), "Good ", "evening", CUT], Reply(status=529)]
        ...  # talk to server.url
        assert server.asked[0].headers["x-api-key"] == "secret"

It listens on a free port of the loopback. Delays are in units of `palaver.testing.UNIT_S`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

from palaver.testing import UNIT_S
from palaver.testing.fake_cloud_anthropic import AnthropicWords
from palaver.testing.fake_cloud_gemini import GeminiWords
from palaver.testing.fake_cloud_openai import OpenAIWords
from palaver.testing.fake_cloud_words import Words
from palaver.testing.fake_vllm_reply import CUT, HANG, Fail, Raw, Reply
from palaver.testing.fake_vllm_state import Asked
from palaver.testing.fake_vllm_stream import cut

__all__ = ["CUT", "HANG", "WORDS", "Asked", "Fail", "FakeCloud", "Raw", "Reply", "Thought"]

WORDS: dict[str, type[Words]] = {
    words.name: words for words in (OpenAIWords, AnthropicWords, GeminiWords)
}
"""How each provider speaks, by the names that `provider` has."""


@dataclass(frozen=True, slots=True)
class Thought:
    """Something in a script that is thought and not said."""

    text: str


class _Refuse(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status, self.body = status, body
        super().__init__(status)


class FakeCloud:
    """A provider to be used with `async with`.

    Args:
        provider: `openai`, `anthropic` or `gemini`.
        model: Name of its only model.
        context_tokens: Context window in the fake's tokens, which are four characters.
        api_key: Key that it asks for, or None.
        port: Port to listen on; 0 takes a free one.

    Attributes:
        replies: What to answer next, as with `FakeVllm`: steps may also be `Thought`.
        asked: Every reply that was asked for.
        calls: Every request as `METHOD /path`.
        refuses: Fields that the model does not take.
        headers: Headers of errors.
        error: Error to answer with, status and JSON, or None.
        running: How many streams run.
    """

    def __init__(
        self,
        provider: str,
        *,
        model: str = "base",
        context_tokens: int = 1024,
        api_key: str | None = None,
        port: int = 0,
    ) -> None:
        self._provider, self._model, self._context_tokens = WORDS[provider], model, context_tokens
        self.api_key, self.port = api_key, port
        self.replies: list[Any] = [Reply()]
        self.asked: list[Asked] = []
        self.calls: list[str] = []
        self.refuses: set[str] = set()
        self.headers: dict[str, str] = {}
        self.error: tuple[int, Any] | None = None
        self.running = 0
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Its address, with the version in its path."""
        return f"http://127.0.0.1:{self.port}{self._provider.version}"

    @property
    def words(self) -> type[Words]:
        """How it speaks."""
        return self._provider

    @property
    def connections(self) -> int:
        """How many connections are open."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    async def __aenter__(self) -> Self:
        words = self._provider
        app = web.Application(middlewares=[self._guard])
        chat = words.chat.replace("{model}", "{model:[^:]+}")
        app.router.add_post(f"{words.version}{chat}", self._chat)
        app.router.add_get(f"{words.version}/models", self._models)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def until(self, check: Callable[[], bool]) -> None:
        """Wait until something is true of the server; looked at whenever it does something."""
        async with self._changed:
            await self._changed.wait_for(check)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        words = self._provider(self._model)
        self.calls.append(f"{request.method} {request.path}")
        await self._notify()
        try:
            key = request.headers.get(words.key_header)
            if self.api_key is not None and key != f"{words.key_prefix}{self.api_key}":
                raise _Refuse(401, words.error(401, f"Incorrect API key provided: {key}."))
            response: web.StreamResponse = await handler(request)
        except _Refuse as refuse:
            return web.json_response(refuse.body, status=refuse.status, headers=self.headers)
        return response

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response(self._provider(self._model).cards(self._context_tokens))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(json.loads(await request.read()), dict(request.headers))
        self.asked.append(asked)
        words = self._provider(self._model)
        self._check(asked.body, request, words)
        reply = self._next(asked.body)
        if reply.status != 200:
            headers = {"Retry-After": reply.retry_after} if reply.retry_after is not None else {}
            error = words.error(reply.status, reply.error or "Not now.")
            return web.json_response(error, status=reply.status, headers=headers)
        self.running += 1
        try:
            await self._notify()
            if reply.before_headers is CUT:
                return cut(request)
            if reply.before_headers is HANG:
                await asyncio.Event().wait()
            return await self._stream(request, asked, reply, words)
        except (asyncio.CancelledError, ConnectionResetError):
            asked.aborted.set()
            raise
        finally:
            self.running -= 1
            asked.ended.set()
            await self._notify()

    def _check(self, body: dict[str, Any], request: web.Request, words: Words) -> None:
        if self.error is not None:
            raise _Refuse(*self.error)
        model = request.match_info.get("model") or body.get("model")
        if model != self._model:
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise _Refuse(404, words.error(404, message))
        fields = words.fields(body)
        for name in sorted(self.refuses & set(fields)):
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            raise _Refuse(400, words.error(400, message))
        for name in words.numbers:
            if not isinstance(fields.get(name), int | float | None):
                raise _Refuse(400, words.error(400, f"{name}: input should be a valid number"))
        words.prompt_tokens = sum(map(len, words.texts(body))) // 4 + 1
        if words.prompt_tokens > self._context_tokens:
            raise _Refuse(400, words.error(400, **words.too_long))

    def _next(self, body: Mapping[str, Any]) -> Reply:
        script = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if callable(script):
            script = script(body)
        return script if isinstance(script, Reply) else Reply(steps=script)

    async def _stream(
        self, request: web.Request, asked: Asked, reply: Reply, words: Words
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        waiting, limit, finish = words.first(), words.limit(asked.body), reply.finish

        async def write() -> None:
            nonlocal waiting
            data, waiting = waiting.replace("\n", reply.newline).encode(), ""
            size = reply.split_bytes or len(data) or 1
            for start in range(0, len(data), size):
                await response.write(data[start : start + size])
                if size < len(data):
                    await asyncio.sleep(0)

        for step in reply.steps:
            if isinstance(step, str):
                if reply.per_token:
                    await asyncio.sleep(reply.per_token * UNIT_S)
                words.tokens += 1
                waiting += words.token(step)
                asked.sent += step
                if words.tokens % reply.together == 0:
                    await write()
                if limit is not None and words.tokens >= limit:
                    finish = "length"
                    break
            elif isinstance(step, Thought):
                waiting += words.thought(step.text)
            elif isinstance(step, Raw):
                await write()
                await response.write(step.data)
            elif isinstance(step, Fail):
                waiting += words.failure(step.code)
                finish = None
                break
            else:
                await write()
                if step is CUT:
                    return cut(request)
                await (step.wait() if isinstance(step, asyncio.Event) else asyncio.Event().wait())
        if finish is not None:
            waiting += words.last(finish) + (words.end() if reply.done else "")
        await write()
        await response.write_eof()
        return response
