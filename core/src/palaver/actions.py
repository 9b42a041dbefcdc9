"""Actions: what an engine can carry out for an NPC, and whether a call fits its declaration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palaver.errors import ProtocolError
from palaver.prompt.neutralize import neutralize

if TYPE_CHECKING:
    from palaver.messages import ActionSpec

__all__ = ["DeclaredAction", "declare_actions"]

_FORBIDDEN = frozenset({"$ref", "$dynamicRef", "pattern", "patternProperties"})
"""Not allowed in a schema: references may never end, and patterns may never finish."""
MAX_SCHEMA_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class DeclaredAction:
    """An action the engine can carry out.

    Attributes:
        name: Its name.
        description: What it does, in words for the model.
        args: JSON Schema of its arguments; empty for an action without any.
        confirm: Whether the engine answers with `action.result`.
    """

    name: str
    description: str
    args: dict[str, Any]
    confirm: bool = False

    def problem(self, args: dict[str, Any]) -> str | None:
        """Return why these arguments do not fit the schema, or None if they do."""
        if not self.args:
            return "it takes no arguments" if args else None
        from jsonschema import Draft202012Validator

        error = next(iter(Draft202012Validator(self.args).iter_errors(args)), None)
        return None if error is None else error.message

    def plain(self) -> dict[str, Any]:
        """Return it as plain data for templates."""
        return {"name": self.name, "description": self.description, "args": self.args}


def declare_actions(specs: Iterable[ActionSpec], *, limit: int) -> dict[str, DeclaredAction]:
    """Check declarations and return them by name.

    Args:
        specs: As the engine sent them.
        limit: How many are allowed.

    Raises:
        ProtocolError: Too many, one name twice, or a schema that is not allowed.
    """
    declared: dict[str, DeclaredAction] = {}
    for spec in specs:
        if spec.name in declared:
            raise ProtocolError("bad_message", f"the action {spec.name!r} is declared twice")
        if len(declared) >= limit:
            raise ProtocolError("too_large", f"at most {limit} actions; raise limits.actions")
        if spec.args:
            _check_schema(spec.name, spec.args)
        declared[spec.name] = DeclaredAction(
            spec.name, neutralize(spec.description), spec.args, spec.confirm
        )
    return declared


def _check_schema(action: str, schema: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    size = len(json.dumps(schema))
    if size > MAX_SCHEMA_BYTES:
        raise ProtocolError(
            "too_large",
            f"the args of {action!r} have {size} bytes; at most {MAX_SCHEMA_BYTES} are allowed",
        )
    found = _forbidden(schema)
    if found:
        raise ProtocolError(
            "bad_message", f"the args of {action!r} use {found!r}; write the schema without it"
        )
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as err:
        raise ProtocolError(
            "bad_message", f"the args of {action!r} are not a JSON Schema: {err.message}"
        ) from err
    if schema.get("type", "object") != "object":
        raise ProtocolError(
            "bad_message", f'the args of {action!r} must be a schema with type "object"'
        )


def _forbidden(value: Any) -> str | None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _FORBIDDEN:
                return str(key)
            if found := _forbidden(inner):
                return found
    elif isinstance(value, list):
        for inner in value:
            if found := _forbidden(inner):
                return found
    return None
