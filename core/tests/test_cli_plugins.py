"""`palaver plugins`: what is loaded, what is not, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Cli = Callable[..., Result]


def test_the_list(cli: Cli, trusted: str) -> None:
    """The core's and the world's plugins are listed with source and hooks, or their problem."""
    (Path(trusted) / "plugins" / "broken.py").write_text("import nonsense_that_is_not_there")
    cli("trust", trusted, "--yes")
    result = cli("plugins", trusted)
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "turn_received" in result.stdout
    assert "register_backends" in rows["script"]
    assert "world/plugins/broken.py" in rows["broken"]
    assert "ModuleNotFoundError" in result.stdout
    assert "scripted" in result.stdout.partition("backend type")[2]
    assert result.stderr == ""


def test_json(cli: Cli, trusted: str, read_json: Callable[[Result], Any]) -> None:
    """With --json a program gets the same."""
    found = read_json(cli("plugins", trusted, "--json"))
    names = {one["name"]: one for one in found["plugins"]}
    assert names["palaver"]["hooks"]
    assert names["script"]["hooks"] == ["palaver_register_backends"]
    assert names["script"]["problem"] is None
    assert found["backend_types"] == {"scripted": ""}


def test_plugins_of_an_untrusted_world_do_not_run(
    cli: Cli, script_world: Path, tmp_path: Path
) -> None:
    """A world that is not trusted has its plugins named, with what to do, but not run."""
    ran = tmp_path / "ran"
    (script_world / "plugins" / "script.py").write_text(f"open({str(ran)!r}, 'w')")
    out = cli("plugins", str(script_world)).stdout
    assert "script" in out
    assert "is not trusted" in " ".join(out.split())
    assert not ran.exists()


def test_outside_of_a_world(cli: Cli) -> None:
    """Where there is no world at all, the installed plugins are listed."""
    result = cli("plugins")
    assert result.exit_code == 0
    assert "palaver" in result.stdout
