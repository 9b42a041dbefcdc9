"""`palaver` itself: finds commands, imports none that is not called, and translates errors.

Every error a person can mend becomes one line on stderr and exit code 1; a wrong command line is
exit code 2, Ctrl-C 130. The traceback is shown with `--debug` or `PALAVER_DEBUG=1`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import click

from palaver._version import __version__

__all__ = ["COMMANDS", "Palaver", "main"]

COMMANDS: dict[str, dict[str, str]] = {
    "Talk": {
        "chat": "Talk to an NPC in the terminal.",
        "serve": "Serve a world to game engines.",
    },
    "Write": {
        "init": "Make a small world of your own.",
        "check": "Find everything that is wrong with a world.",
        "render": "Show the exact prompt of a persona.",
        "trust": "Let a world run its plugins and use its addresses and keys.",
    },
    "Look": {
        "doctor": "Test every backend of a world for real.",
        "explain": "Show who answered a turn, when and why.",
        "plugins": "List the plugins that are loaded.",
        "bench": "Measure how fast turns are.",
        "cost": "Say what players would cost, or did today.",
    },
}
"""The commands by section with their short help, so that `palaver --help` imports none of them;
each is `command` in the module of its name."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""


class Palaver(click.Group):
    """The group of all commands: the core's own, and those of plugins."""

    _plugin_commands: dict[str, click.Command] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, the core's own first."""
        return [*_own(), *sorted(self._from_plugins())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None if there is none of that name."""
        if cmd_name in _own():
            command = import_module(f"palaver.cli.{cmd_name}").command
            assert isinstance(command, click.Command)
            return command
        return self._from_plugins().get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called.

        Raises:
            click.UsageError: There is none; the message names the nearest one.
        """
        name = args[0]
        found = self.get_command(ctx, name)
        if found is None and not name.startswith("-"):
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " `palaver --help` lists them all."
            raise click.UsageError(f"There is no command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in sections."""
        sections = dict(COMMANDS)
        more = self._from_plugins()
        if more:
            sections["From plugins"] = {
                name: more[name].get_short_help_str(60)
                for name in sorted(more)
                if not more[name].hidden
            }
        width = max(len(name) for names in sections.values() for name in names)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows.items()])

    def _from_plugins(self) -> dict[str, click.Command]:
        if self._plugin_commands is None:
            from palaver.cli.from_plugins import plugin_commands

            self._plugin_commands = plugin_commands(_own())
        return self._plugin_commands

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and end the process, with an exit code that says how it went."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        for stream in (sys.stdout, sys.stderr):
            # A console that cannot write a character shows a question mark instead of failing.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        words = sys.argv[1:] if args is None else args
        debug = "--debug" in words or os.environ.get("PALAVER_DEBUG", "") not in ("", "0")
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
        except Exception as err:
            if debug and not isinstance(err, click.UsageError | click.Abort):
                raise
            _fail(err)
        sys.exit(code if isinstance(code, int) else 0)


def _own() -> list[str]:
    return [name for names in COMMANDS.values() for name in names]


def _fail(err: Exception) -> NoReturn:
    """Say what went wrong in one line, and end."""
    if isinstance(err, click.Abort):
        sys.exit(INTERRUPTED)
    if isinstance(err, click.ClickException):
        err.show()
        sys.exit(err.exit_code)
    from palaver.errors import PalaverError, ServerError

    if isinstance(err, ExceptionGroup):
        err = _first(err)
    if isinstance(err, ServerError):
        text = err.message
    elif isinstance(err, PalaverError):
        text = str(err)
    else:
        text = (
            f"an error in Palaver itself: {type(err).__name__}: {err}\n"
            "Run it again with --debug for all of it, and please report that."
        )
    click.echo(f"{click.style('error:', fg='red', bold=True)} {text}", err=True, color=_colour())
    sys.exit(1)


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Return what a person can mend, if there is any in it."""
    from palaver.errors import PalaverError

    leaves: list[Exception] = []
    waiting: list[Exception] = [group]
    while waiting:
        err = waiting.pop(0)
        if isinstance(err, ExceptionGroup):
            waiting.extend(err.exceptions)
        else:
            leaves.append(err)
    return next((err for err in leaves if isinstance(err, PalaverError)), leaves[0])


def _colour() -> bool | None:
    """Return False where colour is not wanted, else None: whatever the terminal can do."""
    return False if os.environ.get("NO_COLOR") else None


@click.command(
    cls=Palaver,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="WORLD is a folder or the name of an example world; without it, the folder you are "
    "in, or the example. Begin with `palaver chat`.",
)
@click.version_option(__version__, "-V", "--version", message="palaver %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Palaver gives the characters of a game a voice."""
