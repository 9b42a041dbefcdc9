"""Fixtures for everybody who tests a plugin, a bridge or a game.

Loaded by pytest through the entry point `pytest11`, in every test run where `palaver` is
installed, so everything else is imported inside the fixtures. The async ones need
`pytest-asyncio`, which the extra `palaver[testing]` brings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # pragma: no cover  # without it only the plain fixtures work
    async_fixture = pytest.fixture  # type: ignore[assignment]  # close enough to be collected

if TYPE_CHECKING:
    from palaver.testing.fake_vllm import FakeVllm
    from palaver.testing.scripted import ScriptedBackend

__all__ = ["fake_vllm", "scripted_backend"]

# The contract asserts in our own module; this makes its failures as readable as a test's.
pytest.register_assert_rewrite("palaver.testing.contract")


@pytest.fixture
def scripted_backend() -> ScriptedBackend:
    """A backend that plays the scripts in `scripted_backend.replies`."""
    from palaver.testing.scripted import ScriptedBackend

    return ScriptedBackend()


@async_fixture
async def fake_vllm() -> AsyncIterator[FakeVllm]:
    """A model server with vLLM's manners on a free port, at `fake_vllm.url`."""
    from palaver.testing.fake_vllm import FakeVllm

    async with FakeVllm() as server:
        yield server
