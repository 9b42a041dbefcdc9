"""How the fake Ollama sends a reply: line by line, and with the faults it was told to have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from palaver.testing.fake_ollama_state import CREATED, AskedOllama, Think, line
from palaver.testing.fake_server import cut
from palaver.testing.fake_stream import FakeStream, cut_at, write_split
from palaver.testing.fake_vllm_reply import CUT, Fail, Reply

__all__ = ["OllamaStream"]


class OllamaStream(FakeStream):
    """One reply on its way out; headers go with the first line, as Ollama's do.

    Args:
        request: The HTTP request.
        asked: Where to note what was sent.
        reply: What to say, and how.
        notify: Called when something was sent.
    """

    content_type = "application/x-ndjson"

    def __init__(
        self,
        request: web.Request,
        asked: AskedOllama,
        reply: Reply,
        notify: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(request, asked, reply, notify)
        self._tokens = 0
        self._options: dict[str, Any] = asked.body.get("options") or {}

    async def run(self, prompt_tokens: int) -> web.StreamResponse:
        """Send everything."""
        end = await self._steps()
        if end is CUT:
            return cut(self._request)
        if end is None:
            end = self._reply.finish
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

    async def _say(self, step: str | Think) -> str | None:
        limit = self._options.get("num_predict")
        self._tokens += 1
        if isinstance(step, Think):
            self._waiting += self._token(content="", thinking=step.text)
        else:
            text, stop = cut_at(self._asked.sent, step, self._options.get("stop") or ())
            self._asked.sent += text
            self._waiting += self._token(content=text) if text else b""
            if stop is not None:
                return "stop"
        return "length" if limit is not None and self._tokens >= limit > 0 else None

    def _failure(self, fail: Fail) -> bytes:
        return line(error=fail.message)

    async def _write(self, data: bytes = b"") -> None:
        data, self._waiting = self._waiting + data, b""
        if not self._response.prepared:
            await self._response.prepare(self._request)
        if self._reply.newline != "\n":
            data = data.replace(b"\n", self._reply.newline.encode())
        await write_split(self._response, data, self._reply.split_bytes)
        await self._notify()
