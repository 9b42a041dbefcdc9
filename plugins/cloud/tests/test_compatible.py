"""A server that is compatible with OpenAI, here vLLM: the contract once more."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from palaver.testing.contract import BackendContract
from palaver.testing.fake_vllm import FakeVllm
from palaver.testing.fake_vllm_lab import FakeVllmLab
from palaver_cloud.backend import CloudBackend


class TestContract(BackendContract):
    @pytest.fixture
    async def lab(
        self, fake_vllm: FakeVllm, make_backend: Callable[..., CloudBackend]
    ) -> AsyncIterator[FakeVllmLab]:
        async with AsyncExitStack() as stack:
            # It has no key and no setting but its address; how much it reads nobody asks it.
            yield FakeVllmLab(
                fake_vllm, lambda **more: make_backend(context_tokens=1024, **more), stack
            )
