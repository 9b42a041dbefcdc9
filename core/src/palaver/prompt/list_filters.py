"""The filters that work on lists and mappings; the table is in `filters`.

All that give several values give a list, so that nothing lazy is left to run later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Undefined, pass_context, pass_environment

from palaver.prompt.bounds import Refused, kind, room, spend, weigh, written
from palaver.prompt.methods import join, listing
from palaver.prompt.operators import Missing, arithmetic, is_key

__all__ = ["LIST_FILTERS"]


def _first(values: Any) -> Any:
    values = values if isinstance(values, str | list | tuple) else listing(values)
    return values[0] if values else Missing("there is no first item")


def _last(values: Any) -> Any:
    values = values if isinstance(values, str | list | tuple) else listing(values)
    return values[-1] if values else Missing("there is no last item")


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


LIST_FILTERS: dict[str, Callable[..., Any]] = {
    "dictsort": _dictsort,
    "first": _first,
    "items": _items,
    "join": _join,
    "last": _last,
    "list": listing,
    "map": _map,
    "max": _max,
    "min": _min,
    "reject": _chosen(by_attribute=False, wanted=False),
    "rejectattr": _chosen(by_attribute=True, wanted=False),
    "reverse": _reverse,
    "select": _chosen(by_attribute=False, wanted=True),
    "selectattr": _chosen(by_attribute=True, wanted=True),
    "sort": _sort,
    "sum": _sum,
    "unique": _unique,
}
"""Filters by name."""
