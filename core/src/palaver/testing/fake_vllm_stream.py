"""How the fake vLLM sends a reply: in time, in pieces, and with the faults it was told to have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from palaver.testing import UNIT_S
from palaver.testing.fake_server import cut
from palaver.testing.fake_state import Asked
from palaver.testing.fake_vllm_reply import CUT, Chunks, Fail, Raw, Reply, Step
from palaver.testing.scripted import Pause

__all__ = ["Stream"]


@dataclass(frozen=True, slots=True)
class _End:
    """A proper end: finish reason, the last token if it comes with it, the stop string."""

    finish: str
    text: str = ""
    stop_reason: str | None = None


class Stream:
    """One reply on its way out.

    Args:
        request: The HTTP request.
        asked: Where to note what was sent.
        reply: What to say, and how.
        chunks: Makes the events.
        engine_free: Set while nothing else keeps the engine busy.
        notify: Called when something was sent.
    """

    def __init__(
        self,
        request: web.Request,
        asked: Asked,
        reply: Reply,
        chunks: Chunks,
        engine_free: asyncio.Event,
        notify: Callable[[], Awaitable[None]],
    ) -> None:
        self._request, self._asked = request, asked
        self._reply, self._chunks = reply, chunks
        self._engine_free, self._notify = engine_free, notify
        self._response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8"}
        )
        self._waiting = b""

    async def run(self, prompt_tokens: int) -> web.StreamResponse:
        """Send everything."""
        reply, chunks = self._reply, self._chunks
        await self._response.prepare(self._request)
        await self._write(chunks.first())
        end = await self._steps()
        if end is CUT:
            return cut(self._request)
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

    async def _steps(self) -> _End | Step | None:
        """Send the steps; return how it ends: properly, cut, or not at all."""
        body, reply = self._asked.body, self._reply
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        stops = body.get("stop") or []
        waiting = 0
        delay = reply.first_token
        for step in reply.steps:
            if isinstance(step, str):
                if delay:
                    await asyncio.sleep(delay * UNIT_S)
                delay = reply.per_token
                text, stop = _cut_at(self._asked.sent, step, stops)
                if stop is not None:
                    return _End("stop", text, stop)
                if limit is not None and self._chunks.tokens + 1 >= limit:
                    return _End("length", text)
                self._waiting += self._chunks.token(text)
                self._asked.sent += text
                await self._notify()
                waiting += 1
                if waiting % reply.together == 0:
                    await self._write()
            elif isinstance(step, Pause):
                await asyncio.sleep(step.units * UNIT_S)
            elif isinstance(step, asyncio.Event):
                await self._write()
                await step.wait()
            elif isinstance(step, Raw):
                await self._write(step.data)
            elif isinstance(step, Fail):
                await self._write(self._chunks.failure(step))
                return None
            elif step is CUT:
                await self._write()
                return CUT
            else:
                await self._write()
                await asyncio.Event().wait()
        return _End(reply.finish) if reply.finish is not None else None

    async def _write(self, data: bytes = b"") -> None:
        data, self._waiting = self._waiting + data, b""
        if not data:
            return
        # A load runs inside the engine's loop: every stream stands still.
        await self._engine_free.wait()
        size = self._reply.split_bytes or len(data)
        for start in range(0, len(data), size):
            await self._response.write(data[start : start + size])
            if size != len(data):
                await asyncio.sleep(0)


def _cut_at(sent: str, text: str, stops: list[str]) -> tuple[str, str | None]:
    """Return what of a token is before a stop string, and that string."""
    whole = sent + text
    for stop in stops:
        at = whole.find(stop, max(0, len(sent) - len(stop)))
        if at >= 0:
            return whole[len(sent) : max(at, len(sent))], stop
    return text, None
