"""JSON as the engine writes it, made into what was meant.

`core.write_json` makes `20.0` of 20, `null` of an empty table, which may have been a list or an
object, and `1e+9999` of infinity.
"""

from __future__ import annotations

import json
from typing import Any

from palaver.errors import ProtocolError

__all__ = ["MOST_DEPTH", "message_of", "read_json"]

MOST_DEPTH = 32
"""Objects and lists in one another; the engine's own JSON writer stops at 20."""

_EMPTY: dict[str, Any] = {
    "actions": [],
    "audience": [],
    "capabilities": [],
    "set": {},
    "unset": [],
}
"""Fields of messages that are tables, and what is meant where they are empty."""


def read_json(raw: bytes) -> Any:
    """Return the value of a body.

    Raises:
        ProtocolError: It is no JSON, or nested too deep.
    """
    try:
        # Bytes that are no text are a player's: they shall not cost the others their turns.
        text = raw.decode("utf-8", "replace") or "null"
        data = json.loads(text, strict=False, parse_float=_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as err:
        raise ProtocolError(
            "bad_message", f"the body is not JSON ({err}); send data = core.write_json({{...}})"
        ) from err
    _check_depth(data, MOST_DEPTH)
    return data


def message_of(data: dict[str, Any]) -> dict[str, Any]:
    """Return a message with what its nulls stand for: the mod meant empty tables, or nothing.

    Args:
        data: The message; of what it holds nothing is changed.
    """
    message: dict[str, Any] = {}
    for key, value in data.items():
        if value is None:
            if key in _EMPTY:
                message[key] = _EMPTY[key]
        elif key in ("set", "facts"):
            message[key] = _lists(value)
        elif key == "actions" and isinstance(value, list):
            message[key] = [_schema(action, "") for action in value]
        else:
            message[key] = value
    return message


def _number(text: str) -> int | float:
    # Whole numbers beyond 2**53 were rounded by Lua; there is no use in all their digits.
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text[:20]} is too large a number")
    return int(value) if value.is_integer() else value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return
    if not left:
        raise ProtocolError(
            "bad_message", f"the body is nested more than {MOST_DEPTH} deep; send flatter tables"
        )
    for one in value:
        _check_depth(one, left - 1)


def _lists(value: Any) -> Any:
    """Facts: an empty table is an empty list, over which a template can go as over a full one."""
    if value is None:
        return []
    if isinstance(value, dict):
        return {key: _lists(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_lists(one) for one in value]
    return value


def _schema(value: Any, key: str) -> Any:
    """Actions: an empty object is left out, unless it is the schema of a property."""
    if isinstance(value, dict):
        named = key == "properties"
        return {
            name: {} if one is None else _schema(one, name)
            for name, one in value.items()
            if one is not None or named
        }
    if isinstance(value, list):
        return [_schema(one, "") for one in value]
    return value
