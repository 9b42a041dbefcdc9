"""The contract's lab on the fake vLLM, for every backend that speaks its protocol."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from palaver.chain.backend import Backend, Sampling
from palaver.testing.contract_lab import BackendLab, Case
from palaver.testing.fake_vllm import CUT, HANG, Fail, FakeVllm, Raw, Reply
from palaver.testing.turns import make_request

__all__ = ["Endless", "FakeVllmLab", "free_port"]


class FakeVllmLab(BackendLab):
    """A lab with a fake vLLM in this process.

    Args:
        server: The running server.
        factory: Makes a backend; called with `url`, and with `model` or `extra_body` where a test
            wants them.
        stack: Closes the backends at the end of the test.
    """

    def __init__(
        self, server: FakeVllm, factory: Callable[..., Backend], stack: AsyncExitStack
    ) -> None:
        super().__init__()
        self.server = server
        self._factory, self._stack = factory, stack
        self._backend: Backend | None = None

    async def make(self) -> Backend:
        """Return a new backend on the server."""
        return self._factory(url=self.server.url)

    async def _started(self, **settings: Any) -> Backend:
        backend = self._factory(**{"url": self.server.url, **settings})
        self._stack.push_async_callback(backend.close)
        await backend.start()
        return backend

    async def _main(self) -> Backend:
        if self._backend is None:
            self._backend = await self._started()
        return self._backend

    async def whole(self) -> Case:
        """Return a case with the server's usual reply."""
        self.server.replies = [Reply(steps=["Good", " evening", "."])]
        return Case(await self._main(), make_request())

    async def saying(
        self, tokens: Sequence[str], *, split_bytes: int | None = None, together: int = 1
    ) -> Case:
        """Return a case with exactly this reply."""
        self.server.replies = [Reply(steps=tokens, split_bytes=split_bytes, together=together)]
        return Case(await self._main(), make_request(sampling=Sampling()))

    async def echoing(self) -> Backend:
        """Let the server repeat the last message."""

        def echo(body: Mapping[str, Any]) -> list[str]:
            first, *rest = str(body["messages"][-1]["content"]).split(" ")
            return [first, *(f" {word}" for word in rest)]

        self.server.replies = [echo]
        return await self._main()

    async def endless(self) -> Case:
        """Let the server go on for ever, a token in each unit of test time."""
        self.server.replies = [Reply(steps=Endless(), per_token=1)]
        return Case(await self._main(), make_request(sampling=Sampling()))

    async def silent(self) -> Case:
        """Let the server send headers and nothing else."""
        self.server.replies = [[HANG]]
        return Case(await self._main(), make_request())

    async def failing(self, how: str) -> Case:
        """Let the server fail."""
        request = make_request()
        if how == "gone":
            backend = self._factory(url=f"http://127.0.0.1:{free_port()}")
            self._stack.push_async_callback(backend.close)
            return Case(backend, request)
        if how == "no model":
            return Case(await self._started(model="elf"), request)
        if how == "bad request":
            return Case(await self._started(extra_body={"temperature": "hot"}), request)
        if how == "unauthorized":
            self.server.api_key = "another"
        elif how == "too long":
            request = make_request("x" * 8 * self.server.max_model_len)
        else:
            self.server.replies = [_FAULTS[how]]
        return Case(await self._main(), request)

    async def running(self) -> int:
        """Return how many streams run."""
        return self.server.running


_FAULTS = {
    "cut before": Reply(before_headers=CUT),
    "overloaded": Reply(status=503, retry_after="7"),
    "error status": Reply(status=500),
    "error event": Reply(steps=["Good", Fail()]),
    "garbage": Reply(steps=["Good", Raw(b"data: <html>\n\n")]),
    "no finish": Reply(steps=["Good"], finish=None),
    "cut": Reply(steps=["Good", CUT]),
}


class Endless(Sequence[str]):
    """Tokens without end."""

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: Any) -> Any:
        return " and"

    def __iter__(self) -> Any:
        return itertools.repeat(" and")


def free_port() -> int:
    """Return a port of the loopback that nobody listens on.

    Systems give ports above 32,767 to whoever asks for any, also for the near end of each
    connection, so one of those may be gone before it is used.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no port from 20000 to 31999 is free; close some programs that listen there")
