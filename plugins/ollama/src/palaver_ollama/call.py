"""One reply on its way, and how it ends."""

from __future__ import annotations

import asyncio

import aiohttp

from palaver.chain.backend import Finish, GenerateRequest
from palaver.chain.stream import HttpStream
from palaver.errors import BackendError
from palaver_ollama.failures import from_reader
from palaver_ollama.stream import StreamReader

__all__ = ["Call"]


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
        self._backend, self._model, self._request = backend, model, request
        started = asyncio.get_running_loop().time()
        self._stream = HttpStream(backend, response, request.deadline, started)
        self.reader = StreamReader()

    def failed(self, err: Exception) -> BackendError:
        """Return the error for a stream that broke."""
        return self._stream.failed(err)

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
        await self._stream.close(whole=self.reader.done)
