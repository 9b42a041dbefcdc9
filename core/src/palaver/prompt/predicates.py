"""The tests that templates may use (`is defined`, `is number`): a closed list.

They mean what Jinja's of the same name mean, with the comparisons of `operators`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Undefined

from palaver.prompt.operators import compare

__all__ = ["PREDICATES"]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _divisible(value: Any, by: Any) -> bool:
    # Jinja's own would format a text here: `'%999999999d' is odd` fills the memory.
    return _whole(value) and _whole(by) and by != 0 and value % by == 0


def _comparison(name: str) -> Callable[[Any, Any], bool]:
    return lambda left, right: compare(left, name, right)


_COMPARISONS = {
    "eq": ("eq", "==", "equalto", "sameas"),
    "ne": ("ne", "!="),
    "lt": ("lt", "<", "lessthan"),
    "lteq": ("le", "<="),
    "gt": ("gt", ">", "greaterthan"),
    "gteq": ("ge", ">="),
    "in": ("in",),
}

PREDICATES: dict[str, Callable[..., bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "defined": lambda value: not isinstance(value, Undefined),
    "divisibleby": _divisible,
    "even": lambda value: _divisible(value, 2),
    "false": lambda value: value is False,
    "float": lambda value: isinstance(value, float),
    "integer": _whole,
    "iterable": lambda value: isinstance(value, str | list | tuple | Mapping),
    "lower": lambda value: isinstance(value, str) and value.islower(),
    "mapping": lambda value: isinstance(value, Mapping),
    "none": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float),
    "odd": lambda value: _whole(value) and value % 2 == 1,
    "sequence": lambda value: isinstance(value, str | list | tuple | Mapping),
    "string": lambda value: isinstance(value, str),
    "true": lambda value: value is True,
    "undefined": lambda value: isinstance(value, Undefined),
    "upper": lambda value: isinstance(value, str) and value.isupper(),
}
"""Tests by name."""
PREDICATES |= {
    alias: _comparison(name) for name, aliases in _COMPARISONS.items() for alias in aliases
}
