"""A turn's trail as a small timeline in the terminal: who was asked when, and who spoke."""

from __future__ import annotations

import io
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from palaver.cli.output import milliseconds, plain
from palaver.cli.timeline.chart import Chart, Glyphs
from palaver.cli.timeline.words import figures, story

if TYPE_CHECKING:
    from rich.text import Text

    from palaver.recent import TurnInfo

__all__ = ["MAX_WIDTH", "PIPE_WIDTH", "legend", "render", "timeline"]

PIPE_WIDTH = 80
"""Columns where there is no terminal."""
MIN_WIDTH = 60
"""Columns that it takes; a narrower terminal breaks the lines."""
MAX_WIDTH = 120
"""Columns that are used at most, however wide the terminal is."""


def timeline(info: TurnInfo, *, width: int = PIPE_WIDTH, glyphs: Glyphs | None = None) -> Text:
    """Return a turn as lines of text.

    Args:
        info: The turn.
        width: Columns to fill.
        glyphs: What it is drawn with; None takes Unicode.
    """
    from rich.text import Text

    chart = Chart(info, _fit(width), glyphs or Glyphs())
    text = Text(no_wrap=False)
    for line in (_head(info), _plain_line(story(info), "bold"), _plain_line(figures(info))):
        text.append_text(line).append("\n")
    if info.cache:
        text.append_text(_plain_line(f"cache: {info.cache}", "dim")).append("\n")
    if info.game_ms:
        waited = f"the game took {milliseconds(info.game_ms)} to answer what was done"
        text.append_text(_plain_line(waited, "dim")).append("\n")
    for row in chart.rows():
        text.append_text(row).append("\n")
    text.rstrip()
    return text


def legend(glyphs: Glyphs | None = None) -> str:
    """Return what the marks mean, on one line."""
    g = glyphs or Glyphs()
    return (
        f"{g.wait} asked   {g.first}{g.speak} text came   {g.end} done   {g.gave_up} gave up   "
        f"{g.moment} at once   {g.limit} due"
    )


def render(info: TurnInfo, *, width: int, colour: bool, glyphs: Glyphs | None = None) -> str:
    """Return a turn as it is written to a terminal.

    Args:
        info: The turn.
        width: Columns to fill.
        colour: Whether colours are used.
        glyphs: What it is drawn with; None takes Unicode.
    """
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out,
        width=_fit(width),
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
    )
    console.print(timeline(info, width=width, glyphs=glyphs))
    return out.getvalue()


def _fit(width: int) -> int:
    return min(max(width, MIN_WIDTH), MAX_WIDTH)


def _head(info: TurnInfo) -> Text:
    from rich.text import Text

    parts = [
        (name, value)
        for name, value in (
            ("npc", info.npc),
            ("player", info.player),
            ("tier", info.tier),
            ("game", info.game if info.game != "default" else None),
        )
        if value
    ]
    if info.persona and info.persona != info.npc:
        parts.insert(1, ("as", info.persona))
    text = Text(f"turn {plain(info.turn)}", style="bold")
    for name, value in parts:
        text.append(f" · {name} ", style="dim").append(plain(value), style="not bold")
    if info.at is not None:
        # A file may hold a year that no clock has.
        with suppress(OverflowError, ValueError, OSError):
            moment = time.strftime(" · %H:%M:%S", time.localtime(info.at))
            text.append(moment, style="dim not bold")
    return text


def _plain_line(words: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(plain(words), style=style)
