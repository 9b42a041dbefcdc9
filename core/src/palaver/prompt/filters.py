"""The filters that templates may use: a closed list, each bounded by what it makes.

They mean what Jinja's of the same name mean. Left out on purpose: `attr` and `format` (they reach
into objects and build texts of any length), `center`, `wordwrap`, `xmlattr`, `urlize` and the like
(for pages, not prompts), `random` (a prompt must not change by itself, or no cache works).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Undefined
from jinja2.filters import do_title

from palaver.prompt.bounds import Refused, kind, plain, room, sized, weigh, written
from palaver.prompt.list_filters import LIST_FILTERS
from palaver.prompt.methods import replace

__all__ = ["FILTERS"]

_WORD = re.compile(r"\w+")
_MAX_PRECISION = 15
_MAX_INDENT = 40


def _textual(change: Callable[[str], str]) -> Callable[[Any], str]:
    def apply(value: Any) -> str:
        text = written(value)
        room(len(text))
        return sized(change(text))

    return apply


def _number(value: Any, name: str) -> Any:
    if not isinstance(value, int | float):
        raise Refused(f"`{name}` needs a number, not {kind(value)}; put `int` before it")
    return value


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if not isinstance(value, int) or not low <= value <= high:
        raise Refused(f"`{name}` must be a whole number from {low} to {high}")
    return value


def _abs(value: Any) -> Any:
    return value if isinstance(value, Undefined) else abs(_number(value, "abs"))


def _round(value: Any, precision: int = 0, method: str = "common") -> Any:
    if isinstance(value, Undefined):
        return value
    _number(value, "round")
    _whole(precision, "precision", -_MAX_PRECISION, _MAX_PRECISION)
    if method not in ("common", "ceil", "floor"):
        raise Refused("the method of `round` is `common`, `ceil` or `floor`")
    if isinstance(value, float) and not math.isfinite(value):
        return value
    if method == "common":
        return round(value, precision)
    change = math.ceil if method == "ceil" else math.floor
    return change(value * 10**precision) / 10**precision


def _int(value: Any, default: Any = 0, base: int = 10) -> Any:
    _whole(base, "base", 2, 36)
    if isinstance(value, Undefined) or (isinstance(value, str) and len(value) > 200):
        return default
    try:
        return plain(int(value, base) if isinstance(value, str) else int(value))
    except (TypeError, ValueError, OverflowError, Refused):
        number = _float(value, math.nan)  # "42.5" is 42
    return int(number) if abs(number) < 2.0**256 else default


def _float(value: Any, default: Any = 0.0) -> Any:
    if isinstance(value, Undefined) or (isinstance(value, str) and len(value) > 200):
        return default
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if isinstance(value, Undefined) or (boolean and not value) else value


def _length(values: Any) -> int:
    if values is None or isinstance(values, Undefined):
        return 0
    if not isinstance(values, str | list | tuple | Mapping):
        raise Refused(f"{kind(values)} has no length; use a text or a list")
    return len(values)


def _tojson(value: Any, indent: Any = None) -> str:
    if indent is not None:
        _whole(indent, "indent", 0, 8)
    weight = weigh(value)
    room(2 * weight if indent is None else weight * (2 + indent))
    try:
        text = json.dumps(
            value, ensure_ascii=False, indent=indent, sort_keys=True, default=lambda missing: None
        )
    except TypeError:
        raise Refused("`tojson` needs keys that are all texts") from None
    return sized(text)


def _truncate(
    value: Any, length: Any = 255, killwords: Any = False, end: Any = "...", leeway: Any = 5
) -> str:
    text, end = written(value), written(end)
    _whole(length, "length", len(end), 1_000_000)
    _whole(leeway, "leeway", 0, 1_000_000)
    if len(text) <= length + leeway:
        return text
    cut = text[: length - len(end)]
    return sized((cut if killwords else cut.rsplit(" ", 1)[0]) + end)


def _indent(value: Any, width: Any = 4, first: Any = False, blank: Any = False) -> str:
    space = width if isinstance(width, str) else " " * _whole(width, "indent", 0, _MAX_INDENT)
    if len(space) > _MAX_INDENT:
        raise Refused(f"`indent` goes up to {_MAX_INDENT} characters")
    lines = written(value).split("\n")
    room(sum(map(len, lines)) + len(lines) * (1 + len(space)))
    rest = [space + line if line or blank else line for line in lines[1:]]
    return "\n".join([(space if first else "") + lines[0], *rest])


def _trim(value: Any, chars: Any = None) -> str:
    text = written(value)
    room(len(text))
    return text.strip(None if chars is None else written(chars))


def _replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    return replace(written(value), old, new, count)


def _wordcount(value: Any) -> int:
    text = written(value)
    room(len(text))
    return len(_WORD.findall(text))


FILTERS: dict[str, Callable[..., Any]] = {
    "abs": _abs,
    "capitalize": _textual(str.capitalize),
    "count": _length,
    "d": _default,
    "default": _default,
    "float": _float,
    "indent": _indent,
    "int": _int,
    "length": _length,
    "lower": _textual(str.lower),
    "replace": _replace,
    "round": _round,
    "string": _textual(str),
    "title": _textual(do_title),
    "tojson": _tojson,
    "trim": _trim,
    "truncate": _truncate,
    "upper": _textual(str.upper),
    "wordcount": _wordcount,
    **LIST_FILTERS,
}
"""Filters by name."""
