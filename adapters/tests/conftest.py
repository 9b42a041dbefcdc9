"""Shared fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver_adapters.training.data import Line, read_lines

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def lines_folders() -> list[Path]:
    """The folders of the example worlds' authored lines, which stand beside this member."""
    found = sorted((ROOT / "prompts/src/palaver_prompts/worlds").glob("*/lines"))
    if not found:
        pytest.skip("the example worlds are not here: run this in a checkout of the project")
    return found


@pytest.fixture(scope="session")
def authored(lines_folders: list[Path]) -> list[Line]:
    """All authored lines of the example worlds."""
    return read_lines(lines_folders)


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The folder of the tiny model that the tests of the project serve."""
    folder = ROOT / "tests/models/tiny"
    if not folder.is_dir():
        pytest.skip("tests/models/tiny is not here: run this in a checkout of the project")
    return folder
