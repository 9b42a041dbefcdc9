from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendContext
from palaver.testing.fake_ollama import FakeOllama
from palaver_ollama.backend import OllamaBackend
from palaver_ollama.config import OllamaSettings


@pytest.fixture
async def fake_ollama() -> AsyncIterator[FakeOllama]:
    """A server with Ollama's manners on a free port."""
    async with FakeOllama() as server:
        yield server


@pytest.fixture
def reports() -> list[str]:
    """What backends told whoever runs Palaver."""
    return []


@pytest.fixture
async def make_backend(
    tmp_path: Path, reports: list[str]
) -> AsyncIterator[Callable[..., OllamaBackend]]:
    """Make backends of settings, closed at the end; they are not started."""
    made: list[OllamaBackend] = []

    def make(**settings: Any) -> OllamaBackend:
        context = BackendContext(tmp_path, dict, reports.append)
        made.append(OllamaBackend("local", OllamaSettings(type="ollama", **settings), context))
        return made[-1]

    yield make
    for backend in made:
        await backend.close()


@pytest.fixture
async def backend(
    fake_ollama: FakeOllama, make_backend: Callable[..., OllamaBackend]
) -> OllamaBackend:
    """A started backend on the fake server."""
    backend = make_backend(url=fake_ollama.url, model="tiny")
    await backend.start()
    return backend
