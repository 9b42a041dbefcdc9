"""One reply on its way: the connection, the deadline, and how it ends."""

from __future__ import annotations

import asyncio

import aiohttp

from palaver.chain.backend import Finish, GenerateRequest
from palaver.chain.http_errors import broken
from palaver.errors import BackendError, BackendTimeout
from palaver_ollama.failures import from_reader
from palaver_ollama.stream import StreamReader

__all__ = ["Call"]

DRAIN_S = 0.05
"""Time for the last bytes of a whole reply, so that the connection can be used again, in
seconds."""


class Call:
    """One stream that has begun.

    Args:
        backend: Name of the backend, for its errors.
        model: The model that was asked for.
        request: What was asked.
        response: The stream.

    Attributes:
        reader: Reads the stream.
    """

    def __init__(
        self,
        backend: str,
        model: str,
        request: GenerateRequest,
        response: aiohttp.ClientResponse,
    ) -> None:
        self._backend, self._model = backend, model
        self._request, self._response = request, response
        self.reader = StreamReader()
        self._expired = False
        self._alarm: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        if request.deadline is not None:
            # A timeout around the loop's reads would have to be set anew for every token.
            self._alarm = loop.call_at(request.deadline, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._response.close()

    def failed(self, err: Exception) -> BackendError:
        """Return the error for a stream that broke."""
        if self._expired:
            limit_s = max(0.0, (self._request.deadline or 0.0) - self._started)
            return BackendTimeout(self._backend, "total", limit_s)
        return broken(self._backend, err)

    def finish(self) -> Finish:
        """Return how the reply ended.

        Raises:
            BackendError: It is not whole.
        """
        reader, request = self.reader, self._request
        if reader.finish is None or reader.error is not None or reader.garbage is not None:
            raise from_reader(self._backend, self._model, reader)
        reason, limit = reader.finish, request.sampling.max_tokens
        if not reader.said_why and limit is not None and (reader.completion_tokens or 0) >= limit:
            reason = "length"
        adapter = request.adapter
        return Finish(
            reason=reason,
            model=self._model,
            prompt_tokens=reader.prompt_tokens,
            completion_tokens=reader.completion_tokens,
            note=f"adapter {adapter} not used: Ollama has none" if adapter else None,
        )

    async def close(self) -> None:
        """Let go: of a whole reply gently, of any other at once, which aborts the generation."""
        if self._alarm is not None:
            self._alarm.cancel()
        response = self._response
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
