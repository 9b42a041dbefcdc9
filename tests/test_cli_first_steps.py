"""The first steps of somebody new, with everything installed: init, check, chat, serve."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Palaver = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def palaver(tmp_path: Path) -> Palaver:
    """Runs `palaver` in an empty folder, as somebody who has never run it."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PALAVER_")}
    environ |= {
        "PALAVER_CONFIG_DIR": str(tmp_path / "config"),
        "PALAVER_DATA_DIR": str(tmp_path / "data"),
        # A model server that happens to run on this machine is not part of the test.
        "PALAVER_SERVER__DETECT": "false",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "palaver", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environ,
            timeout=100,
        )

    return run


def lines_of(file: Path, intent: str) -> set[str]:
    """Return the authored lines for one intent."""
    with file.open(encoding="utf-8", newline="") as csv_file:
        return {line["text"] for line in csv.DictReader(csv_file) if line["intent"] == intent}


def test_a_world_of_ones_own(palaver: Palaver, tmp_path: Path) -> None:
    """What init makes has nothing wrong with it, speaks, and shows its prompt."""
    made = palaver("init", "inn")
    assert (made.returncode, made.stderr) == (0, "")
    assert "palaver-prompts" not in made.stdout
    checked = palaver("check", "inn")
    assert "no errors, no warnings" in checked.stdout, checked.stdout
    said = palaver("chat", "inn", "--npc", "innkeeper", "--say", "Hello!")
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip() in lines_of(tmp_path / "inn" / "lines" / "innkeeper.csv", "greeting")
    assert said.stderr.startswith("static served ")
    shown = palaver("render", "inn", "innkeeper", "--fact", "rooms=0", "--json")
    text = json.loads(shown.stdout)["messages"][-1]["content"]
    assert "only the bench by the fire" in text


def test_the_plugin_of_its_readme_runs(palaver: Palaver, tmp_path: Path) -> None:
    """The plugin shown in the new world's plugins folder works as written."""
    palaver("init", "inn")
    folder = tmp_path / "inn" / "plugins"
    code = (folder / "README.md").read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    (folder / "moon.py").write_text(code, encoding="utf-8")
    assert "does not run" in " ".join(palaver("plugins", "inn").stdout.split())
    assert palaver("trust", "inn", "--yes").returncode == 0
    listed = json.loads(palaver("plugins", "inn", "--json").stdout)["plugins"]
    assert {"moon": ["palaver_build_context"]} == {
        one["name"]: one["hooks"] for one in listed if one["name"] == "moon"
    }


@pytest.mark.parametrize("example", ["body-broker", "village"])
def test_a_copy_of_an_example(palaver: Palaver, example: str) -> None:
    """--from an example makes a world that has no errors."""
    made = palaver("init", "mine", "--from", example)
    assert made.returncode == 0, made.stderr
    checked = palaver("check", "mine")
    assert checked.returncode == 0, checked.stdout


def test_without_any_world(palaver: Palaver) -> None:
    """In an empty folder the example speaks, and its backends are well."""
    said = palaver("chat", "--npc", "vampire", "--say", "Good evening.")
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip()
    assert palaver("doctor").returncode == 0
    measured = palaver("bench", "--turns", "20", "--json")
    assert measured.returncode == 0, measured.stderr
    assert json.loads(measured.stdout)["served_by"] == {"static": 20}


def test_help_is_quick_with_every_plugin_installed() -> None:
    """The plugins of this project add commands without importing anything large."""
    code = (
        "import sys; from palaver.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "vllm" in done.stdout.partition("From plugins:")[2]
    heavy = {"aiohttp", "asyncio", "jinja2", "msgspec", "pydantic", "rich", "websockets"}
    assert heavy.isdisjoint(done.stdout.split())
