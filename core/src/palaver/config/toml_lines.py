"""Where in a TOML file a key stands; Python's reader tells only what, not where."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

__all__ = ["TomlLines", "toml_problem"]

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_PATH = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"^\s*(\[\[?)\s*({_PATH})\s*\]\]?\s*(?:#.*)?$")
_ENTRY = re.compile(rf"^\s*({_PATH})\s*=(.*)$")
_INLINE = re.compile(rf"(?:^|[{{,])\s*({_PATH})\s*=")
_PART = re.compile(_KEY)
_AT = re.compile(r"\(at line (\d+), column (\d+)\)")
Where = tuple[str | int, ...]


class TomlLines:
    """Finds the line of a key.

    Args:
        text: The file; it need not be right.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Where, int] = {}
        table: Where = ()
        counts: dict[Where, int] = {}
        quotes = ""
        for number, line in enumerate(text.split("\n"), 1):
            if quotes:
                quotes = "" if line.count(quotes) % 2 else quotes
                continue
            if found := _TABLE.match(line):
                table = _parts(found[2])
                if found[1] == "[[":
                    at = counts[table] = counts.get(table, -1) + 1
                    table = (*table, at)
                self._add(table, number)
            elif found := _ENTRY.match(line):
                path = (*table, *_parts(found[1]))
                self._add(path, number)
                for inner in _INLINE.findall(_unquoted(found[2])):
                    self._add((*path, *_parts(inner)), number)
                quotes = _opened(found[2])

    def _add(self, path: Where, number: int) -> None:
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], number)

    def find(self, path: Sequence[str | int]) -> int | None:
        """Return the line of a key, or of the table it would stand in, or None."""
        where = tuple(path)
        while where:
            if where in self._lines:
                return self._lines[where]
            where = where[:-1]
        return None


def _parts(path: str) -> Where:
    return tuple(part.strip("\"'") for part in _PART.findall(path))


def _unquoted(value: str) -> str:
    return re.sub(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'", '""', value)


def _opened(value: str) -> str:
    """Return the quotes of a text of several lines that begins here, or nothing."""
    for quotes in ('"""', "'" * 3):
        if value.count(quotes) % 2:
            return quotes
    return ""


def toml_problem(err: tomllib.TOMLDecodeError, text: str) -> tuple[str, int | None]:
    """Return what is wrong with a file that is no TOML, in words for a person, and its line."""
    message = str(err)
    found = _AT.search(message)
    line = (
        int(found[1]) if found else text.count("\n") + 1 if "end of document" in message else None
    )
    problem = _AT.sub("", message).replace("(at end of document)", "").strip()
    written = text.split("\n")[line - 1].strip() if line else ""
    hint = ""
    if re.search(r"=\s*[A-Za-z][^\"'\[\]{}#]*$", written) and "Invalid value" in problem:
        hint = "; put texts in quotes"
    elif "after a key" in problem or "'='" in problem:
        hint = "; write `name = value`"
    return f"this is not TOML: {problem}{hint}", line
