from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendContext
from palaver_cloud.backend import CloudBackend
from palaver_cloud.config import CloudSettings


@pytest.fixture
def reports() -> list[str]:
    """What backends told whoever runs Palaver."""
    return []


@pytest.fixture
async def make_backend(
    tmp_path: Path, reports: list[str]
) -> AsyncIterator[Callable[..., CloudBackend]]:
    """Make backends of settings, closed at the end; they are not started."""
    made: list[CloudBackend] = []

    def make(provider: str = "openai", model: str = "base", **settings: Any) -> CloudBackend:
        context = BackendContext(tmp_path, dict, reports.append)
        table = {"type": "cloud", "provider": provider, "model": model, **settings}
        made.append(CloudBackend("cloud", CloudSettings.model_validate(table), context))
        return made[-1]

    yield make
    for backend in made:
        await backend.close()
