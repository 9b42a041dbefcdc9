from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendContext
from palaver.testing.fake_vllm import FakeVllm
from palaver.world.manifest import AdapterManifest
from palaver_vllm.backend import VllmBackend
from palaver_vllm.config import VllmSettings


@pytest.fixture
def manifests() -> dict[str, AdapterManifest]:
    """The manifests of the backends' world, to be filled by the test."""
    return {}


@pytest.fixture
def reports() -> list[str]:
    """What backends told whoever runs Palaver."""
    return []


@pytest.fixture
async def make_backend(
    tmp_path: Path, manifests: dict[str, AdapterManifest], reports: list[str]
) -> AsyncIterator[Callable[..., VllmBackend]]:
    """Make backends of settings, closed at the end; they are not started."""
    made: list[VllmBackend] = []

    def make(**settings: Any) -> VllmBackend:
        context = BackendContext(tmp_path, lambda: manifests, reports.append)
        made.append(VllmBackend("local", VllmSettings(type="vllm", **settings), context))
        return made[-1]

    yield make
    for backend in made:
        await backend.close()


@pytest.fixture
async def backend(fake_vllm: FakeVllm, make_backend: Callable[..., VllmBackend]) -> VllmBackend:
    """A started backend on the fake server."""
    backend = make_backend(url=fake_vllm.url)
    await backend.start()
    return backend


@pytest.fixture
def adapter_dir(tmp_path: Path) -> Path:
    """A folder that looks like an adapter of rank 8."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 8}')
    return folder


@pytest.fixture
def add_manifest(
    manifests: dict[str, AdapterManifest], adapter_dir: Path
) -> Callable[..., AdapterManifest]:
    """Add a manifest to the world."""

    def add(name: str, **fields: Any) -> AdapterManifest:
        manifest = AdapterManifest(
            **{
                "name": name,
                "version": "1",
                "base": "base",
                "path": adapter_dir,
                "rank": 8,
                **fields,
            }
        )
        manifests[manifest.id] = manifest
        return manifest

    return add
