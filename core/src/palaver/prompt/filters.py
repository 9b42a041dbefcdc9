"""The filters that templates may use: a closed list, each bounded by what it makes.

They mean what Jinja's of the same name mean. All that give several values give a list, so that
nothing lazy is left to run later. Left out on purpose: `attr` and `format` (they reach into
objects and build texts of any length), `center`, `wordwrap`, `xmlattr`, `urlize` and the like
(for pages, not prompts), `random` (a prompt must not change by itself, or no cache works).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Undefined, pass_context, pass_environment
from jinja2.filters import do_title

from palaver.prompt.bounds import Refused, kind, plain, room, sized, spend, weigh, written
from palaver.prompt.methods import join, listing, replace
from palaver.prompt.operators import Missing, arithmetic, is_key

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


def _first(values: Any) -> Any:
    values = values if isinstance(values, str | list | tuple) else listing(values)
    return values[0] if values else Missing("there is no first item")


def _last(values: Any) -> Any:
    values = values if isinstance(values, str | list | tuple) else listing(values)
    return values[-1] if values else Missing("there is no last item")


def _length(values: Any) -> int:
    if values is None or isinstance(values, Undefined):
        return 0
    if not isinstance(values, str | list | tuple | Mapping):
        raise Refused(f"{kind(values)} has no length; use a text or a list")
    return len(values)


def _reverse(values: Any) -> Any:
    if isinstance(values, str):
        room(len(values))
        return values[::-1]
    return listing(values)[::-1]


def _getter(env: Any, attribute: Any, *, fold: bool = False) -> Callable[[Any], Any]:
    """Return what gets a dotted path of keys, with the environment's rules; None is the value."""
    if attribute is not None and not isinstance(attribute, str | int):
        raise Refused("`attribute` is a name, such as `attribute='name'`")
    path = str(attribute).split(".") if attribute is not None else []
    keys = [int(part) if part.isdigit() else part for part in path]

    def get(value: Any) -> Any:
        spend(1 + len(keys))
        for key in keys:
            value = env.getitem(value, key)
        if fold and isinstance(value, str):
            room(len(value))
            return value.lower()
        return value

    return get


def _ordered(
    env: Any, values: Any, attribute: Any, *, case_sensitive: Any, reverse: Any = False
) -> list[Any]:
    values = listing(values)
    names = str(attribute).split(",") if isinstance(attribute, str) else [attribute]
    getters = [_getter(env, name, fold=not case_sensitive) for name in names]
    keyed = [([get(value) for get in getters], index) for index, value in enumerate(values)]
    spend(sum(weigh(key) for key, _ in keyed) >> 4)
    spend(len(values) * len(values).bit_length())
    try:
        keyed.sort(key=lambda pair: pair[0], reverse=bool(reverse))
    except TypeError:
        raise Refused("these cannot be put in order: they are of different kinds") from None
    return [values[index] for _, index in keyed]


@pass_environment
def _sort(
    env: Any, value: Any, reverse: Any = False, case_sensitive: Any = False, attribute: Any = None
) -> list[Any]:
    return _ordered(env, value, attribute, case_sensitive=case_sensitive, reverse=reverse)


@pass_environment
def _min(env: Any, value: Any, case_sensitive: Any = False, attribute: Any = None) -> Any:
    ordered = _ordered(env, value, attribute, case_sensitive=case_sensitive)
    return ordered[0] if ordered else Missing("there is no smallest item")


@pass_environment
def _max(env: Any, value: Any, case_sensitive: Any = False, attribute: Any = None) -> Any:
    ordered = _ordered(env, value, attribute, case_sensitive=case_sensitive, reverse=True)
    return ordered[0] if ordered else Missing("there is no largest item")


@pass_environment
def _unique(env: Any, value: Any, case_sensitive: Any = False, attribute: Any = None) -> list[Any]:
    get = _getter(env, attribute, fold=not case_sensitive)
    found: dict[Any, Any] = {}
    for item in listing(value):
        key = get(item)
        if not is_key(key) and not isinstance(key, Undefined):
            raise Refused(f"`unique` does not work with {kind(key)}; name an `attribute`")
        found.setdefault(key, item)
    return list(found.values())


@pass_environment
def _sum(env: Any, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    get = _getter(env, attribute)
    for item in listing(value):
        start = arithmetic("+", start, get(item))
    return start


@pass_environment
def _join(env: Any, value: Any, d: Any = "", attribute: Any = None) -> str:
    values = listing(value)
    if attribute is not None:
        values = list(map(_getter(env, attribute), values))
    return join(written(d), values)


@pass_context
def _map(context: Any, value: Any, *args: Any, **kwargs: Any) -> list[Any]:
    env = context.environment
    if not args:
        get = _getter(env, kwargs.pop("attribute", None))
        default = kwargs.pop("default", None)
        if kwargs:
            raise Refused("`map` takes the name of a filter, or `attribute` and `default`")
        found = [get(item) for item in listing(value)]
        if default is None:
            return found
        return [default if isinstance(item, Undefined) else item for item in found]
    name, *rest = args
    return [env.call_filter(name, item, rest, kwargs, context) for item in listing(value)]


def _chosen(*, by_attribute: bool, wanted: bool) -> Callable[..., list[Any]]:
    @pass_context
    def choose(context: Any, value: Any, *args: Any, **kwargs: Any) -> list[Any]:
        env = context.environment
        if by_attribute and not args:
            raise Refused("name the attribute, such as `selectattr('hungry')`")
        get = _getter(env, args[0]) if by_attribute else lambda item: item
        name, *rest = args[by_attribute:] or (None,)

        def holds(item: Any) -> bool:
            spend(1)
            if name is None:
                return bool(get(item))
            return bool(env.call_test(name, get(item), rest, kwargs, context))

        return [item for item in listing(value) if holds(item) is wanted]

    return choose


def _items(value: Any) -> list[Any]:
    if isinstance(value, Undefined) or value is None:
        return []
    if not isinstance(value, Mapping):
        raise Refused(f"`items` needs a mapping, not {kind(value)}")
    spend(1 + len(value))
    return list(value.items())


@pass_environment
def _dictsort(
    env: Any, value: Any, case_sensitive: Any = False, by: str = "key", reverse: Any = False
) -> list[Any]:
    if by not in ("key", "value"):
        raise Refused("`dictsort` sorts by `key` or by `value`")
    at = 0 if by == "key" else 1
    return _ordered(env, _items(value), at, case_sensitive=case_sensitive, reverse=reverse)


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
    "dictsort": _dictsort,
    "first": _first,
    "float": _float,
    "indent": _indent,
    "int": _int,
    "items": _items,
    "join": _join,
    "last": _last,
    "length": _length,
    "list": listing,
    "lower": _textual(str.lower),
    "map": _map,
    "max": _max,
    "min": _min,
    "reject": _chosen(by_attribute=False, wanted=False),
    "rejectattr": _chosen(by_attribute=True, wanted=False),
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "select": _chosen(by_attribute=False, wanted=True),
    "selectattr": _chosen(by_attribute=True, wanted=True),
    "sort": _sort,
    "string": _textual(str),
    "sum": _sum,
    "title": _textual(do_title),
    "tojson": _tojson,
    "trim": _trim,
    "truncate": _truncate,
    "unique": _unique,
    "upper": _textual(str.upper),
    "wordcount": _wordcount,
}
"""Filters by name."""
