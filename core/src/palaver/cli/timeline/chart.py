"""The bars of a timeline, on an axis of time."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from palaver.cli.output import milliseconds, plain
from palaver.cli.timeline.words import details, is_filler

if TYPE_CHECKING:
    from rich.text import Text

    from palaver.messages import TrailEntry
    from palaver.recent import TurnInfo

__all__ = ["ASCII", "Chart", "Glyphs"]

NAME = 14
"""Longest name of a backend that is shown whole, in columns."""
OUTCOME = 18
"""Columns behind the bars, for the outcome and its time."""
_COLOURS = {
    "served": "green",
    "filler": "blue",
    "failed": "red",
    "died": "red",
    "late": "yellow",
    "refused": "magenta",
    "objected": "magenta",
    "lost": "cyan",
    "skipped": "dim",
}
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What bars are drawn with; each is one column wide.

    Attributes:
        wait: Asked, and nothing came yet.
        speak: Text comes.
        first: The first text.
        end: The end of a reply that was spoken.
        gave_up: The end of one that was not.
        moment: Something that took no time.
        limit: By when something was due.
        tick: A tick of the axis.
        axis: The axis between two.
        queue: Waiting for the turns before it.
    """

    wait: str = "─"
    speak: str = "━"
    first: str = "●"
    end: str = "┫"
    gave_up: str = "╳"  # noqa: RUF001  # a cross among boxes, not a letter
    moment: str = "◆"
    limit: str = "┊"
    tick: str = "┬"
    axis: str = "─"
    queue: str = "░"


ASCII = Glyphs("-", "=", "o", "|", "x", "*", ":", "+", "-", ".")
"""For terminals that have nothing else."""


class Chart:
    """Lays out one turn.

    Args:
        info: The turn.
        width: Columns to fill.
        glyphs: What it is drawn with.
    """

    def __init__(self, info: TurnInfo, width: int, glyphs: Glyphs) -> None:
        self._info = info
        self._glyphs = glyphs
        self._width = width
        names = [entry.backend for entry in info.trail]
        self._name = min(NAME, max([len("shown"), *map(len, names)]))
        self._left = self._name + 2
        self._columns = width - self._left - 1 - OUTCOME
        moments = [entry.at_ms for entry in info.trail]
        self._end = max([info.total_ms, info.ttft_ms or 0, *moments, 0.1])
        self._limits: list[tuple[float, str]] = []
        if info.limits is not None:
            self._add_limit(info.limits.first_text_ms, "first words due")
            self._add_limit(info.limits.total_ms, "end due")
        self._guides = {self._at(at_ms) for at_ms, _ in self._limits}

    def _add_limit(self, at_ms: float, what: str) -> None:
        """Show a limit where that does not squeeze what happened into a corner."""
        if at_ms <= self._end * 1.6:
            self._limits.append((at_ms, what))
            self._end = max(self._end, at_ms)

    def _at(self, at_ms: float) -> int:
        """Return the column of a moment."""
        return min(self._columns - 1, max(0, round(at_ms / self._end * (self._columns - 1))))

    def rows(self) -> Iterator[Text]:
        """Yield the lines: the axis, a bar for each backend, what the player saw, the limits."""
        yield from self._axis()
        info, glyphs = self._info, self._glyphs
        if info.waited_ms:
            cells = self._cells()
            for column in range(self._at(info.waited_ms) + 1):
                cells[column] = (glyphs.queue, "dim")
            yield self._row("queued", cells, _short(info.waited_ms), "dim")
        for entry in sorted(info.trail, key=_begun):
            yield from self._entry(entry)
        if info.ttft_ms is not None:
            cells = self._cells()
            first, last = self._at(info.ttft_ms), self._at(info.total_ms)
            for column in range(first, last + 1):
                cells[column] = (glyphs.speak, "bold")
            cells[first] = (glyphs.first, "bold")
            yield self._row("shown", cells, f"from {_short(info.ttft_ms)}", "bold")
        for at_ms, what in self._limits:
            yield self._limit(at_ms, f"{what} {_short(at_ms)}")

    def _axis(self) -> Iterator[Text]:
        from rich.text import Text

        step = _step(self._end, max(2, self._columns // 11))
        labels = [" "] * (self._columns + OUTCOME)
        ruler = [self._glyphs.axis] * self._columns
        free = 0
        count = int(self._end / step + 1e-9)
        for number in range(count + 1):
            column = self._at(number * step)
            ruler[column] = self._glyphs.tick
            label = _label(number * step, step)
            if column >= free:
                labels[column : column + len(label)] = label
                free = column + len(label) + 1
        indent = " " * self._left
        yield Text(f"{indent}{''.join(labels).rstrip()}", style="dim")
        yield Text(f"{indent}{''.join(ruler)}", style="dim")

    def _entry(self, entry: TrailEntry) -> Iterator[Text]:
        glyphs = self._glyphs
        outcome = "filler" if is_filler(entry) else entry.outcome
        colour = _COLOURS.get(outcome, "")
        cells = self._cells()
        end = self._at(entry.at_ms)
        if entry.begun_ms is None:
            cells[end] = (glyphs.moment, colour)
        else:
            begun = self._at(entry.begun_ms)
            for column in range(begun, end + 1):
                cells[column] = (glyphs.wait, colour)
            if entry.first_ms is not None:
                first = self._at(entry.first_ms)
                for column in range(first, end + 1):
                    cells[column] = (glyphs.speak, colour)
            good = outcome == "served"
            cells[end] = (glyphs.end if good else glyphs.gave_up, colour)
            if entry.first_ms is not None and (good or first < end):
                # Of a reply that was there at once, that it came says more than that it ended.
                cells[first] = (glyphs.first, colour)
        yield self._row(entry.backend, cells, f"{outcome} {_short(entry.at_ms)}", colour)
        yield from self._notes(details(entry))

    def _notes(self, words: str) -> Iterator[Text]:
        from rich.text import Text

        indent = " " * (self._left + 1)
        for line in textwrap.wrap(plain(words), self._width - len(indent)):
            yield Text(f"{indent}{line}", style="dim")

    def _limit(self, at_ms: float, words: str) -> Text:
        from rich.text import Text

        column = self._at(at_ms)
        mark = self._glyphs.limit
        if column + len(words) + 2 <= self._width - self._left:
            line = f"{' ' * column}{mark} {words}"
        else:
            line = f"{words} {mark}".rjust(column + 1)
        return Text(f"{' ' * self._left}{line}", style="dim")

    def _cells(self) -> list[tuple[str, str]]:
        """Return an empty bar: nothing but where something was due."""
        return [
            (self._glyphs.limit, "dim") if column in self._guides else (" ", "")
            for column in range(self._columns)
        ]

    def _row(self, name: str, cells: list[tuple[str, str]], outcome: str, style: str) -> Text:
        from rich.text import Text

        name = plain(name)
        if len(name) > self._name:
            name = name[: self._name - 1] + "…"
        text = Text(f"{name:<{self._left}}")
        for colour, run in groupby(cells, key=lambda cell: cell[1]):
            text.append("".join(glyph for glyph, _ in run), style=colour or None)
        return text.append(f" {outcome}", style=style or None)


def _short(at_ms: float) -> str:
    """Return a moment in few letters."""
    return "0 ms" if at_ms < 0.1 else milliseconds(at_ms)


def _begun(entry: TrailEntry) -> float:
    return entry.at_ms if entry.begun_ms is None else entry.begun_ms


def _step(end_ms: float, ticks: int) -> float:
    """Return the distance of ticks: 1, 2 or 5 times a power of ten, at most so many of them."""
    power = 0.01
    while True:
        for factor in _STEPS:
            if end_ms / (power * factor) <= ticks:
                return power * factor
        power *= 10


def _label(at_ms: float, step: float) -> str:
    """Return a moment as the axis names it."""
    if at_ms == 0:
        return "0"
    if at_ms >= 1_000 or step >= 1_000:
        return f"{round(at_ms / 1_000, 3):g} s"
    return f"{round(at_ms, 2):g} ms"
