"""`palaver trust`: what a world wants is shown before it gets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from palaver.world.trust import TrustStore

Cli = Callable[..., Result]

TOML = """
[server]
detect = false
[backends.local]
type = "scripted"
[backends.fast]
type = "scripted"
urls = ["https://models.example.org"]
[backends.key]
type = "scripted"
api_key_env = "SECRET_KEY"
"""


@pytest.fixture
def world(script_world: Path) -> Path:
    """A world that wants a plugin, an address and a key."""
    (script_world / "palaver.toml").write_text(TOML)
    return script_world


def test_it_shows_and_asks(cli: Cli, world: Path) -> None:
    """Plugins, addresses and key variables are shown, then it asks."""
    result = cli("trust", str(world), stdin="y\n")
    assert result.exit_code == 0, result.output
    for wanted in ("plugins/script.py", "'https://models.example.org'", "'SECRET_KEY'"):
        assert wanted in result.stdout
    assert "Trust it? [y/N]" in result.stdout
    assert TrustStore().is_trusted(world)
    assert "is trusted." in cli("trust", str(world)).stdout


@pytest.mark.parametrize("answer", ["n\n", "\n", ""], ids=["no", "enter", "end of input"])
def test_no_is_no(cli: Cli, world: Path, answer: str) -> None:
    """Anything but yes leaves it untrusted."""
    assert cli("trust", str(world), stdin=answer).exit_code != 0
    assert not TrustStore().is_trusted(world)


def test_yes(cli: Cli, world: Path) -> None:
    """--yes asks nothing."""
    assert cli("trust", str(world), "--yes").exit_code == 0
    assert TrustStore().is_trusted(world)


def test_show_only_shows(cli: Cli, world: Path) -> None:
    """--show changes nothing, with or without --yes."""
    for more in ([], ["--yes"]):
        assert "plugins/script.py" in cli("trust", str(world), "--show", *more).stdout
    assert not TrustStore().is_trusted(world)


def test_a_change_takes_trust_back(cli: Cli, world: Path) -> None:
    """A plugin that changes is a stranger's again, and that is said."""
    cli("trust", str(world), "--yes")
    (world / "plugins" / "script.py").write_text("# other")
    assert "it has changed" in cli("trust", str(world), "--show").stdout


def test_revoke(cli: Cli, world: Path) -> None:
    """--revoke takes it back."""
    cli("trust", str(world), "--yes")
    assert "not trusted any more" in cli("trust", str(world), "--revoke").stdout
    assert not TrustStore().is_trusted(world)
    assert "was not trusted" in cli("trust", str(world), "--revoke").stdout


def test_json(cli: Cli, world: Path, read_json: Callable[[Result], Any]) -> None:
    """With --json a program sees what it wants, and trusts only with --yes."""
    found = read_json(cli("trust", str(world), "--json"))
    assert found["trusted"] is False
    assert found["plugins"] == ["plugins/script.py"]
    assert len(found["settings"]) == 2
    assert not TrustStore().is_trusted(world)
    assert read_json(cli("trust", str(world), "--json", "--yes"))["trusted"] is True
    assert TrustStore().is_trusted(world)
    assert read_json(cli("trust", str(world), "--json", "--revoke"))["was_trusted"] is True


def test_contradictions(cli: Cli, world: Path) -> None:
    """A folder that is not there, or two wishes at once, are refused."""
    assert cli("trust", "nowhere").exit_code == 1
    assert cli("trust", str(world), "--show", "--revoke").exit_code == 2
