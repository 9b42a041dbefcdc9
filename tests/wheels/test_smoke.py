"""The built wheels work where the source is not: `tox -e wheels` installs them and runs this."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

MEMBERS = (
    "palaver",
    "palaver-adapters",
    "palaver-cloud",
    "palaver-luanti",
    "palaver-prompts",
    "palaver-redis",
    "palaver-static",
    "palaver-vllm",
    "palaver-metrics",
    "palaver-moderation",
    "palaver-ollama",
)
LIMIT_S = 100


def palaver(folder: Path, *arguments: str) -> str:
    """Runs the installed command in an empty folder and returns what it printed."""
    command = Path(sys.executable).with_name("palaver")
    done = subprocess.run(
        [str(command), *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", MEMBERS)
def test_a_wheel_is_installed_and_not_the_source(name: str) -> None:
    """What is tested here lies in site-packages, with its licence and its type marker."""
    files = importlib.metadata.files(name) or []
    package = name.replace("-", "_")
    installed = {file.as_posix() for file in files}
    assert f"{package}/__init__.py" in installed
    assert f"{package}/py.typed" in installed
    assert any(file.endswith("licenses/LICENSE") for file in installed)


def test_the_command_tells_what_it_can_do(tmp_path: Path) -> None:
    """`palaver --help` names the commands."""
    said = palaver(tmp_path, "--help")
    assert {"serve", "chat", "check", "plugins"} <= set(said.split())


def test_every_plugin_is_found(tmp_path: Path) -> None:
    """`palaver plugins` lists each member that is a plugin, with its version."""
    plugins = json.loads(palaver(tmp_path, "plugins", "--json"))["plugins"]
    listed = {plugin["name"]: plugin for plugin in plugins}
    for name in ("adapters", "luanti", "metrics", "ollama", "prompts", "static", "vllm"):
        assert listed[name]["version"] == importlib.metadata.version(f"palaver-{name}")


def test_an_npc_of_the_example_world_talks(tmp_path: Path) -> None:
    """With no file and no model, the example world's vampire answers from authored lines."""
    out = palaver(tmp_path, "chat", "--npc", "vampire", "--say", "Good evening.", "--json")
    done = json.loads(out.splitlines()[-1])
    assert done["text"]
    assert done["served_by"]["type"] == "static"
