"""Where a server keeps what it writes, and what third-party types may do to its start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from palaver.startup import Located, data_folder, state_folder


def worlds(tmp_path: Path) -> list[Located]:
    """Return two worlds whose folders have the same name."""
    found = []
    for parent in ("a", "b"):
        folder = tmp_path / parent / "world"
        folder.mkdir(parents=True)
        found.append(Located(folder, shipped=False))
    return found


def test_state_is_never_in_the_world(tmp_path: Path) -> None:
    """What is noted about a world lies in the user's folder, for each world by itself."""
    environ = {"PALAVER_CONFIG_DIR": str(tmp_path / "config")}
    one, two = (state_folder(located, environ) for located in worlds(tmp_path))
    assert one != two
    assert one.is_dir()
    assert one.is_relative_to(tmp_path / "config")


def test_read_only_worlds_of_one_name_share_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a world cannot be written to, its data is kept under its whole path."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    found = worlds(tmp_path)
    for located in found:
        located.folder.chmod(0o500)
    if os.access(found[0].folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    one, two = (data_folder(located, {}) for located in found)
    assert one != two
