"""What commands print: plain text for pipes, colour for terminals, JSON for programs."""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "HeldLog",
    "console",
    "log_to_stderr",
    "milliseconds",
    "plain",
    "print_json",
    "safe",
    "send_log_to",
    "short_path",
    "table",
]

MAX_HELD = 1_000
"""Log lines that are held back at most."""
PIPE_WIDTH = 120
"""Width of tables where there is no terminal, in characters."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return the text without control characters.

    Names and replies come from others: they must not move the cursor or rename the window.
    """
    return _CONTROL.sub("", text)


def short_path(file: Path) -> Path:
    """Return the path as short as an editor can still open it from where one is."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


def safe(text: object) -> str:
    """Return what others wrote so that rich prints it as it is.

    Control characters go, and `[server]` is not taken for a style.
    """
    from rich.markup import escape

    return escape(plain(str(text)))


def console(*, err: bool = False) -> Console:
    """Return a console for stdout or stderr; it has no colour where that is no terminal."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, highlight=False, markup=True, emoji=False, width=width)


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table with these headings, in the one style all commands use."""
    from rich.table import Table

    made = Table(
        box=None,
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        pad_edge=False,
        padding=(0, 3, 0, 0),
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def print_json(data: Any, *, indent: int | None = 2) -> None:
    """Print JSON on stdout; on one line with `indent` None."""
    click.echo(json.dumps(data, indent=indent, ensure_ascii=False, default=str))


def milliseconds(value: float | None) -> str:
    """Return a duration as people read it: `0.3 ms`, `352 ms`, `2.1 s`."""
    if value is None:
        return "never"
    if value < 0.1:
        return "under 0.1 ms"
    if value < 10:
        return f"{value:.1f} ms"
    if value < 1000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s"


class _Lines(logging.Formatter):
    """One short line for people: time, level where it matters, message.

    Names and ids in a message come from others: what goes on after a line break is indented, so
    that nothing looks like an entry but what is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        # Split before control characters go: some of them are line breaks to somebody.
        return f"{moment} {level}" + "\n    ".join(map(plain, text.splitlines()))


class _Json(logging.Formatter):
    """One JSON object for programs."""

    def format(self, record: logging.LogRecord) -> str:
        data: dict[str, Any] = {
            "event": "log",
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            data["traceback"] = self.formatException(record.exc_info)
        return json.dumps(data)


class HeldLog(logging.handlers.MemoryHandler):
    """The log as JSON lines on stdout, held back until something else was printed there."""

    def __init__(self) -> None:
        target = logging.StreamHandler(sys.stdout)
        target.setFormatter(_Json())
        super().__init__(MAX_HELD, flushLevel=logging.CRITICAL + 1, target=target)

    def let_go(self, level: str) -> None:
        """Print what was held back, and everything from now on; safe to call twice.

        Args:
            level: As for `send_log_to`.
        """
        self.flush()
        if self.target is not None:
            send_log_to(self.target, level)


def log_to_stderr(level: str = "warning") -> None:
    """Send the log to stderr, in short lines.

    Args:
        level: `debug`, `info`, `warning`, `error` or `critical`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    send_log_to(handler, level)


def send_log_to(handler: logging.Handler, level: str = "warning") -> None:
    """Make one handler the only one.

    Args:
        handler: The handler.
        level: Least level of Palaver's own messages; others' are shown from `warning` on.
    """
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("palaver").setLevel(level.upper())
