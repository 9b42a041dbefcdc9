"""`palaver check`: everything wrong with a world, with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Cli = Callable[..., Result]


def test_a_good_world(cli: Cli, trusted: str) -> None:
    """A world without errors ends with exit code 0 and says what was looked at."""
    result = cli("check", trusted)
    assert result.exit_code == 0, result.output
    assert "no errors" in result.stdout
    assert "2 personas" in result.stdout


def test_every_problem_has_file_and_line(cli: Cli, trusted: str) -> None:
    """Each problem is one line with file, line and severity, and errors are exit code 1."""
    world = Path(trusted)
    vampire = world / "personas" / "vampire.md"
    vampire.write_text(vampire.read_text().replace("lang: en", "lnag: en"))
    zombie = world / "personas" / "zombie.md"
    zombie.write_text(zombie.read_text().replace("facts.hunger", "facts.hungry"))
    (world / "plugins" / "broken.py").write_text("def")
    cli("trust", trusted, "--yes")
    result = cli("check", trusted)
    assert result.exit_code == 1
    assert "world/personas/vampire.md:3: error: `lnag`: no such key; did you mean" in result.stdout
    assert "world/personas/zombie.md:9: error: `facts.hungry` is not declared" in result.stdout
    assert "world/plugins/broken.py: error: SyntaxError" in result.stdout
    assert result.stderr == ""


def test_json(cli: Cli, trusted: str, read_json: Callable[[Result], Any]) -> None:
    """With --json a program gets file, line, severity and message."""
    vampire = Path(trusted) / "personas" / "vampire.md"
    vampire.write_text(vampire.read_text().replace("lang: en", "lnag: en"))
    result = cli("check", trusted, "--json")
    assert result.exit_code == 1
    found = read_json(result)
    assert found["ok"] is False
    assert found["errors"] == 1
    [error] = [one for one in found["problems"] if one["severity"] == "error"]
    assert (error["file"], error["line"]) == (str(vampire), 3)
    assert "did you mean `lang`?" in error["message"]


def test_broken_settings_hide_nothing_else(cli: Cli, trusted: str) -> None:
    """With a broken palaver.toml, all its mistakes and those of the rest are told."""
    world = Path(trusted)
    (world / "palaver.toml").write_text("[server]\nprot = 1\n[limits]\ntruns = 1\n")
    vampire = world / "personas" / "vampire.md"
    vampire.write_text(vampire.read_text().replace("lang: en", "lnag: en"))
    out = cli("check", trusted).stdout
    assert "world/palaver.toml:2: error: server.prot: no such setting" in out
    assert "world/palaver.toml:4: error: limits.truns: no such setting" in out
    assert "vampire.md:3: error:" in out


def test_an_untrusted_world_is_looked_at_without_running_it(
    cli: Cli, script_world: Path, tmp_path: Path
) -> None:
    """Without trust no plugin runs, and a warning says what was not looked at."""
    ran = tmp_path / "ran"
    plugin = script_world / "plugins" / "script.py"
    plugin.write_text(f"open({str(ran)!r}, 'w')")
    out = cli("check", str(script_world)).stdout
    assert "warning: this world is not trusted: its plugins do not run" in out
    assert f"palaver trust {script_world}" in out
    assert not ran.exists()


def test_here(cli: Cli, trusted: str, monkeypatch: Any) -> None:
    """Without WORLD the folder one is in is checked, and paths are short."""
    monkeypatch.chdir(trusted)
    vampire = Path(trusted) / "personas" / "vampire.md"
    vampire.write_text(vampire.read_text().replace("lang: en", "lnag: en"))
    assert "\npersonas/vampire.md:3: error:" in f"\n{cli('check').stdout}"


def test_the_environment_counts(cli: Cli, trusted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `serve` would refuse because of a variable is an error here too, and names it."""
    monkeypatch.setenv("PALAVER_SPEND__MODE", "of")
    result = cli("check", trusted)
    assert result.exit_code == 1
    assert "world: error: spend.mode: " in result.stdout
    assert "(from the variable PALAVER_SPEND__MODE)" in result.stdout
    monkeypatch.delenv("PALAVER_SPEND__MODE")
    monkeypatch.setenv("PALAVER_STORE__TYPE", "reddis")
    result = cli("check", trusted)
    assert result.exit_code == 1
    assert "there is no store type 'reddis'" in result.stdout


def test_a_plugin_that_refuses_its_variable(cli: Cli, trusted: str) -> None:
    """A plugin that says what is wrong with its settings is heard: an error without a traceback."""
    (Path(trusted) / "plugins" / "picky.py").write_text(
        "from palaver import hookimpl\n"
        "from palaver.errors import ConfigError\n\n"
        "@hookimpl\n"
        "def palaver_register_bridges(register):\n"
        '    raise ConfigError("is empty; set it", key="PICKY_KEY")\n'
    )
    cli("trust", trusted, "--yes")
    for command in ("check", "serve"):
        result = cli(command, trusted)
        assert result.exit_code == 1, result.output
        assert "error: PICKY_KEY: is empty; set it" in result.output
        assert "Traceback" not in result.output
