"""What operators mean in templates and conditions: Jinja's meaning, bounded and lenient.

Missing values never raise. Arithmetic with one gives a missing value again, which renders as
nothing. An ordering (`<`, `<=`, `>`, `>=`) that makes no sense, because a side is missing or none
or the two cannot be ordered, is false. Equality is Python's; a missing value equals only another.
So `facts.hunger > 3` is false where hunger was never told, and so is `facts.hunger <= 3`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import ChainableUndefined, Undefined

from palaver.prompt.bounds import (
    MAX_BITS,
    MAX_ITEMS,
    Refused,
    kind,
    plain,
    room,
    spend,
    weigh,
    written,
)

__all__ = ["Missing", "arithmetic", "compare", "concatenate", "is_key", "item", "slice_of"]

_SCALARS = (str, int, float, bool, type(None))
_NUMBER = (int, float)


class Missing(ChainableUndefined):
    """A value that is not there: renders empty, and so does whatever is asked of it."""

    __slots__ = ()

    def _false(self, other: object) -> bool:
        return False

    def _self(self, *others: object) -> Missing:
        return self

    __lt__ = __le__ = __gt__ = __ge__ = _false  # type: ignore[assignment]  # Jinja's would raise
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _self  # type: ignore[assignment]  # likewise
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _self  # type: ignore[assignment]  # likewise
    __mod__ = __rmod__ = __pow__ = __rpow__ = __neg__ = __pos__ = _self  # type: ignore[assignment]  # likewise


def arithmetic(symbol: str, left: Any, right: Any) -> Any:
    """Return the result of `+ - * / // % **`.

    Raises:
        Refused: The two do not go together, or the result is too large; looked at before it is
            made.
    """
    if isinstance(left, _NUMBER) and isinstance(right, _NUMBER):
        if symbol == "**":
            return plain(_power(left, right))
        try:
            return plain(_ARITHMETIC[symbol](left, right))
        except ZeroDivisionError:
            raise Refused("this divides by zero; ask with `if` first") from None
        except OverflowError:
            raise Refused("this number is too large") from None
    if isinstance(left, Undefined) or isinstance(right, Undefined):
        return left if isinstance(left, Undefined) else right
    if symbol == "+":
        if isinstance(left, str) and isinstance(right, str):
            room(len(left) + len(right))
            return left + right
        if type(left) is type(right) and isinstance(left, list | tuple):
            countable(len(left) + len(right))
            return left + right
    if symbol == "*":
        if isinstance(left, int):
            left, right = right, left
        if isinstance(right, int) and isinstance(left, str):
            room(len(left) * max(right, 0))
            return left * right
        if isinstance(right, int) and isinstance(left, list | tuple):
            countable(len(left) * max(right, 0))
            return left * right
    if symbol == "%" and isinstance(left, str):
        raise Refused("`%` does not format texts here; write `~` between the parts")
    hint = "; write `~` to join texts" if symbol == "+" else ""
    raise Refused(f"`{symbol}` does not work with {kind(left)} and {kind(right)}{hint}")


def _power(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        if abs(right) > MAX_BITS or left.bit_length() * abs(right) > 4 * MAX_BITS:
            raise Refused("this number would be too large; keep numbers below 2**256")
    try:
        return left**right
    except ZeroDivisionError:
        raise Refused("this divides by zero; ask with `if` first") from None
    except OverflowError:
        raise Refused("this number is too large") from None


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def countable(length: int) -> None:
    """Charge for a list before it is made.

    Raises:
        Refused: It would be too long.
    """
    if length > MAX_ITEMS:
        raise Refused(f"this would make a list of {length:,} items; at most {MAX_ITEMS:,} go")
    spend(1 + length)


def negate(symbol: str, value: Any) -> Any:
    """Return the result of a sign.

    Raises:
        Refused: It is no number.
    """
    if isinstance(value, Undefined):
        return value
    if not isinstance(value, _NUMBER):
        raise Refused(f"`{symbol}` does not work with {kind(value)}")
    return -value if symbol == "-" else value


def concatenate(parts: tuple[Any, ...]) -> str:
    """Return the result of `~`.

    Raises:
        Refused: It is too long, or a part cannot be written.
    """
    texts = [written(part) for part in parts]
    room(sum(map(len, texts)))
    return "".join(texts)


def compare(left: Any, *rest: Any) -> bool:
    """Return whether a chain of comparisons holds: `a < b <= c` is `compare(a, "lt", b, ...)`.

    Raises:
        Refused: It would take too long.
    """
    for index in range(0, len(rest), 2):
        right = rest[index + 1]
        if not _COMPARE[rest[index]](left, right):
            return False
        left = right
    return True


def equal(left: Any, right: Any) -> bool:
    """Return whether two values are equal."""
    if isinstance(left, Undefined) or isinstance(right, Undefined):
        return isinstance(left, Undefined) and isinstance(right, Undefined)
    if isinstance(left, _SCALARS) or isinstance(right, _SCALARS):
        if isinstance(left, str) and len(left) > 256:
            spend(len(left) >> 8)
        return bool(left == right)
    spend((weigh(left) + weigh(right)) >> 4)
    return bool(left == right)


def _ordering(test: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def ordered(left: Any, right: Any) -> bool:
        if isinstance(left, Undefined) or isinstance(right, Undefined):
            return False
        if not isinstance(left, _SCALARS) or not isinstance(right, _SCALARS):
            spend((weigh(left) + weigh(right)) >> 4)
        elif isinstance(left, str) and len(left) > 256:
            spend(len(left) >> 8)
        try:
            return bool(test(left, right))
        except TypeError:
            return False

    return ordered


def contains(value: Any, container: Any) -> bool:
    """Return the result of `in`; nothing is in what is missing, none or a number."""
    if isinstance(value, Undefined):
        return False
    if isinstance(container, str):
        spend(1 + (len(container) >> 8))
        return isinstance(value, str) and value in container
    if isinstance(container, Mapping):
        return is_key(value) and value in container
    if isinstance(container, list | tuple):
        spend(1 + len(container))
        if not isinstance(value, _SCALARS):
            spend(weigh(container) >> 4)
        return value in container
    return False


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": equal,
    "ne": lambda left, right: not equal(left, right),
    "lt": _ordering(operator.lt),
    "lteq": _ordering(operator.le),
    "gt": _ordering(operator.gt),
    "gteq": _ordering(operator.ge),
    "in": contains,
    "notin": lambda left, right: not contains(left, right),
}


def is_key(value: Any) -> bool:
    """Return whether a value can be looked up in a mapping."""
    # No tuples: a tuple's hash looks at everything in it, every time.
    return isinstance(value, _SCALARS)


def mapping(pairs: tuple[tuple[Any, Any], ...]) -> dict[Any, Any]:
    """Return a mapping as it was written in a template.

    Raises:
        Refused: A key is a list or mapping.
    """
    for key, _ in pairs:
        if not is_key(key):
            raise Refused(f"{kind(key)} cannot be a key; use a text or a number")
    return dict(pairs)


def item(container: Any, key: Any) -> Any:
    """Return `container[key]`, or `_ABSENT` where there is none."""
    if isinstance(container, Mapping):
        return container.get(key, ABSENT) if is_key(key) else ABSENT
    if isinstance(container, list | tuple | str) and isinstance(key, int):
        try:
            return container[key]
        except IndexError:
            return ABSENT
    return ABSENT


ABSENT: Any = object()
"""What `item` returns for nothing; None is a value."""


def slice_of(container: Any, start: Any, stop: Any, step: Any) -> Any:
    """Return `container[start:stop:step]`.

    Raises:
        Refused: It is no text or list, or a bound is no whole number.
    """
    if isinstance(container, Undefined):
        return container
    if not isinstance(container, str | list | tuple):
        raise Refused(f"{kind(container)} cannot be cut with `[:]`; use a text or a list")
    bounds = [None if isinstance(bound, Undefined) else bound for bound in (start, stop, step)]
    if any(bound is not None and not isinstance(bound, int) for bound in bounds) or bounds[2] == 0:
        raise Refused("the numbers in `[:]` must be whole, and the step not 0")
    spend(1 + (len(container) >> 4 if isinstance(container, str) else len(container)))
    return container[slice(*bounds)]
