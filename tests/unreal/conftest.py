"""The C++ core, compiled with sanitizers; see `harness`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The helpers are a package beside the tests, which no distribution carries.
sys.path.insert(0, str(Path(__file__).parent))

from unreal_harness import build

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a compiler."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.unreal)


@pytest.fixture(scope="session", autouse=True)
def compiler() -> str:
    """A C++ compiler; without one the tests are skipped."""
    found = build.compiler()
    if found is None:
        pytest.skip("no C++ compiler here; on Debian: apt-get install g++")
    return found


def header(path: str, package: str) -> None:
    """Skip a test where a header of the system is missing."""
    if not Path("/usr/include", path).exists():
        pytest.skip(f"{path} is not here; on Debian: apt-get install {package}")


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, compiler: str) -> Path:
    """The folder for programs of this run."""
    return tmp_path_factory.mktemp("unreal")


@pytest.fixture(scope="session")
def live(programs: Path) -> Path:
    """The program that talks to a real server."""
    header("libwebsockets.h", "libwebsockets-dev")
    return build.compile_program(build.SOURCES / "live.cpp", programs / "live", "-lwebsockets")


@pytest.fixture(scope="session")
def replay(programs: Path) -> Path:
    """The program whose network is its standard input."""
    return build.compile_program(build.SOURCES / "replay.cpp", programs / "replay")


@pytest.fixture(scope="session")
def units(programs: Path) -> Path:
    """The unit tests."""
    header("doctest/doctest.h", "doctest-dev")
    return build.compile_program(build.SOURCES / "units.cpp", programs / "units")
