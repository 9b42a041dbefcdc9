from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from palaver.testing.contract import BackendContract
from palaver.testing.fake_ollama import FakeOllama
from palaver.testing.fake_ollama_lab import FakeOllamaLab
from palaver_ollama.backend import OllamaBackend


class TestContract(BackendContract):
    @pytest.fixture
    async def lab(
        self, fake_ollama: FakeOllama, make_backend: Callable[..., OllamaBackend]
    ) -> AsyncIterator[FakeOllamaLab]:
        async with AsyncExitStack() as stack:
            yield FakeOllamaLab(fake_ollama, make_backend, stack)


class TestContractInGroups(BackendContract):
    """The same, with requests that wait for each other."""

    @pytest.fixture
    async def lab(
        self, fake_ollama: FakeOllama, make_backend: Callable[..., OllamaBackend]
    ) -> AsyncIterator[FakeOllamaLab]:
        def make(**settings: Any) -> OllamaBackend:
            return make_backend(batch_size=2, batch_window_ms=1, **settings)

        async with AsyncExitStack() as stack:
            yield FakeOllamaLab(fake_ollama, make, stack)
