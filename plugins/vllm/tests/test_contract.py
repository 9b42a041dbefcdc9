from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from palaver.testing.contract import BackendContract
from palaver.testing.fake_vllm import FakeVllm
from palaver.testing.fake_vllm_lab import FakeVllmLab
from palaver_vllm.backend import VllmBackend


class TestContract(BackendContract):
    @pytest.fixture
    async def lab(
        self, fake_vllm: FakeVllm, make_backend: Callable[..., VllmBackend]
    ) -> AsyncIterator[FakeVllmLab]:
        async with AsyncExitStack() as stack:
            yield FakeVllmLab(fake_vllm, make_backend, stack)
