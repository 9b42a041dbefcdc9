"""Reading the transcripts of `tests/wire`: stories of what clients and servers say to each other.

The format is described beside them. Nothing here opens a connection, so a client in any language
can have its own player and use the same files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Line", "Transcript", "fill", "load", "matches"]

_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        number: Its number in the file, from 1.
        side: `c` client, `s` server, `t` test.
        connection: Name of the connection.
        action: What is done: `msg`, `raw`, `binary`, `cut`, `close` or `release`.
        value: With what.
        bad: Whether the message breaks the protocol on purpose.
    """

    number: int
    side: Literal["c", "s", "t"]
    connection: str
    action: str
    value: Any
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Transcript:
    """One story.

    Attributes:
        name: The file's name without its ending.
        about: The rule that is shown.
        settings: Settings by dotted key that differ from the defaults.
        replies: What the model says, each time it is asked.
        lines: What happens, in order.
    """

    name: str
    about: str
    settings: dict[str, Any]
    replies: list[list[Any]]
    lines: list[Line] = field(default_factory=list)


def load(path: Path) -> Transcript:
    """Read a transcript.

    Raises:
        ValueError: A line is not of the format.
    """
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    head = raw[0]
    transcript = Transcript(path.stem, head["about"], head["settings"], head["replies"])
    for number, line in enumerate(raw[1:], 2):
        side, connection = line.pop("dir"), line.pop("conn", "a")
        bad = line.pop("bad", False)
        if len(line) != 1 or side not in ("c", "s", "t"):
            raise ValueError(f"{path}:{number}: give `dir` and one thing that happens")
        [(action, value)] = line.items()
        transcript.lines.append(Line(number, side, connection, action, value, bad))
    return transcript


def fill(value: Any, kept: Mapping[str, Any]) -> Any:
    """Return a value with `$kept` and `$repeat` written out.

    Args:
        value: What stands in the transcript.
        kept: Values by the name they were kept under.
    """
    if isinstance(value, list):
        return [fill(item, kept) for item in value]
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), None):
        case ("$kept", str(name)) if name in kept:
            return kept[name]
        case ("$repeat", [str(text), int(times)]):
            return text * times
    return {key: fill(item, kept) for key, item in value.items()}


def matches(expected: Any, got: Any, kept: dict[str, Any]) -> bool:
    """Return whether a value is what the transcript expects, and keep what it binds.

    Args:
        expected: What stands in the transcript; an object needs at least its fields.
        got: What came.
        kept: Values by name; `$keep` adds to them.
    """
    if not isinstance(expected, dict):
        if isinstance(expected, list):
            return (
                isinstance(got, list)
                and len(got) == len(expected)
                and all(matches(e, g, kept) for e, g in zip(expected, got, strict=True))
            )
        return bool(expected == got)
    match next(iter(expected.items()), None):
        case ("$any", str(kind)):
            is_flag = isinstance(got, bool)
            return isinstance(got, _KINDS[kind]) and (not is_flag or kind == "boolean")
        case ("$keep", str(name)):
            kept[name] = got
            return True
        case ("$kept", str(name)):
            return bool(kept[name] == got)
        case ("$repeat", [str(text), int(times)]):
            return bool(got == text * times)
    return isinstance(got, dict) and all(
        key not in got
        if isinstance(item, dict) and "$absent" in item
        else key in got and matches(item, got[key], kept)
        for key, item in expected.items()
    )
