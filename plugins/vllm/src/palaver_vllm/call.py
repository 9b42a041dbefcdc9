"""One call: asks a server for what it can do, and tells how its answer ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from palaver.chain.backend import Finish, GenerateRequest
from palaver.chain.stream import HttpStream
from palaver.errors import BackendError, BackendTimeout, BackendUnavailable, ModelNotFound
from palaver_vllm.failures import from_reader
from palaver_vllm.replica import Plan, Replica
from palaver_vllm.stream import StreamReader

if TYPE_CHECKING:
    from palaver_vllm.backend import VllmBackend

__all__ = ["Call"]


class Call:
    """One reply: what was asked for, and what came of it.

    Args:
        backend: The backend.
        replica: The server that is asked.
        request: What it is asked for.
    """

    def __init__(self, backend: VllmBackend, replica: Replica, request: GenerateRequest) -> None:
        self._backend, self._replica, self._request = backend, replica, request
        self._started = asyncio.get_running_loop().time()
        self._entered: tuple[Replica, str | None] | None = None
        self._stream: HttpStream | None = None
        self._plan = Plan("")
        self.reader = StreamReader()

    async def open(self) -> aiohttp.ClientResponse:
        """Return the server's stream.

        Raises:
            BackendError: It has none.
        """
        try:
            response = await self._ask(self._replica)
        except (BackendUnavailable, BackendTimeout):
            self._replica.lost()
            raise
        deadline = self._request.deadline
        self._stream = HttpStream(self._backend.name, response, deadline, self._started)
        return response

    async def _ask(self, replica: Replica) -> aiohttp.ClientResponse:
        backend, adapter = self._backend, self._request.adapter
        plan = await backend.plan(replica, adapter)
        try:
            return await self._send(replica, plan)
        except ModelNotFound:
            if plan.adapter is None:
                # It serves another model now; the next turn asks again.
                replica.lost()
                raise
            # The server was started again without its adapters. Nothing was said yet.
            return await self._send(replica, backend.without_adapter(replica, plan.adapter))

    async def _send(self, replica: Replica, plan: Plan) -> aiohttp.ClientResponse:
        self._plan = plan
        self._enter(replica, plan.adapter)
        try:
            return await self._backend.send(replica, plan, self._request)
        except BaseException:
            self._leave()
            raise

    def _enter(self, replica: Replica, adapter: str | None) -> None:
        replica.activity.enter(adapter)
        self._entered = (replica, adapter)

    def _leave(self) -> None:
        if self._entered is not None:
            (replica, adapter), self._entered = self._entered, None
            replica.activity.leave(adapter)

    def failed(self, err: Exception) -> BackendError:
        """Return the error for a stream that broke."""
        assert self._stream is not None  # it was read
        if not self._stream.expired and self._entered is not None:
            self._entered[0].lost()
        return self._stream.failed(err)

    def finish(self) -> Finish:
        """Return how the reply ended.

        Raises:
            BackendError: It is not whole.
        """
        reader, plan = self.reader, self._plan
        if reader.finish is None or reader.error is not None or reader.garbage is not None:
            raise from_reader(self._backend.name, plan.model, reader)
        usage = reader.usage
        return Finish(
            reason=reader.finish,
            model=plan.base,
            adapter=plan.adapter,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            note=plan.note,
        )

    async def close(self) -> None:
        """Let go: of a whole reply gently, of any other at once, which aborts the generation."""
        self._leave()
        if self._stream is not None:
            await self._stream.close(whole=self.reader.done)
