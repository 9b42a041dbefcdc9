"""How the fakes of model servers send a reply: in time, in pieces, and with its faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aiohttp import web

from palaver.testing import UNIT_S
from palaver.testing.fake_state import Asked
from palaver.testing.fake_vllm_reply import CUT, HANG, Fail, Raw, Reply
from palaver.testing.scripted import Pause

__all__ = ["FakeStream", "cut_at", "write_split"]


class FakeStream:
    """One reply on its way out; how a token looks on the wire is its subclass's business.

    Args:
        request: The HTTP request.
        asked: Where to note what was sent.
        reply: What to say, and how.
        notify: Called when something was sent.
    """

    content_type: str

    def __init__(
        self,
        request: web.Request,
        asked: Asked,
        reply: Reply,
        notify: Callable[[], Awaitable[None]],
    ) -> None:
        self._request, self._asked, self._reply, self._notify = request, asked, reply, notify
        self._response = web.StreamResponse(headers={"Content-Type": self.content_type})
        self._waiting = b""

    async def _say(self, step: Any) -> Any:
        """Let a token wait to be sent; return a proper end if it is the last one, or None."""
        raise NotImplementedError

    def _failure(self, fail: Fail) -> bytes:
        """Return an error as it looks inside a stream."""
        raise NotImplementedError

    async def _write(self, data: bytes = b"") -> None:
        """Send what waits, and this after it."""
        raise NotImplementedError

    async def _steps(self) -> Any:
        """Send the steps; return a proper end of `_say`, CUT, Fail, or None after the last step."""
        reply = self._reply
        delay, waiting = reply.first_token, 0
        steps: Iterable[Any] = reply.steps  # some fakes have steps that are none of vLLM's
        for step in steps:
            if isinstance(step, Pause):
                await asyncio.sleep(step.units * UNIT_S)
            elif isinstance(step, asyncio.Event):
                await self._write()
                await step.wait()
            elif isinstance(step, Raw):
                await self._write(step.data)
            elif isinstance(step, Fail):
                await self._write(self._failure(step))
                return step
            elif step is CUT:
                await self._write()
                return CUT
            elif step is HANG:
                await self._write()
                await asyncio.Event().wait()
            else:
                if delay:
                    await asyncio.sleep(delay * UNIT_S)
                delay = reply.per_token
                end = await self._say(step)
                if end is not None:
                    return end
                waiting += 1
                if waiting % reply.together == 0:
                    await self._write()
        return None


async def write_split(response: web.StreamResponse, data: bytes, size: int | None) -> None:
    """Write data in pieces of a size, or all of it at once."""
    step = size or len(data) or 1
    for start in range(0, len(data), step):
        await response.write(data[start : start + step])
        if step < len(data):
            await asyncio.sleep(0)


def cut_at(sent: str, text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """Return what of a token is before a stop string, and that string."""
    whole = sent + text
    for stop in stops:
        at = whole.find(stop, max(0, len(sent) - len(stop)))
        if at >= 0:
            return whole[len(sent) : max(at, len(sent))], stop
    return text, None
