"""`palaver doctor`: each backend is asked for real, without fallback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Cli = Callable[..., Result]

TWO = """
[server]
detect = false
[backends.local]
type = "scripted"
[backends.other]
type = "other"
"""
OTHER = """\
from palaver import BackendUnavailable, Health, hookimpl
from palaver.testing.scripted import ScriptedBackend, scripted_type

@hookimpl
def palaver_register_backends(register):
    broken = Health(ok=False, detail="sleeps; wake it")
    asleep = ScriptedBackend("other", [BackendUnavailable("other", "sleeps")], health=broken)
    register(scripted_type([asleep], name="other"))
"""


def test_a_backend_that_answers(cli: Cli, trusted: str, cli_environ: dict[str, str]) -> None:
    """It shows what each backend says and when, ends with exit code 0, and remembers nothing."""
    result = cli("doctor", trusted)
    assert result.exit_code == 0, result.output
    assert "Good evening, Player." in result.stdout
    assert "ok" in result.stdout
    assert "plays its script" in result.stdout
    assert "asked to speak as vampire" in result.stdout
    more = ["--npc", "vampire", "--say", "remember"]
    assert cli("chat", trusted, *more).stdout == "I remember [].\n"


def test_one_that_fails(cli: Cli, trusted: str, read_json: Callable[[Result], Any]) -> None:
    """A failing backend is told with its reason and is exit code 1; the others are tested too."""
    (Path(trusted) / "palaver.toml").write_text(TWO)
    (Path(trusted) / "plugins" / "other.py").write_text(OTHER)
    cli("trust", trusted, "--yes")
    result = cli("doctor", trusted)
    assert result.exit_code == 1
    assert "fails" in result.stdout
    assert "sleeps; wake it" in result.stdout
    found = read_json(cli("doctor", trusted, "--json"))["backends"]
    assert [(one["backend"], one["ok"]) for one in found] == [("local", True), ("other", False)]
    assert found[0]["first_token_ms"] > 0
    assert found[0]["model"] == "script-1"
    assert found[1]["problem"] == "sleeps"
    assert cli("doctor", trusted, "--backend", "local").exit_code == 0


def test_one_that_hangs(cli: Cli, trusted: str) -> None:
    """A reply that does not end within --limit is a failure."""
    result = cli("doctor", trusted, "--say", "wait", "--limit", "1")
    assert result.exit_code == 1
    assert "not done within 1 s" in result.stdout


def test_what_lacks_trust_is_no_success(cli: Cli, script_world: Path) -> None:
    """A backend left out for want of trust is told, and is exit code 1."""
    toml = '[server]\ndetect=false\n[backends.x]\ntype="y"\nurls=["https://example.org"]\n'
    (script_world / "palaver.toml").write_text(toml)
    result = cli("doctor", str(script_world))
    assert result.exit_code == 1
    assert "the backend 'x' is left out" in result.stdout


def test_unknown_names(cli: Cli, trusted: str) -> None:
    """A backend or persona there is not is named."""
    assert "did you mean `local`?" in cli("doctor", trusted, "--backend", "locl").stderr
    assert "did you mean `vampire`?" in cli("doctor", trusted, "--persona", "vampyr").stderr
