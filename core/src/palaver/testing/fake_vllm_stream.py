"""How the fake vLLM sends a reply: as events, and not while it loads an adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from palaver.testing.fake_server import cut
from palaver.testing.fake_state import Asked
from palaver.testing.fake_stream import FakeStream, cut_at, write_split
from palaver.testing.fake_vllm_reply import CUT, Chunks, Fail, Reply

__all__ = ["Stream"]


@dataclass(frozen=True, slots=True)
class _End:
    """A proper end: finish reason, the last token if it comes with it, the stop string."""

    finish: str
    text: str = ""
    stop_reason: str | None = None


class Stream(FakeStream):
    """One reply on its way out.

    Args:
        request: The HTTP request.
        asked: Where to note what was sent.
        reply: What to say, and how.
        chunks: Makes the events.
        engine_free: Set while nothing else keeps the engine busy.
        notify: Called when something was sent.
    """

    content_type = "text/event-stream; charset=utf-8"

    def __init__(
        self,
        request: web.Request,
        asked: Asked,
        reply: Reply,
        chunks: Chunks,
        engine_free: asyncio.Event,
        notify: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(request, asked, reply, notify)
        self._chunks, self._engine_free = chunks, engine_free
        self._limit = asked.body.get("max_completion_tokens") or asked.body.get("max_tokens")

    async def run(self, prompt_tokens: int) -> web.StreamResponse:
        """Send everything."""
        reply, chunks = self._reply, self._chunks
        await self._response.prepare(self._request)
        await self._write(chunks.first())
        end = await self._steps()
        if end is CUT:
            return cut(self._request)
        if end is None and reply.finish is not None:
            end = _End(reply.finish)
        if isinstance(end, _End):
            options = self._asked.body.get("stream_options") or {}
            usage = bool(options.get("include_usage"))
            self._asked.sent += end.text
            self._waiting += chunks.last(
                end.finish, stop_reason=end.stop_reason, text=end.text, usage=usage
            )
            if usage:
                self._waiting += chunks.usage(prompt_tokens)
        await self._write(chunks.done() if reply.done else b"")
        await self._response.write_eof()
        return self._response

    async def _say(self, step: str) -> _End | None:
        text, stop = cut_at(self._asked.sent, step, self._asked.body.get("stop") or [])
        if stop is not None:
            return _End("stop", text, stop)
        if self._limit is not None and self._chunks.tokens + 1 >= self._limit:
            return _End("length", text)
        self._waiting += self._chunks.token(text)
        self._asked.sent += text
        await self._notify()
        return None

    def _failure(self, fail: Fail) -> bytes:
        return self._chunks.failure(fail)

    async def _write(self, data: bytes = b"") -> None:
        data, self._waiting = self._waiting + data, b""
        if not data:
            return
        # A load runs inside the engine's loop: every stream stands still.
        await self._engine_free.wait()
        await write_split(self._response, data, self._reply.split_bytes)
