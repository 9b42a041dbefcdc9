"""What a template may use up, counted instead of timed.

Every step of a template is charged to the budget of the render it belongs to: each node that is
executed, each item that is looked at, each sixteenth character that is written. So a bomb dies at
the same place on every machine, within milliseconds, and memory is bounded with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2 import Undefined

__all__ = [
    "BUDGET",
    "MAX_ITEMS",
    "MAX_STEPS",
    "MAX_TEXT",
    "Budget",
    "Refused",
    "metered",
    "plain",
    "sized",
    "spend",
    "weigh",
    "written",
]

MAX_TEXT = 256_000
"""Longest text that a template may make, in characters; also of all its output together."""
MAX_ITEMS = 10_000
"""Longest list that a template may make."""
MAX_BITS = 256
"""Size of the largest whole number, in bits."""
MAX_STEPS = 200_000
"""Steps of one render."""
MAX_DEPTH = 40
"""Macros, recursive loops and parent blocks inside each other."""
MAX_NESTING = 32
"""Lists and mappings inside each other."""


class Refused(Exception):
    """What a template wanted is not allowed; the text says what to do instead."""


class Budget:
    """What is left to one render.

    Attributes:
        steps: Steps left.
        depth: How deep calls are nested now.
    """

    __slots__ = ("depth", "steps")

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.steps = steps
        self.depth = 0


BUDGET: ContextVar[Budget] = ContextVar("palaver_template_budget")
"""The budget of the render that is under way; use `metered`."""


@contextmanager
def metered(steps: int = MAX_STEPS) -> Iterator[Budget]:
    """Give what is rendered inside a budget of its own."""
    budget = Budget(steps)
    token = BUDGET.set(budget)
    try:
        yield budget
    finally:
        BUDGET.reset(token)


def spend(steps: int) -> bool:
    """Charge steps to the render that is under way.

    Returns:
        True, so that it can stand in a condition.

    Raises:
        Refused: There are none left.
    """
    budget = BUDGET.get()
    budget.steps -= steps
    if budget.steps < 0:
        raise Refused("the template does too much: use fewer or shorter loops")
    return True


def sized(text: str) -> str:
    """Charge for a text that was made, and return it.

    Raises:
        Refused: It is too long.
    """
    length = len(text)
    if length > MAX_TEXT:
        raise too_long(length)
    spend(1 + (length >> 4))
    return text


def room(length: int) -> None:
    """Charge for a text before it is made.

    Raises:
        Refused: It would be too long.
    """
    if length > MAX_TEXT:
        raise too_long(length)
    spend(1 + (length >> 4))


def too_long(length: int) -> Refused:
    """Return the error for a text of that length."""
    return Refused(f"this would make a text of {length:,} characters; at most {MAX_TEXT:,} go")


def plain(value: Any) -> Any:
    """Return a value that an operator or filter made.

    Raises:
        Refused: It is a number too large, or none at all.
    """
    if type(value) is int and value.bit_length() > MAX_BITS:
        raise Refused("this number is too large; keep numbers below 2**256")
    if isinstance(value, complex):
        raise Refused("this is no real number; a negative number has no such root")
    return value


def weigh(value: Any, depth: int = 0) -> int:
    """Return about how long a value is when written, charging for each part that is looked at.

    Lists that hold the same list many times over take no memory but would take forever to write
    or compare; they run out of budget here.

    Raises:
        Refused: It is nested too deeply, too large, or not plain data.
    """
    if isinstance(value, str):
        return len(value) + 2
    if value is None or isinstance(value, bool | float | Undefined):
        return 8
    if isinstance(value, int):
        return 2 + value.bit_length() // 3
    if isinstance(value, list | tuple | dict):
        if depth >= MAX_NESTING:
            raise Refused(f"lists are nested deeper than {MAX_NESTING}; make them flatter")
        # As much as it takes: looking at an item costs several times what a node costs.
        spend(3 + 2 * len(value))
        total = 2
        for item in value:
            total += 2 + weigh(item, depth + 1)
        if isinstance(value, dict):
            for item in value.values():
                total += 2 + weigh(item, depth + 1)
        return total
    raise Refused(f"{kind(value)} is no plain value; use texts, numbers and lists")


def written(value: Any) -> str:
    """Return a value as it is written into the prompt; nothing for what is missing or none.

    Raises:
        Refused: It is too long, or not plain data.
    """
    if isinstance(value, str):
        # Also where it is a subclass, such as an enumeration: what counts is the text.
        return value if type(value) is str else str.__str__(value)
    if value is None or isinstance(value, Undefined):
        return ""
    if isinstance(value, list | tuple | dict):
        room(weigh(value))
    elif not isinstance(value, bool | int | float):
        raise Refused(f"{kind(value)} cannot be written; use one of its values, or call it")
    return str(value)


def kind(value: Any) -> str:
    """Return what a value is, in words for a writer."""
    names = {str: "a text", int: "a number", float: "a number", bool: "true or false"}
    names |= {list: "a list", tuple: "a list", dict: "a mapping", type(None): "none"}
    name = type(value).__name__
    if isinstance(value, Undefined):
        return "a missing value"
    return names.get(type(value)) or {
        "Macro": "a macro",
        "LoopContext": "`loop`",
        "TemplateModule": "an imported template",
        "BlockReference": "`super`",
        "Namespace": "a namespace",
        "Method": "a method",
    }.get(name, f"a {name}")
