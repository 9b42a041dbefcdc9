"""Authored lines: what an NPC says when no model answers.

A CSV in the world's `lines` folder with the columns `id,text,intent,mood,when,lang`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palaver.errors import LinesError, TemplateError
from palaver.hints import did_you_mean, listed
from palaver.prompt.library import read_text
from palaver.world.conditions import compile_condition

__all__ = ["COLUMNS", "INTENTS", "PURPOSES", "Line", "read_lines"]

MAX_LINES_BYTES = 2_000_000
"""Largest file of lines, in bytes."""
MAX_LINES = 5_000
"""Most lines in one file."""
MAX_LINE_CHARS = 1_000
"""Longest line, in characters."""
_MAX_ERRORS = 20
_NEEDED = ("id", "text", "intent")
_LANG = re.compile(r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

COLUMNS = ("id", "text", "intent", "mood", "when", "lang")
INTENTS = (
    "greeting",
    "threat",
    "trade",
    "question",
    "quest",
    "farewell",
    "insult",
    "thanks",
    "silence",
)
"""What a player's utterance can be; a line may also say `any`, a turn also `other`."""
PURPOSES = ("filler", "closing")
"""Lines that answer nothing: they fill the wait for a slow model, or end one that broke off."""


@dataclass(frozen=True, slots=True)
class Line:
    """One authored line.

    Attributes:
        id: Unique in its file.
        text: What is said.
        intent: The utterance it answers, one of `INTENTS`, or `any`; or one of `PURPOSES`.
        mood: The NPC's mood it fits, or empty for every mood.
        when: Condition on facts that must hold, or None.
        lang: Its language, a BCP 47 tag.
        number: Line in the file, from 1.
    """

    id: str
    text: str
    intent: str
    mood: str
    when: Callable[[Mapping[str, Any]], bool] | None
    lang: str
    number: int


def read_lines(file: Path, *, folder: Path) -> tuple[list[Line], list[LinesError]]:
    """Read a CSV of authored lines.

    The first row names the columns: `id`, `text` and `intent` are needed, `mood`, `when` and
    `lang` may be left out. An empty `intent` means `any`, an empty `mood` every mood, an empty
    `when` always, an empty `lang` English.

    Args:
        file: The file.
        folder: The world's folder, in which it must lie.

    Returns:
        The lines that are right, and what is wrong with the others (20 errors at most).

    Raises:
        WorldError: The file cannot be read.
        LinesError: Its columns are not those that are needed.
    """
    text = read_text(file, inside=folder, max_bytes=MAX_LINES_BYTES)
    rows = _rows(text, file)
    first = next(rows, None)
    if first is None:
        raise LinesError(f"is empty; begin with the line `{','.join(COLUMNS)}`", file=file, line=1)
    columns = _columns(first[1], file)
    reader = _Reader(file, columns)
    try:
        for number, row in rows:
            reader.read(number, row)
            if len(reader.errors) >= _MAX_ERRORS or len(reader.lines) > MAX_LINES:
                break
    except LinesError as err:
        reader.errors.append(err)
    if len(reader.lines) > MAX_LINES:
        raise LinesError(f"has more than {MAX_LINES:,} lines; split it up", file=file)
    return reader.lines, reader.errors


def _rows(text: str, file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty with the number of its first line."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as err:
            raise LinesError(
                f"the quotes do not fit ({err}): put a text with commas or quotes between "
                'quotes, and write a quote inside as ""',
                file=file,
                line=number,
            ) from err
        if any(cell.strip() for cell in row):
            yield number, row


def _columns(row: list[str], file: Path) -> list[str]:
    columns = [cell.strip().lower() for cell in row]
    for column in columns:
        if column not in COLUMNS:
            hint = did_you_mean(column, COLUMNS)
            separator = "; separate the columns with commas" if ";" in column else hint
            raise LinesError(f"there is no column {column!r}{separator}", file=file, line=1)
        if columns.count(column) > 1:
            raise LinesError(f"the column {column!r} is there twice", file=file, line=1)
    missing = [column for column in _NEEDED if column not in columns]
    if missing:
        raise LinesError(
            f"the first line needs {listed(missing)}; write `{','.join(COLUMNS)}`",
            file=file,
            line=1,
        )
    return columns


class _Reader:
    """Turns rows into lines and collects what is wrong."""

    def __init__(self, file: Path, columns: Sequence[str]) -> None:
        self.file = file
        self.columns = columns
        self.lines: list[Line] = []
        self.errors: list[LinesError] = []
        self._ids: dict[str, int] = {}

    def read(self, number: int, row: list[str]) -> None:
        try:
            self.lines.append(self._line(number, row))
        except LinesError as err:
            self.errors.append(err)

    def _line(self, number: int, row: list[str]) -> Line:
        if len(row) > len(self.columns):
            raise self._wrong(
                number,
                f"has {len(row)} cells for {len(self.columns)} columns; put a text with commas "
                "between quotes",
            )
        cells = dict(zip(self.columns, (cell.strip() for cell in row), strict=False))
        id_, text = cells.get("id", ""), cells.get("text", "")
        if not id_:
            raise self._wrong(number, "has no id; give it one that no other line has")
        if id_ in self._ids:
            raise self._wrong(
                number, f"the id {id_!r} is that of line {self._ids[id_]}, too; give it another"
            )
        self._ids[id_] = number
        if not text:
            raise self._wrong(number, "has no text; write what is said")
        if len(text) > MAX_LINE_CHARS:
            raise self._wrong(
                number, f"has {len(text):,} characters; a line has at most {MAX_LINE_CHARS:,}"
            )
        if _CONTROL.search(text):
            raise self._wrong(number, "has a control character in it; type the text again")
        intent = cells.get("intent", "") or "any"
        known = (*INTENTS, *PURPOSES, "any")
        if intent not in known:
            hint = did_you_mean(intent, known, otherwise="it is one of")
            raise self._wrong(number, f"there is no intent {intent!r}{hint}")
        lang = cells.get("lang", "") or "en"
        if not _LANG.match(lang):
            raise self._wrong(number, f"{lang!r} is no language; write one such as `en` or `pt-BR`")
        when = cells.get("when", "")
        return Line(
            id_, text, intent, cells.get("mood", ""), self._when(when, number), lang, number
        )

    def _when(self, when: str, number: int) -> Callable[[Mapping[str, Any]], bool] | None:
        if not when:
            return None
        try:
            return compile_condition(when, file=self.file, line=number)
        except TemplateError as err:
            raise self._wrong(number, err.problem) from err

    def _wrong(self, number: int, problem: str) -> LinesError:
        return LinesError(problem, file=self.file, line=number)
