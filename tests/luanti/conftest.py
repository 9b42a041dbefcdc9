"""A real game server for the tests of this folder; see `harness`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# The helpers are a package beside the tests, which no distribution carries.
sys.path.insert(0, str(Path(__file__).parent))

from harness.game import Game
from harness.gateway import Gateway
from harness.players import Player
from harness.programs import Program, find_client, find_server, missing

MARKED = ("engine", "players")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the engine."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.relative_to(HERE).parts[0] in MARKED:
            item.add_marker(pytest.mark.luanti)


@pytest.fixture(scope="session")
def program() -> Program:
    """The game server; without one the test is skipped."""
    found = find_server()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture
def play(program: Program, tmp_path: Path) -> Iterator[Callable[..., Game]]:
    """Starts a game with the mod, as `Game`; what is started is ended after the test."""
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(Game(program, tmp_path, **more))


@pytest.fixture
def palaver(tmp_path: Path) -> Iterator[Gateway]:
    """A Palaver with the village and a scripted backend."""
    with Gateway(tmp_path) as gateway:
        yield gateway


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Callable[..., Player]]:
    """Lets a player without a window join a game; all are ended after the test."""
    if find_client() is None:
        pytest.skip("no Luanti client here; on Debian: apt-get install minetest")
    with ExitStack() as stack:
        yield lambda game, name: stack.enter_context(Player(game, name, tmp_path))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of the screen go: `PALAVER_TEST_PICTURES`, or a temporary folder."""
    reason = missing("Xvfb", "xdotool", "import", "convert", "compare")
    if reason or find_client() is None:
        pytest.skip(reason or "no Luanti client here; on Debian: apt-get install minetest")
    return Path(os.environ.get("PALAVER_TEST_PICTURES") or tmp_path / "pictures").resolve()
