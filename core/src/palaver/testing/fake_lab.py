"""The contract's lab on a fake of a model server, in whatever protocol that speaks."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, ClassVar, Generic, TypeVar

from palaver.chain.backend import Backend, GenerateRequest, Sampling
from palaver.testing.contract_lab import BackendLab, Case
from palaver.testing.fake_server import FakeServer
from palaver.testing.fake_vllm_reply import CUT, HANG, Fail, Raw, Reply
from palaver.testing.turns import make_request

__all__ = ["FAULTS", "Endless", "FakeLab", "free_port"]

S = TypeVar("S", bound=FakeServer[Any])

FAULTS: Mapping[str, Reply] = {
    "cut before": Reply(before_headers=CUT),
    "overloaded": Reply(status=503, retry_after="7"),
    "error status": Reply(status=500),
    "error event": Reply(steps=["Good", Fail()]),
    "garbage": Reply(steps=["Good", Raw(b"data: <html>\n\n")]),
    "no finish": Reply(steps=["Good"], finish=None),
    "cut": Reply(steps=["Good", CUT]),
}
"""Replies that fail, by how, as servers fail that send events."""


class FakeLab(BackendLab, Generic[S]):
    """A lab with a fake in this process.

    Args:
        server: The running server.
        factory: Makes a backend; called with `url`, and with `model` or the settings of `wrong`
            where a test wants them.
        stack: Closes the backends at the end of the test.

    Attributes:
        faults: Replies that fail, by how.
        wrong: Settings with which a request is refused as a bad one.
        wordy: What the request of an endless reply asks for.
    """

    faults: ClassVar[Mapping[str, Reply]] = FAULTS
    wrong: Mapping[str, Any]
    wordy: ClassVar[Sampling] = Sampling()

    def __init__(self, server: S, factory: Callable[..., Backend], stack: AsyncExitStack) -> None:
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
            first, *rest = self._last_message(body).split(" ")
            return [first, *(f" {word}" for word in rest)]

        self.server.replies = [echo]
        return await self._main()

    def _last_message(self, body: Mapping[str, Any]) -> str:
        return str(body["messages"][-1]["content"])

    async def endless(self) -> Case:
        """Let the server go on for ever, a token in each unit of test time."""
        self.server.replies = [Reply(steps=Endless(), per_token=1)]
        return Case(await self._main(), make_request(sampling=self.wordy))

    async def silent(self) -> Case:
        """Let the server send headers and nothing else."""
        self.server.replies = [[HANG]]
        return Case(await self._main(), make_request())

    async def failing(self, how: str) -> Case:
        """Let the server fail."""
        if how == "gone":
            backend = self._factory(url=f"http://127.0.0.1:{free_port()}")
            self._stack.push_async_callback(backend.close)
            return Case(backend, make_request())
        if how == "no model":
            return Case(await self._started(model="elf"), make_request())
        if how == "bad request":
            return Case(await self._started(**self.wrong), make_request(sampling=Sampling()))
        if how == "too long":
            return Case(await self._main(), self._too_long())
        if how == "unauthorized":
            self.server.api_key = "another"
        else:
            self.server.replies = [self.faults[how]]
        return Case(await self._main(), make_request())

    def _too_long(self) -> GenerateRequest:
        """Return a request that is longer than the context window."""
        return make_request("x" * 8 * 1024)

    async def running(self) -> int:
        """Return how many streams run."""
        return self.server.running


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
