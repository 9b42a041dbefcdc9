"""The part of JSON Schema in which engines declare the arguments of actions.

A whole JSON Schema may refer to itself, hold patterns that never finish, and combine parts so that
checking a few words takes minutes. So this names what may be used, and bounds how much of it. It
is checked here and not against JSON Schema's own schema, which takes forty milliseconds for a
declaration of ordinary size: other players would wait that long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from palaver.hints import did_you_mean

__all__ = ["KEYWORDS", "MAX_DEPTH", "MAX_SCHEMAS", "schema_problem"]

MAX_SCHEMAS = 200
"""Most schemas in one, itself among them."""
MAX_DEPTH = 8
"""How deep they may be nested."""
MAX_CHOICES = 2
"""How many of the levels may be `anyOf` or `oneOf`."""
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _anything(value: Any) -> bool:
    return True


_COUNT = (_is_count, "a whole number from 0")
_NUMBER = (_is_number, "a number")
_TEXT = (_is_text, "a text")
_PLAIN: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, f"one of {', '.join(_TYPES)}, or a list of them"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list of values"),
    "const": (_anything, ""),
    "required": (_is_names, "a list of names"),
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "minProperties": _COUNT,
    "maxProperties": _COUNT,
    "uniqueItems": (lambda value: isinstance(value, bool), "true or false"),
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _NUMBER,
    "exclusiveMaximum": _NUMBER,
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    # Not checked, but read by the model or by people.
    "title": _TEXT,
    "description": _TEXT,
    "format": _TEXT,
    "default": (_anything, ""),
    "examples": (lambda value: isinstance(value, list), "a list of values"),
    "$schema": _TEXT,
    "$comment": _TEXT,
}
_INNER = ("properties", "items", "additionalProperties", "anyOf", "oneOf")
KEYWORDS = (*_PLAIN, *_INNER)
"""What a schema may say."""


def schema_problem(schema: dict[str, Any]) -> str | None:
    """Return why a schema cannot be used, or None if it can.

    Args:
        schema: The schema of an action's arguments.
    """
    waiting: list[tuple[Any, str, int, int]] = [(schema, "", 1, 0)]
    count = 0
    while waiting:
        one, where, depth, choices = waiting.pop()
        count += 1
        if count > MAX_SCHEMAS:
            return f"more than {MAX_SCHEMAS} schemas in one; describe less, or split the action"
        if depth > MAX_DEPTH or choices > MAX_CHOICES:
            return f"`{where}` is nested too deeply; use simpler arguments"
        if isinstance(one, bool) and where:
            continue
        if not isinstance(one, dict):
            return f"{f'`{where}`' if where else 'it'} is no schema; write an object"
        for key, value in one.items():
            here = f"{where}.{key}" if where else key
            if key in _PLAIN:
                fits, wanted = _PLAIN[key]
                if not fits(value):
                    return f"`{here}` must be {wanted}"
                continue
            if key not in _INNER:
                hint = did_you_mean(key, KEYWORDS, otherwise="write the schema without it; it has")
                return f"`{here[:100]}` is not allowed{hint}"
            inner = _inner(key, value)
            if inner is None:
                return f"`{here}` must be {_WANTED.get(key, 'a schema')}"
            chosen = choices + (key in ("anyOf", "oneOf"))
            waiting.extend((item, f"{here}.{name}", depth + 1, chosen) for name, item in inner)
    return None


_WANTED = {
    "properties": "an object of schemas",
    "anyOf": "a list of schemas",
    "oneOf": "a list of schemas",
}


def _inner(key: str, value: Any) -> list[tuple[str, Any]] | None:
    """Return the schemas that a keyword holds by their names, or None if it holds none."""
    if key == "properties":
        return list(value.items()) if isinstance(value, dict) else None
    if key in ("anyOf", "oneOf"):
        if not isinstance(value, list) or not value:
            return None
        return [(str(index), item) for index, item in enumerate(value)]
    return [(key, value)] if isinstance(value, dict | bool) else None
