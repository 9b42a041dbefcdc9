"""Timelines on standard output, as wide and as colourful as that can take."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, TextIO

import click

from palaver.cli.timeline import PIPE_WIDTH, legend, render
from palaver.cli.timeline.chart import ASCII, Glyphs

if TYPE_CHECKING:
    from palaver.recent import TurnInfo

__all__ = ["glyphs_for", "show"]


def glyphs_for(stream: TextIO) -> Glyphs:
    """Return what a stream can write: Unicode's boxes, or plain letters."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        "".join(astuple(Glyphs())).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return Glyphs()


def show(turns: Sequence[TurnInfo], stream: TextIO | None = None) -> None:
    """Print turns one below the other, and what the marks mean.

    Args:
        turns: The turns.
        stream: Where; standard output if None.
    """
    out = stream or sys.stdout
    terminal = out.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size().columns if terminal else PIPE_WIDTH
    glyphs = glyphs_for(out)
    for info in turns:
        text = render(info, width=width, colour=colour, glyphs=glyphs)
        click.echo(text, file=out, color=colour)
    click.echo(click.style(legend(glyphs), dim=True), file=out, color=colour)
