"""The plugin to copy works: it is copied, renamed, installed, tested, and answers a turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = Path(__file__).resolve().parent.parent / "plugin_template"
LIMIT_S = 100


class Installed:
    """A copy of the template in a folder of its own, and the environment that sees it."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder = folder
        # Beside what is installed already, as a user's environment would have it.
        self.environ = os.environ | {"PYTHONPATH": str(site), "NO_COLOR": "1"}
        self.environ.pop("PIP_CONSTRAINT", None)  # relative to the checkout

    def run(self, *command: str) -> str:
        """Runs a Python module in the copy's folder and returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The template as `palaver-sea-shanty`, made as its README says."""
    base = tmp_path_factory.mktemp("template")
    folder, site = base / "palaver-sea-shanty", base / "site"
    make = [sys.executable, str(TEMPLATE / "new.py"), "sea-shanty", str(folder)]
    subprocess.run(make, check=True, timeout=LIMIT_S)
    copy = Installed(folder, site)
    # Without isolation and dependencies: what it needs is here, and the test needs no network.
    copy.run(
        "pip", "install", "--quiet", "--no-build-isolation", "--no-deps",
        "--disable-pip-version-check", "--target", str(site), ".",
    )  # fmt: skip
    return copy


def test_nothing_of_the_old_name_is_left(installed: Installed) -> None:
    """The script renames files, folders and everything in them."""
    for path in installed.folder.rglob("*"):
        if path.is_file() and path.name != "LICENSE" and "build" not in path.parts:
            assert "example" not in path.name.lower(), path
            assert "example" not in path.read_text(encoding="utf-8").lower(), path


def test_the_readme_is_the_copys_own(installed: Installed) -> None:
    """The copy's README tells about the plugin, not how to copy it."""
    readme = (installed.folder / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# palaver-sea-shanty\n\nA plugin for Palaver. ")
    assert "new.py" not in readme
    assert "<!--" not in readme


@pytest.mark.parametrize("name", ["sea_shanty", "Sea Shanty", "SeaShanty"])
def test_a_name_that_is_written_otherwise(name: str, tmp_path: Path) -> None:
    """Whoever writes the name in another way is told how to write it."""
    make = [sys.executable, str(TEMPLATE / "new.py"), name]
    done = subprocess.run(
        make, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=LIMIT_S
    )
    assert done.returncode == 1
    assert "write `sea-shanty`" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_comes_next_is_told(tmp_path: Path) -> None:
    """The steps name the copy, and take Palaver from its repository."""
    make = [sys.executable, str(TEMPLATE / "new.py"), "oracle"]
    done = subprocess.run(
        make, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=LIMIT_S, check=True
    )
    assert f"install -e './core[testing]' -e {tmp_path / 'palaver-oracle'}\n" in done.stdout


def test_its_own_tests_pass(installed: Installed) -> None:
    """The copy's tests pass, with its own settings of pytest."""
    out = installed.run("pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert " passed" in out


def test_palaver_lists_it(installed: Installed) -> None:
    """`palaver plugins` names it, with its version and its hooks."""
    listed: dict[str, Any] = json.loads(installed.run("palaver", "plugins", "--json"))
    (entry,) = [plugin for plugin in listed["plugins"] if plugin["name"] == "sea-shanty"]
    assert entry["version"] == "0.1.0"
    assert "sea-shanty" in listed["backend_types"]
    assert set(entry["hooks"]) == {"palaver_build_context", "palaver_register_backends"}


def test_a_turn_is_answered_by_it(installed: Installed, tmp_path: Path) -> None:
    """A world that configures it is answered in rhyme, and the template sees its context."""
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "bard.md").write_text(
        "---\nname: Bard\nlast_words: No more songs.\n---\n"
        '{% extends "npc.j2" %}\n'
        "{% block identity %}You are a bard.{% endblock %}\n"
        "{% block situation %}It has {{ context.sea_shanty_words }} words.{% endblock %}\n",
        encoding="utf-8",
    )
    (tmp_path / "palaver.toml").write_text(
        '[backends.local]\ntype = "sea-shanty"\nrhymes = { sword = "lord" }\n', encoding="utf-8"
    )
    out = installed.run(
        "palaver", "chat", str(tmp_path), "--npc", "bard", "--say", "Nice sword", "--json"
    )
    done = json.loads(out.splitlines()[-1])
    assert done["text"] == "You say sword, I answer lord."
    assert done["served_by"]["type"] == "sea-shanty"
