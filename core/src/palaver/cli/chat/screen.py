"""How a reply looks: words as they come, wrapped at the edge, and the trail as one dim line."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO

import click

from palaver.cli.output import milliseconds, plain

if TYPE_CHECKING:
    from palaver.messages import TurnDone

__all__ = ["COLOURS", "Screen", "screen", "trail_line"]

_WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60"
    "\uffe0-\uffe6\U00020000-\U0003fffd"
)
"""Letters of scripts without spaces: each is a word of its own, two columns wide."""
_PIECES = re.compile(rf"\s+|[{_WIDE}]|[^\s{_WIDE}]+")
REASON_CHARS = 70
"""Longest reason in a trail line."""
COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_CODES = {
    "bold": "1",
    "dim": "2",
    "italic": "3",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
WIDEST = 100
"""Longest line of speech, in characters, however wide the terminal is."""


def trail_line(done: TurnDone) -> str:
    """Return who was asked, what became of each, and when the first words were there."""
    steps = []
    for entry in done.trail:
        step = f"{entry.backend} {entry.outcome} {milliseconds(entry.at_ms)}"
        served_by = done.served_by
        if entry.outcome == "served" and served_by.backend == entry.backend:
            name = served_by.adapter or served_by.model
            if name:
                step = f"{entry.backend} ({name}) served {milliseconds(entry.at_ms)}"
        if entry.reason and entry.outcome != "late":
            reason = plain(" ".join(entry.reason.split()))
            if len(reason) > REASON_CHARS:
                reason = reason[: REASON_CHARS - 1] + "…"
            step += f" ({reason})"
        steps.append(step)
    parts = [" → ".join(steps)] if steps else []
    if done.ttft_ms is not None:
        parts.append(f"first words {milliseconds(done.ttft_ms)}")
    if done.usage.completion_tokens:
        parts.append(f"{done.usage.completion_tokens} tokens")
    if done.status != "completed":
        parts.append(done.status)
    return " · ".join(parts)


class Screen:
    """Writes to a terminal, or plain text where it is none.

    Args:
        out: Where to write.
        colour: Whether colours and styles are used.
        width: Characters in a line, or None where lines are not wrapped.
    """

    def __init__(self, out: TextIO, *, colour: bool, width: int | None) -> None:
        self._out = out
        self.colour = colour
        self._width = width if width is None else min(width, WIDEST)
        self._column = 0
        self._space = ""
        self._word = ""

    @property
    def stream(self) -> TextIO:
        """Where it writes."""
        return self._out

    @property
    def width(self) -> int | None:
        """Characters in a line, or None where lines are not wrapped."""
        return self._width

    def styled(self, text: str, *styles: str) -> str:
        """Return the text with styles, where they are used."""
        if not self.colour or not styles:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def line(self, text: str = "", *styles: str) -> None:
        """Write a whole line."""
        self._write(self.styled(text, *styles) + "\n")

    def raw(self, text: str) -> None:
        """Write text as it is, without an end of line."""
        self._write(text)

    def name(self, name: str, colour: str) -> None:
        """Begin a reply with the name of who speaks."""
        name = plain(name)
        self._write(self.styled(name, "bold", colour) + ":")
        self._column = _columns(name) + 1
        self._space = " "

    def aside(self, text: str) -> None:
        """Write what is not said, such as an emotion or an action, among what is."""
        self._flush_word()
        if self._column and not self._space:
            self._space = " "
        for word in plain(text).split():
            self._put(word, "dim", "italic")
            self._space = " "

    def say(self, text: str) -> None:
        """Write what is said; a word is shown when it is whole."""
        for piece in _PIECES.findall(plain(text)):
            if piece[0].isspace():
                self._flush_word()
                if self._column or not self._width:
                    self._space = "\n" if "\n" in piece else (self._space or " ")
            else:
                wide = _columns(piece[0]) == 2
                if wide:
                    self._flush_word()
                self._word += piece
                if wide or self._width is None or len(self._word) > self._width // 2:
                    self._flush_word()

    def end(self) -> None:
        """End the reply's line."""
        self._flush_word()
        self._space = ""
        self._column = 0
        self._write("\n")

    def _flush_word(self) -> None:
        if self._word:
            self._put(self._word)
            self._word = ""

    def _put(self, word: str, *styles: str) -> None:
        space, self._space = self._space, ""
        if space == "\n":
            self._new_line()
        elif self._width and self._column + len(space) + _columns(word) > self._width:
            self._new_line()
        else:
            self._column += len(space)
            self._write(space)
        self._column += _columns(word)
        self._write(self.styled(word, *styles))

    def _new_line(self) -> None:
        indent = "" if self._width is None else "  "
        self._column = len(indent)
        self._write("\n" + indent)

    def _write(self, text: str) -> None:
        # click's echo knows how consoles of all systems take colours, and flushes.
        if text:
            click.echo(text, file=self._out, nl=False, color=self.colour)


def _columns(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    return len(text) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)


def screen(stream: TextIO | None = None) -> Screen:
    """Return a screen for stdout, or for the stream that is given."""
    out = stream or sys.stdout
    if not out.isatty():
        return Screen(out, colour=False, width=None)
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Screen(out, colour=colour, width=shutil.get_terminal_size().columns - 1)
