"""What long tests share: how long they run, and a server for them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from palaver.testing.scripted import Pause, ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world


@pytest.fixture
def soak_s() -> float:
    """How long each of these tests runs, in seconds: `PALAVER_TEST_SOAK_S`, one hour by default."""
    return float(os.environ.get("PALAVER_TEST_SOAK_S", "3600"))


@pytest.fixture
async def palaver(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A server whose NPCs speak in a few pieces, without the limits on how fast one may send."""
    backend = ScriptedBackend("local", ["Good ", "evening, ", Pause(0.1), "traveller. ", "Sit."])
    overrides = {"limits.messages_per_s": 1_000_000, "memory.keep": 20}
    async with running_server(
        write_world(tmp_path / "world"), backend=backend, overrides=overrides
    ) as server:
        yield server
