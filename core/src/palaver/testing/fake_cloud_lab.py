"""The contract's lab on the fake cloud, for every backend that speaks a provider's protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from palaver.chain.backend import Backend, Sampling
from palaver.testing.contract_lab import Case
from palaver.testing.fake_cloud import FakeCloud, Thought
from palaver.testing.fake_lab import FakeLab
from palaver.testing.turns import make_request

__all__ = ["FakeCloudLab"]


class FakeCloudLab(FakeLab[FakeCloud]):
    """A lab with a fake provider in this process.

    Args:
        server: The running server.
        factory: Makes a backend; called with `url`, and with `model` where a test wants it.
        wrong: Settings with which a request is refused as a bad one.
        stack: Closes the backends at the end of the test.
    """

    wordy = Sampling(max_tokens=2**20)

    def __init__(
        self,
        server: FakeCloud,
        factory: Callable[..., Backend],
        wrong: Mapping[str, Any],
        stack: AsyncExitStack,
    ) -> None:
        super().__init__(server, factory, stack)
        self.wrong = wrong

    async def whole(self) -> Case:
        """Return a case that thinks before it speaks."""
        self.server.replies = [[Thought("Shall I?"), "Good", " evening", "."]]
        return Case(await self._main(), make_request())

    def _last_message(self, body: Mapping[str, Any]) -> str:
        return self.server.words.texts(body)[-1]
