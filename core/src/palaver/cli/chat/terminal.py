"""Where a person types: line editing, history, completion, and notices above the prompt."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import platformdirs

from palaver.cli.chat.screen import Screen
from palaver.cli.output import plain

__all__ = ["Notices", "Terminal"]

HISTORY_LINES = 1_000
MAX_NOTICES = 100
"""Notices kept until there is a prompt to show them above; the oldest are dropped."""


def _readline() -> ModuleType | None:
    try:
        import readline
    except ImportError:  # Windows has none; its console edits lines by itself.
        return None
    return readline


class Terminal:
    """Asks for lines; without a terminal it reads them from stdin.

    Args:
        screen: Where everything else is written.
        complete: Returns what a beginning can be completed to.
    """

    def __init__(self, screen: Screen, complete: Callable[[str], Sequence[str]]) -> None:
        self._screen = screen
        self._prompt = ""
        self._asking = False
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._readline = _readline() if self.interactive else None
        self._history: Path | None = None
        if self._readline is not None:
            self._set_up(self._readline, complete)

    def _set_up(self, readline: ModuleType, complete: Callable[[str], Sequence[str]]) -> None:
        def completer(_text: str, state: int) -> str | None:
            found = complete(readline.get_line_buffer())
            return found[state] if state < len(found) else None

        readline.set_completer(completer)
        readline.set_completer_delims(" ")
        is_libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
        self._history = Path(platformdirs.user_state_dir("palaver")) / "chat_history"
        try:
            readline.read_history_file(self._history)
        except (OSError, ValueError):
            readline.clear_history()

    def ask(self, prompt: str, *styles: str) -> str | None:
        """Return a line, or None where there are no more.

        Raises:
            KeyboardInterrupt: Ctrl-C.
        """
        if not self.interactive:
            line = sys.stdin.readline()
            return line.rstrip("\n") if line else None
        self._prompt = self._screen.styled(prompt, *styles)
        if self._readline is not None and styles and self._screen.colour:
            # Tells readline what takes no room, or it miscounts and overwrites the line.
            escape, _, rest = self._prompt.partition(prompt)
            shown = f"\x01{escape}\x02{prompt}\x01{rest}\x02"
        else:
            shown = self._prompt
        with self._lock:
            self._show_waiting()
            self._asking = True
        try:
            return input(shown)
        except EOFError:
            self._screen.line()
            return None
        finally:
            with self._lock:
                self._asking = False

    def notice(self, text: str) -> None:
        """Show a line above the prompt; may be called from any thread."""
        with self._lock:
            self._waiting.append(plain(text))
            del self._waiting[:-MAX_NOTICES]
            if not self._asking:
                return
            typed = self._readline.get_line_buffer() if self._readline is not None else ""
            self._screen.raw("\r\x1b[K" if self._screen.colour else "\n")
            self._show_waiting()
            self._screen.raw(self._prompt + typed)

    def _show_waiting(self) -> None:
        for text in self._waiting:
            self._screen.line(text, "yellow")
        self._waiting.clear()

    def close(self) -> None:
        """Keep the history for the next time."""
        if self._readline is None or self._history is None:
            return
        try:
            self._history.parent.mkdir(parents=True, exist_ok=True)
            self._readline.set_history_length(HISTORY_LINES)
            self._readline.write_history_file(self._history)
            self._history.chmod(0o600)
        except OSError:
            pass  # A history that cannot be kept is no reason to complain at the end of a chat.


class Notices(logging.Handler):
    """Shows the log above the prompt.

    Args:
        terminal: Where.
    """

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        try:
            self._terminal.notice(record.getMessage())
        except Exception:
            self.handleError(record)
