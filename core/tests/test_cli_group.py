"""`palaver` itself: help that is quick, errors in one line, exit codes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

import palaver
from palaver import plugins
from palaver.cli import from_plugins, main
from palaver.cli.group import COMMANDS

Cli = Callable[..., Result]
NAMES = [name for names in COMMANDS.values() for name in names]
HEAVY = {"aiohttp", "asyncio", "jinja2", "pydantic", "rich", "websockets"}


def test_help_lists_every_command(cli: Cli) -> None:
    """`palaver --help` names all commands."""
    result = cli("--help")
    assert result.exit_code == 0
    for name in NAMES:
        assert f"  {name} " in result.stdout


def test_help_imports_nothing_heavy(cli_environ: dict[str, str]) -> None:
    """The help is quick because it imports no command and no large library."""
    code = (
        "import sys; from palaver.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(out.stdout.split())
    assert HEAVY.isdisjoint(modules)
    assert {f"palaver.cli.{name}" for name in NAMES}.isdisjoint(modules)


@pytest.mark.parametrize("name", NAMES)
def test_short_help_is_what_the_command_says(name: str) -> None:
    """The list in the help, which imports no command, says the same as the command itself."""
    command = importlib.import_module(f"palaver.cli.{name}").command
    short = next(names[name] for names in COMMANDS.values() if name in names)
    assert command.get_short_help_str(200) == short
    assert command.name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example(cli: Cli, name: str) -> None:
    """Each command explains itself, with an example to copy."""
    result = cli(name, "--help")
    assert result.exit_code == 0
    assert f"\n  palaver {name}" in result.stdout.partition("Examples:")[2]


@pytest.mark.parametrize("name", sorted({*NAMES} - {"chat"}))
def test_commands_take_json(name: str) -> None:
    """Where a program may read what a command prints, it takes --json."""
    command = importlib.import_module(f"palaver.cli.{name}").command
    assert any("--json" in parameter.opts for parameter in command.params)


def test_version(cli: Cli) -> None:
    """--version prints name and version."""
    assert cli("--version").stdout == f"palaver {palaver.__version__}\n"


def test_an_unknown_command_names_the_nearest(cli: Cli) -> None:
    """A typo in a command is answered with the command that was meant, and exit code 2."""
    result = cli("chekc")
    assert result.exit_code == 2
    assert "Did you mean 'check'?" in result.stderr


def test_an_unknown_option_is_a_usage_error(cli: Cli) -> None:
    """A wrong command line ends with exit code 2."""
    result = cli("check", "--colour")
    assert result.exit_code == 2
    assert "--colour" in result.stderr


def test_an_error_is_one_line(cli: Cli) -> None:
    """What a person can mend is one line on stderr that says what to do, and exit code 1."""
    result = cli("check", "nowhere")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: there is no folder 'nowhere'")
    assert "palaver init DIR" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("how", ["flag before", "flag after", "variable"])
def test_debug_shows_the_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """--debug or PALAVER_DEBUG=1 shows where an error comes from."""
    arguments = ["check", "nowhere"]
    if how == "variable":
        monkeypatch.setenv("PALAVER_DEBUG", "1")
    else:
        arguments.insert(0 if how == "flag before" else 2, "--debug")
    result = cli(*arguments)
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "WorldError"
    assert result.stderr == ""


@pytest.fixture
def broken_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Adds a command `broken` that raises what it is told to."""

    def add(error: Exception) -> None:
        def fail() -> None:
            raise error

        command = click.Command("broken", callback=fail)
        monkeypatch.setattr(main, "_plugin_commands", {"broken": command})

    return add


def test_a_bug_says_so(cli: Cli, broken_command: Callable[[Exception], None]) -> None:
    """An error of Palaver's own is named as one, without a traceback unless asked for."""
    broken_command(KeyError("npc"))
    result = cli("broken")
    assert result.exit_code == 1
    assert "error in Palaver itself: KeyError: 'npc'" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_error_in_a_group_is_found(
    cli: Cli, broken_command: Callable[[Exception], None]
) -> None:
    """Of several errors at once, the one that a person can mend is told."""
    mend = palaver.PalaverError("put a persona there")
    broken_command(ExceptionGroup("", [ValueError("x"), ExceptionGroup("", [mend])]))
    assert cli("broken").stderr == "error: put a persona there\n"


def test_the_code_of_an_error_in_a_plugins_command_is_kept(
    cli: Cli, broken_command: Callable[[Exception], None]
) -> None:
    """Click's own errors keep their exit code."""
    broken_command(click.UsageError("no"))
    assert cli("broken").exit_code == 2


def install(folder: Path, name: str, code: str) -> None:
    """Install a distribution with a plugin into a folder of `PYTHONPATH`."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[palaver]\n{name} = {name}\n")
    (folder / f"{name}.py").write_text(code)


def palaver_with(folder: Path, environ: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run `palaver` with the distributions in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "palaver", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**environ, "PYTHONPATH": str(folder)},
    )
    return done.returncode, done.stdout, done.stderr


PLUGIN = """
import click
from palaver import hookimpl

@hookimpl
def palaver_register_commands(register):
    register(click.Command("hello", callback=lambda: click.echo("Hello."), help="Say hello."))
    register(click.Command("check", callback=lambda: click.echo("Mine."), help="Take over."))
"""


def test_plugins_add_commands(tmp_path: Path, cli_environ: dict[str, str]) -> None:
    """A plugin's command is listed and runs; a name of the core's cannot be taken."""
    install(tmp_path / "site", "hello_plugin", PLUGIN)
    environ = {**cli_environ, "PALAVER_PLUGINS": "hello_plugin"}
    code, out, err = palaver_with(tmp_path / "site", environ, "--help")
    assert code == 0
    assert "hello" in out.partition("From plugins:")[2]
    assert "'check' is left out" in err
    assert palaver_with(tmp_path / "site", environ, "hello")[:2] == (0, "Hello.\n")


def test_a_plugin_that_fails_harms_no_command(tmp_path: Path, cli_environ: dict[str, str]) -> None:
    """A plugin that cannot be imported is named on stderr, and everything else works."""
    install(tmp_path / "site", "bad_plugin", "import nonsense_that_is_not_there")
    environ = {**cli_environ, "PALAVER_PLUGINS": "bad_plugin"}
    code, out, err = palaver_with(tmp_path / "site", environ, "--help")
    assert (code, "chat" in out) == (0, True)
    assert "bad_plugin" in err


def test_limits_on_plugins_hold_for_commands(tmp_path: Path, cli_environ: dict[str, str]) -> None:
    """PALAVER_PLUGINS limits commands, too; the names are those of the plugin manager."""
    install(tmp_path / "site", "hello_plugin", PLUGIN)
    environ = {**cli_environ, "PALAVER_PLUGINS": "other"}
    assert palaver_with(tmp_path / "site", environ, "hello")[0] == 2
    assert (from_plugins.GROUP, from_plugins.ONLY) == (plugins.GROUP, plugins.ONLY)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_that_leaves_is_no_error(cli_environ: dict[str, str]) -> None:
    """`palaver ... | head -1` ends quietly."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "palaver", "--help"], stdout=write, stderr=subprocess.PIPE
    )
    os.close(read)
    os.close(write)
    _, err = process.communicate(timeout=100)
    assert b"Traceback" not in err
