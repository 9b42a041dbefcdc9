"""`palaver init`: a small world of one's own."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from palaver.cli.init import SEED
from palaver.config.load import load_settings
from palaver.world.lines import INTENTS, PURPOSES
from palaver.world.trust import TrustStore

Cli = Callable[..., Result]


def test_it_makes_a_world(cli: Cli, tmp_path: Path) -> None:
    """A new folder has a persona, lines, settings and a place for plugins, and is trusted."""
    result = cli("init", "inn")
    assert result.exit_code == 0, result.output
    inn = tmp_path / "inn"
    for name in ("palaver.toml", "personas/innkeeper.md", "lines/innkeeper.csv", "README.md"):
        assert (inn / name).is_file()
    assert (inn / "plugins" / "README.md").is_file()
    assert "data/" in (inn / ".gitignore").read_text()
    assert "palaver chat inn --npc innkeeper" in result.stdout
    assert TrustStore().is_trusted(inn)


def test_it_says_what_is_missing(cli: Cli) -> None:
    """Where no plugin brings the base template, it says which one does."""
    assert "install `./prompts`" in cli("init", "inn").stdout


def test_json(cli: Cli, tmp_path: Path, read_json: Callable[[Result], Any]) -> None:
    """With --json a program learns what was made."""
    made = read_json(cli("init", "inn", "--json"))
    assert made == {"world": str(tmp_path / "inn"), "trusted": True, "personas": ["innkeeper"]}


@pytest.mark.parametrize("there", ["file", "full folder"])
def test_nothing_is_overwritten(cli: Cli, tmp_path: Path, there: str) -> None:
    """A folder with something in it is left as it is."""
    inn = tmp_path / "inn"
    if there == "file":
        inn.write_text("mine")
    else:
        inn.mkdir()
        (inn / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("inn*"))
    result = cli("init", "inn")
    assert result.exit_code == 1
    assert "'inn' is not empty" in result.stderr
    assert sorted(tmp_path.rglob("inn*")) == before


def test_an_empty_folder_is_new_enough(cli: Cli, tmp_path: Path) -> None:
    """An empty folder, such as one just made for a repository, is filled."""
    (tmp_path / "inn").mkdir()
    assert cli("init", "inn").exit_code == 0


def test_an_unknown_example(cli: Cli) -> None:
    """--from an example that is not installed says what to install."""
    result = cli("init", "inn", "--from", "body-broker")
    assert result.exit_code == 1
    assert "`./prompts`" in result.stderr


def test_the_commented_settings_load(tmp_path: Path) -> None:
    """With all marks taken away, the new palaver.toml is valid."""
    lines = (SEED / "palaver.toml").read_text("utf-8").splitlines()
    toml = tmp_path / "palaver.toml"
    toml.write_text(
        "\n".join(line.removeprefix("#") if line[1:2] != " " else line for line in lines)
    )
    settings = load_settings(toml)
    assert settings.backends["local"]["type"] == "ollama"
    assert settings.backends["fast"]["type"] == settings.backends["premium"]["type"] == "cloud"
    assert settings.spend.mode == "off"
    assert settings.tiers["elite"].chain == ["local", "fast", "premium", "static"]


def test_the_lines_cover_every_intent() -> None:
    """The new lines answer every kind of utterance, three lines each and always one that fits."""
    with (SEED / "lines" / "innkeeper.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len({line["id"] for line in lines}) == len(lines)
    for intent in INTENTS:
        fitting = [line for line in lines if line["intent"] == intent]
        assert len(fitting) >= 3
        assert any(not line["mood"] and not line["when"] for line in fitting)
    for purpose in PURPOSES:
        assert sum(line["intent"] == purpose for line in lines) >= 2
