"""How the fake Ollama sends a reply: line by line, and with the faults it was told to have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from palaver.testing import UNIT_S
from palaver.testing.fake_ollama_state import CREATED, AskedOllama, Think, line
from palaver.testing.fake_server import cut
from palaver.testing.fake_vllm_reply import CUT, Fail, Raw, Reply
from palaver.testing.scripted import Pause

__all__ = ["OllamaStream"]


class OllamaStream:
    """One reply on its way out; headers go with the first line, as Ollama's do.

    Args:
        request: The HTTP request.
        asked: Where to note what was sent.
        reply: What to say, and how.
        notify: Called when something was sent.
    """

    def __init__(
        self,
        request: web.Request,
        asked: AskedOllama,
        reply: Reply,
        notify: Callable[[], Awaitable[None]],
    ) -> None:
        self._request, self._asked, self._reply, self._notify = request, asked, reply, notify
        self._response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        self._waiting = b""
        self._tokens = 0
        self._options: dict[str, Any] = asked.body.get("options") or {}

    async def run(self, prompt_tokens: int) -> web.StreamResponse:
        """Send everything."""
        end = await self._steps()
        if end is CUT:
            return cut(self._request)
        if isinstance(end, str):
            message = {"role": "assistant", "content": ""}
            counts = {
                "total_duration": 4_883_583_458,
                "load_duration": 1_334_875,
                "prompt_eval_count": prompt_tokens,
                "prompt_eval_duration": 342_546_000,
                "eval_count": self._tokens,
                "eval_duration": 4_535_599_000,
            }
            self._waiting += self._line(message=message, done=True, done_reason=end, **counts)
        await self._write()
        await self._response.write_eof()
        return self._response

    def _line(self, **fields: Any) -> bytes:
        return line(model=self._asked.body["model"], created_at=CREATED, **fields)

    def _token(self, **message: str) -> bytes:
        return self._line(message={"role": "assistant", **message}, done=False)

    async def _steps(self) -> Any:
        """Send the steps; return the reason of a proper end, CUT, or None for no end at all."""
        reply, limit = self._reply, self._options.get("num_predict")
        delay, waiting = reply.first_token, 0
        steps: Iterable[Any] = reply.steps  # `Think` is none of vLLM's.
        for step in steps:
            if isinstance(step, str | Think):
                if delay:
                    await asyncio.sleep(delay * UNIT_S)
                delay = reply.per_token
                self._tokens += 1
                if isinstance(step, Think):
                    self._waiting += self._token(content="", thinking=step.text)
                else:
                    text, stopped = self._cut_at(step)
                    self._asked.sent += text
                    self._waiting += self._token(content=text) if text else b""
                    if stopped:
                        return "stop"
                if limit is not None and self._tokens >= limit > 0:
                    return "length"
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
                await self._write(line(error=step.message))
                return None
            elif step is CUT:
                await self._write()
                return CUT
            else:
                await self._write()
                await asyncio.Event().wait()
        return reply.finish

    def _cut_at(self, text: str) -> tuple[str, bool]:
        """Return what of a token is before a stop string, and whether there was one."""
        sent = self._asked.sent
        for stop in self._options.get("stop") or ():
            at = (sent + text).find(stop, max(0, len(sent) - len(stop)))
            if at >= 0:
                return text[: max(0, at - len(sent))], True
        return text, False

    async def _write(self, data: bytes = b"") -> None:
        data, self._waiting = self._waiting + data, b""
        if not self._response.prepared:
            await self._response.prepare(self._request)
        if self._reply.newline != "\n":
            data = data.replace(b"\n", self._reply.newline.encode())
        size = self._reply.split_bytes or len(data)
        for start in range(0, len(data), size or 1):
            await self._response.write(data[start : start + size])
            if size != len(data):
                await asyncio.sleep(0)
        await self._notify()
