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
    from pathlib import Path

    from palaver.testing.fake_engine import FakeEngine
    from palaver.testing.fake_vllm import FakeVllm
    from palaver.testing.faults import FaultServer
    from palaver.testing.scripted import ScriptedBackend
    from palaver.testing.server import RunningServer

__all__ = [
    "fake_engine",
    "fake_vllm",
    "fault_server",
    "palaver_server",
    "palaver_world",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "scripted_backend",
]

# These assert in our own modules; this makes their failures as readable as a test's.
pytest.register_assert_rewrite(
    "palaver.testing.contract", "palaver.testing.contract_lab", "palaver.testing.fake_engine"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the contract's marker known, so that `--strict-markers` accepts it."""
    config.addinivalue_line(
        "markers", "contract_needs(*abilities): what a lab must bring about for this test"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the contract's tests that a lab cannot do: they are no tests of that backend."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        can = getattr(getattr(item, "cls", None), "can", None)
        marker = item.get_closest_marker("contract_needs")
        if can is None or marker is None:
            kept.append(item)
            continue
        needs = set(marker.args)
        if not needs:
            # Which failure it is about is a parameter.
            needs.add(item.callspec.params["how"])  # type: ignore[attr-defined]  # parametrized
        (kept if needs <= can else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


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


@async_fixture
async def fault_server() -> AsyncIterator[FaultServer]:
    """A model server that misbehaves as `fault_server.script` says, at `fault_server.url`."""
    from palaver.testing.faults import FaultServer

    async with FaultServer() as server:
        yield server


@pytest.fixture
def palaver_world(tmp_path: Path) -> Path:
    """A small world folder with the personas `vampire` and `zombie` and one scripted backend."""
    from palaver.testing.server import write_world

    return write_world(tmp_path / "world")


@async_fixture
async def palaver_server(palaver_world: Path) -> AsyncIterator[RunningServer]:
    """A server that runs that world; `palaver_server.backend.replies` is what it says."""
    from palaver.testing.server import running_server

    async with running_server(palaver_world) as running:
        yield running


@async_fixture
async def fake_engine(palaver_server: RunningServer) -> FakeEngine:
    """An engine in a session with `palaver_server`, where `vlad` is a vampire."""
    return await palaver_server.ready(capabilities=["sentence", "emotion", "action"])
