"""What is wrong with something a person wrote, in words that say what to write instead.

pydantic finds the errors; this turns each into a path and a sentence, with the nearest right name
for a typo. Used for `palaver.toml`, backends, front matter, adapter manifests and wire messages.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from palaver.hints import did_you_mean, listed, nearest

__all__ = ["Trouble", "explain"]

Path = tuple[str | int, ...]
_SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)
_WORDS = {
    "string_type": "must be a text; put it in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": 'must be a list, such as ["a", "b"]',
    "dict_type": "must be {table}",
    "model_type": "must be {table}",
    "model_attributes_type": "must be {table}",
    "path_type": "must be a path; put it in quotes",
    "url_type": 'must be an address, such as "http://127.0.0.1:8000"',
    "url_parsing": 'must be an address, such as "http://127.0.0.1:8000"',
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "needs at least {min_length}",
    "too_long": "holds at most {max_length}",
}

_PATTERNS = {
    r"^[A-Za-z0-9_.-]+$": "be of letters, digits, `_`, `.` and `-`",
    r"^[0-9a-f]{64}$": "be 64 hexadecimal digits",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "be of letters, digits and `_`, and not begin with a digit",
    r"^[A-Za-z_][A-Za-z0-9_]{0,63}$": "be at most 64 letters, digits and `_`",
    r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$": "be a language, such as `en` or `pt-BR`",
}


class Trouble(NamedTuple):
    """One thing that is wrong.

    Attributes:
        path: Where: keys, and numbers for places in lists.
        message: What is wrong and what to write instead.
    """

    path: Path
    message: str

    @property
    def key(self) -> str:
        """The path as a person writes it: `server.tokens[0].role`."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text


def explain(
    err: ValidationError,
    model: type[BaseModel],
    *,
    noun: str = "setting",
    table: str = "a table of names and values",
) -> list[Trouble]:
    """Return what is wrong, one entry for each mistake.

    Args:
        err: What pydantic found.
        model: The model that was asked for.
        noun: What a key is called where it is unknown.
        table: What a table is called where something else stands in its place.
    """
    troubles: dict[Path, Trouble] = {}
    missing: set[Path] = set()
    meant: set[Path] = set()
    for error in err.errors(include_url=False):
        path, annotation, is_key = _real_path(error["loc"], model)
        unknown = error["type"] == "extra_forbidden" or (
            is_key and error["type"] == "literal_error"
        )
        if unknown:
            choices = _names(path[:-1], model)
            meant.add((*path[:-1], nearest(str(path[-1]), choices) or ""))
            message = f"no such {noun}{did_you_mean(str(path[-1]), choices)}"
        else:
            message = _message(error, path, annotation, table)
        if error["type"] == "missing":
            missing.add(path)
        # Of a union every member complains; the first is the one people mean.
        troubles.setdefault(path, Trouble(path, message))
    return [
        trouble
        for path, trouble in troubles.items()
        # A typo explains what is missing, and what is wrong inside explains the whole.
        if not (path in missing and path in meant)
        and not any(len(other) > len(path) and other[: len(path)] == path for other in troubles)
    ]


def _message(error: Mapping[str, Any], path: Path, annotation: Any, table: str) -> str:
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "missing":
        return f"is missing; add `{path[-1]}`{_example(annotation)}"
    value = error.get("input")
    if kind == "literal_error":
        choices = [str(choice) for choice in _literals(annotation)]
        hint = did_you_mean(value, choices) if isinstance(value, str) else f"; {listed(choices)}"
        return f"{value!r} is not possible{hint}"
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return f"{_shown(value, path)}must {_PATTERNS.get(pattern, f'look like {pattern}')}"
    if kind in ("value_error", "assertion_error"):
        return str(error["msg"]).partition(", ")[2] or str(error["msg"])
    words = _WORDS.get(kind)
    text = words.format(table=table, **context) if words else str(error["msg"])
    return f"{_shown(value, path)}{text}"


def _shown(value: Any, path: Path) -> str:
    """Return the value and a word, or nothing where it is long or may be a secret."""
    if isinstance(value, dict | list) or any(_SECRET.search(str(part)) for part in path):
        return ""
    text = repr(value)
    return f"is {text[:60]}, but " if len(text) <= 60 else ""


def _example(annotation: Any) -> str:
    names: dict[Any, str] = {str: ", a text", int: ", a whole number", list: ", a list"}
    plain = _plain(annotation)
    return names.get(get_origin(plain[0]) or plain[0], "") if plain else ""


def _plain(annotation: Any) -> list[Any]:
    """Return the members of an annotation, without `Annotated`, `None` and unions around them."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for member in get_args(annotation) for part in _plain(member)]
    return [] if annotation is type(None) else [annotation]


def _real_path(loc: Path, model: type[BaseModel]) -> tuple[Path, Any, bool]:
    """Return a path without what pydantic puts into it, the type there, and if it is about a key.

    It puts in the name of a union's member (`constrained-int`, `dict[...]`) and `[key]`.
    """
    path: list[str | int] = []
    at: list[Any] = [model]
    for part in loc:
        if part == "[key]":
            return tuple(path), None, True
        if len(at) > 1:
            is_dict = str(part).startswith("dict")
            at = [member for member in at if (get_origin(member) is dict) is is_dict]
            continue
        path.append(part)
        at = _step(at, part) or []
    return tuple(path), (Union[tuple(at)] if at else None), False  # noqa: UP007  # made at run time


def _step(at: list[Any], part: str | int) -> list[Any] | None:
    for annotation in at:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = _field(annotation, str(part))
            if field is not None:
                return _plain(field.annotation)
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is dict and len(args) == 2 and isinstance(part, str):
            return _plain(args[1])
        if origin in (list, tuple) and args and isinstance(part, int):
            return _plain(args[0])
    return None


def _field(model: type[BaseModel], name: str) -> FieldInfo | None:
    for key, field in model.model_fields.items():
        if name in (key, field.alias):
            return field
    return None


def _names(path: Path, model: type[BaseModel]) -> list[str]:
    """Return the keys that may stand in the table at a path."""
    at: list[Any] = [model]
    for part in path:
        at = _step(at, part) or []
    return [
        field.alias or name
        for annotation in at
        if isinstance(annotation, type) and issubclass(annotation, BaseModel)
        for name, field in annotation.model_fields.items()
    ] + [
        str(choice)
        for annotation in at
        if get_origin(annotation) is dict
        for choice in _literals(get_args(annotation)[0])
    ]


def _literals(annotation: Any) -> list[Any]:
    return [
        choice
        for member in _plain(annotation)
        if get_origin(member) is Literal
        for choice in get_args(member)
    ]
