"""What the log looks like for people."""

from __future__ import annotations

import logging
import sys

import pytest

from palaver.cli.output import _Lines


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x85", "\v"])
def test_nobody_writes_an_entry_of_the_log(end: str) -> None:
    """A name or an id with line breaks cannot look like an entry, nor can an exception's text."""
    forged = f"t1{end}12:00:00 error: all is lost\x1b[2J"
    try:
        raise ValueError(forged)
    except ValueError:
        about = sys.exc_info()
    record = logging.LogRecord("palaver", 40, "x.py", 1, "turn %s failed", (forged,), about)
    first, *others = _Lines().format(record).splitlines()
    assert "failed" in first or "turn t1" in first
    assert all(line.startswith("    ") for line in others)
    assert "\x1b" not in first + "".join(others)
