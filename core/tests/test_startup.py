"""Where a server keeps what it writes, and what third-party types may do to its start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendSettings, BackendType
from palaver.startup import Located, data_folder, prepare, state_folder
from palaver.testing.scripted import ScriptedBackend, scripted_type
from palaver.world.trust import TrustStore


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


class NeedsMore(BackendSettings):
    """Settings that cannot be made without a table."""

    needed: int


def fails(*_: Any) -> Any:
    """Fail as a plugin with a bug does."""
    raise RuntimeError("no")


async def test_a_type_that_breaks_stops_nothing(
    palaver_world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A type whose settings or backend cannot be made is named, and the others are there."""
    (palaver_world / "palaver.toml").write_text(
        '[backends.local]\ntype = "scripted"\n[backends.broken]\ntype = "created"\n'
    )
    trust = TrustStore(tmp_path / "trusted.json")
    trust.trust(palaver_world)
    parts = await prepare(
        palaver_world,
        environ={"PALAVER_PLUGINS": ""},
        backend_types=[
            scripted_type([ScriptedBackend("local", "Hello.")]),
            BackendType("created", BackendSettings, fails),
            BackendType("settings", NeedsMore, fails, instant=True),
        ],
        trust=trust,
    )
    assert list(parts.backends) == ["local"]
    assert [note.partition(":")[0] for note in parts.notes] == [
        "the backend 'broken' is left out",
        "the backend 'settings' is left out",
    ]
    assert "could not make the backend broken" in caplog.text


async def test_a_server_that_was_found_and_breaks_stops_nothing(
    palaver_world: Path, tmp_path: Path
) -> None:
    """A type that finds a server, but cannot make a backend of it, is named."""

    async def detect() -> BackendSettings:
        return BackendSettings(type="found")

    (palaver_world / "palaver.toml").write_text("")
    trust = TrustStore(tmp_path / "trusted.json")
    trust.trust(palaver_world)
    parts = await prepare(
        palaver_world,
        environ={"PALAVER_PLUGINS": ""},
        backend_types=[BackendType("found", BackendSettings, fails, detect=detect)],
        trust=trust,
    )
    assert parts.backends == {}
    assert "its type 'found' failed" in parts.notes[0]
