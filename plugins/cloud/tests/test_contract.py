from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import pytest

from palaver.testing.contract import BackendContract
from palaver.testing.fake_cloud import FakeCloud
from palaver.testing.fake_cloud_lab import FakeCloudLab
from palaver_cloud.backend import CloudBackend


class Contract(BackendContract):
    provider: ClassVar[str]
    wrong: ClassVar[dict[str, Any]] = {"extra_body": {"temperature": "hot"}}

    @pytest.fixture
    async def lab(
        self, make_backend: Callable[..., CloudBackend], monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[FakeCloudLab]:
        monkeypatch.setenv("TEST_CLOUD_KEY", "secret")

        def make(**settings: Any) -> CloudBackend:
            fixed = {"api_key_env": "TEST_CLOUD_KEY", "context_tokens": 1024}
            return make_backend(self.provider, **fixed, **settings)

        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(FakeCloud(self.provider, api_key="secret"))
            yield FakeCloudLab(server, make, self.wrong, stack)


class TestOpenAI(Contract):
    provider = "openai"


class TestAnthropic(Contract):
    provider = "anthropic"


class TestGemini(Contract):
    provider = "gemini"
    wrong: ClassVar = {"extra_body": {"generationConfig": {"temperature": "hot"}}}
