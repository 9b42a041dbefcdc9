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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from palaver.testing import UNIT_S
from palaver.testing.fake_cloud_anthropic import AnthropicWords
from palaver.testing.fake_cloud_gemini import GeminiWords
from palaver.testing.fake_cloud_openai import OpenAIWords
from palaver.testing.fake_cloud_words import Words
from palaver.testing.fake_server import FakeServer, cut
from palaver.testing.fake_state import Asked
from palaver.testing.fake_stream import write_split
from palaver.testing.fake_vllm_reply import CUT, HANG, Fail, Raw, Reply
from palaver.testing.scripted import Pause

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


class FakeCloud(FakeServer[Asked]):
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
        super().__init__(api_key=api_key, port=port)
        self._provider, self._model, self._context_tokens = WORDS[provider], model, context_tokens
        self.refuses: set[str] = set()
        self.headers: dict[str, str] = {}
        self.error: tuple[int, Any] | None = None

    @property
    def url(self) -> str:
        """Its address, with the version in its path."""
        return f"{super().url}{self._provider.version}"

    @property
    def words(self) -> type[Words]:
        """How it speaks."""
        return self._provider

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        words = self._provider
        chat = words.chat.replace("{model}", "{model:[^:]+}")
        router.add_post(f"{words.version}{chat}", self._chat)
        router.add_get(f"{words.version}/models", self._models)

    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        words = self._provider(self._model)
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
            return self._error(reply, words.error(reply.status, reply.error or "Not now."))
        async with self._noted(asked), self._counted():
            gone = await self._before_headers(reply, request)
            if gone is not None:
                return gone
            return await self._stream(request, asked, reply, words)

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

    async def _stream(
        self, request: web.Request, asked: Asked, reply: Reply, words: Words
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        waiting, limit, finish = words.first(), words.limit(asked.body), reply.finish

        async def write() -> None:
            nonlocal waiting
            data, waiting = waiting.replace("\n", reply.newline).encode(), ""
            await write_split(response, data, reply.split_bytes)

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
            elif isinstance(step, Pause):
                await write()
                await asyncio.sleep(step.units * UNIT_S)
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
