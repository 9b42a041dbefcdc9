"""The contract's lab on the fake cloud, for every backend that speaks a provider's protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from palaver.chain.backend import Backend, Sampling
from palaver.testing.contract_lab import BackendLab, Case
from palaver.testing.fake_cloud import CUT, HANG, Fail, FakeCloud, Raw, Reply, Thought
from palaver.testing.fake_vllm_lab import Endless, free_port
from palaver.testing.turns import make_request

__all__ = ["FakeCloudLab"]


class FakeCloudLab(BackendLab):
    """A lab with a fake provider in this process.

    Args:
        server: The running server.
        factory: Makes a backend; called with `url`, and with `model` where a test wants it.
        wrong: Settings with which a request is refused as a bad one.
        stack: Closes the backends at the end of the test.
    """

    def __init__(
        self,
        server: FakeCloud,
        factory: Callable[..., Backend],
        wrong: Mapping[str, Any],
        stack: AsyncExitStack,
    ) -> None:
        super().__init__()
        self.server = server
        self._factory, self._wrong, self._stack = factory, wrong, stack
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
        """Return a case that thinks before it speaks."""
        self.server.replies = [[Thought("Shall I?"), "Good", " evening", "."]]
        return Case(await self._main(), make_request())

    async def saying(
        self, tokens: Sequence[str], *, split_bytes: int | None = None, together: int = 1
    ) -> Case:
        """Return a case with exactly this reply."""
        self.server.replies = [Reply(steps=tokens, split_bytes=split_bytes, together=together)]
        return Case(await self._main(), make_request(sampling=Sampling()))

    async def echoing(self) -> Backend:
        """Let the server repeat the last message."""
        words = self.server.words

        def echo(body: Mapping[str, Any]) -> list[str]:
            first, *rest = words.texts(body)[-1].split(" ")
            return [first, *(f" {word}" for word in rest)]

        self.server.replies = [echo]
        return await self._main()

    async def endless(self) -> Case:
        """Let the server go on for ever, a token in each unit of test time."""
        self.server.replies = [Reply(steps=Endless(), per_token=1)]
        return Case(await self._main(), make_request(sampling=Sampling(max_tokens=2**20)))

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
            request = make_request(sampling=Sampling())
            return Case(await self._started(**self._wrong), request)
        if how == "unauthorized":
            self.server.api_key = "another"
        elif how == "too long":
            request = make_request("x" * 8 * 1024)
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
