"""What of a value a template may reach: a closed list of methods of plain data.

A template never gets an attribute of a Python object. `text.upper` finds the function below of
that name, and nothing else; a key of a mapping comes before a method, so that a fact may be called
`count` or `items`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Undefined

from palaver.prompt.bounds import Refused, kind, room, sized, spend, weigh, written
from palaver.prompt.operators import Missing, countable, equal, is_key

__all__ = ["METHODS", "Method"]

Function = Callable[..., Any]


class Method:
    """A method of one value, ready to be called."""

    __slots__ = ("function", "value")

    def __init__(self, function: Function, value: Any) -> None:
        self.function, self.value = function, value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.function(self.value, *args, **kwargs)


def _changed(name: str) -> Function:
    method = getattr(str, name)

    def change(text: str, *args: Any) -> str:
        room(len(text))
        return sized(method(text, *map(written, args)))

    return change


def _asked(name: str) -> Function:
    method = getattr(str, name)

    def ask(text: str, *args: Any) -> Any:
        spend(1 + (len(text) >> 8))
        return method(
            text, *(arg if isinstance(arg, int | tuple) else written(arg) for arg in args)
        )

    return ask


def replace(text: str, old: Any, new: Any, count: int | None = None) -> str:
    """Return the text with one part replaced; its new length is counted before it is made."""
    old, new = written(old), written(new)
    spend(1 + (len(text) >> 4))
    found = text.count(old) if count is None or count < 0 else min(text.count(old), count)
    room(len(text) + found * max(0, len(new) - len(old)))
    return text.replace(old, new, -1 if count is None else count)


def join(separator: str, values: Any) -> str:
    """Return the values as one text, with the separator between them."""
    texts = [written(value) for value in listing(values)]
    room(sum(map(len, texts)) + len(separator) * max(0, len(texts) - 1))
    return separator.join(texts)


def split(text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    """Return the parts of a text; by default its words."""
    room(len(text))
    if sep is not None and not sep:
        raise Refused("`split` needs something to split at")
    countable(text.count(sep) + 1 if sep is not None else min(len(text), len(text.split())))
    return text.split(sep, maxsplit)


def _lines(text: str) -> list[str]:
    room(len(text))
    lines = text.splitlines()
    countable(len(lines))
    return lines


def listing(values: Any) -> list[Any]:
    """Return what can be looped over as a list; nothing for what is missing or none.

    Raises:
        Refused: It is no text, list or mapping, or too long.
    """
    if values is None or isinstance(values, Undefined):
        return []
    if not isinstance(values, str | list | tuple | Mapping):
        raise Refused(f"{kind(values)} has nothing to go through; use a list")
    countable(len(values))
    return list(values)


def _get(mapping: Mapping[Any, Any], key: Any, default: Any = None) -> Any:
    return mapping.get(key, default) if is_key(key) else default


def _items(mapping: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    countable(len(mapping))
    return list(mapping.items())


def _values(mapping: Mapping[Any, Any]) -> list[Any]:
    countable(len(mapping))
    return list(mapping.values())


def _count(values: list[Any] | tuple[Any, ...], value: Any) -> int:
    countable(len(values))
    return sum(1 for other in values if equal(other, value))


def _index(values: list[Any] | tuple[Any, ...], value: Any) -> Any:
    countable(len(values))
    spend(weigh(values) >> 4)
    return next((at for at, other in enumerate(values) if equal(other, value)), Missing("absent"))


_TEXT: dict[str, Function] = {
    name: _changed(name)
    for name in (
        *("upper", "lower", "title", "capitalize", "swapcase", "casefold"),
        *("strip", "lstrip", "rstrip", "removeprefix", "removesuffix"),
    )
}
_TEXT |= {
    name: _asked(name)
    for name in (
        *("startswith", "endswith", "find", "rfind", "count"),
        *("isalpha", "isdigit", "isalnum", "isnumeric", "isupper", "islower", "isspace", "istitle"),
    )
}
_TEXT |= {"replace": replace, "join": join, "split": split, "splitlines": _lines}
_LIST: dict[str, Function] = {"count": _count, "index": _index}
_MAPPING: dict[str, Function] = {
    "get": _get,
    "items": _items,
    "keys": listing,
    "values": _values,
}
METHODS: dict[type, dict[str, Function]] = {
    str: _TEXT,
    list: _LIST,
    tuple: _LIST,
    dict: _MAPPING,
}
"""Methods by type and name."""
