"""What is written in Lua is written cleanly."""

from __future__ import annotations

import subprocess

import pytest
from harness.game import HERE, MOD
from harness.programs import missing


@pytest.fixture(scope="module", autouse=True)
def _luacheck() -> None:
    """Without luacheck nothing can be said."""
    reason = missing("luacheck")
    if reason:
        pytest.skip(reason)


def test_luacheck_finds_nothing_in_the_mod() -> None:
    """The mod is clean by its own .luacheckrc."""
    done = subprocess.run(
        ["luacheck", "--no-color", "."], cwd=MOD, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["bot", "control"])
def test_luacheck_finds_nothing_in_the_helpers(name: str) -> None:
    """The mods that help the tests are clean too."""
    known = ["core", "minetest", "llm_agent", "VoxelArea"]
    command = ["luacheck", "--no-color", "--no-config", "--std", "luajit", "--globals", "control"]
    done = subprocess.run(
        [*command, "core", "--read-globals", *known, "--", str(HERE / name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
