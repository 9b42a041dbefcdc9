"""Actions: what an engine can carry out for an NPC, and whether a call fits its declaration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from palaver.action_schema import schema_problem
from palaver.errors import ProtocolError
from palaver.prompt.neutralize import neutralize, neutralize_data

if TYPE_CHECKING:
    from palaver.messages import ActionSpec

__all__ = ["DeclaredAction", "declare_actions"]

MAX_SCHEMA_BYTES = 4_000
CONFIRM_MS = 500
"""How long a line waits for the engine where it does not say, in milliseconds."""


@dataclass(frozen=True, slots=True)
class DeclaredAction:
    """An action the engine can carry out.

    Attributes:
        name: Its name.
        description: What it does, in words for the model.
        args: JSON Schema of its arguments; empty for an action without any.
        confirm: Whether the engine answers with `action.result`, and the line waits for that.
        confirm_ms: How long the line waits; after that it counts as refused.
    """

    name: str
    description: str
    args: dict[str, Any]
    confirm: bool = False
    confirm_ms: int = CONFIRM_MS
    _plain: dict[str, Any] = field(init=False, repr=False, compare=False)
    _validator: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Get ready what every turn needs of it."""
        from jsonschema import Draft202012Validator

        # Names and values in the schema are words for the model too; what the engine gets back is
        # checked against the schema as it was sent.
        words = {"name": self.name, "description": self.description, "args": self.args}
        object.__setattr__(self, "_plain", {**neutralize_data(words), "confirm": self.confirm})
        validator = Draft202012Validator(self.args) if self.args else None
        object.__setattr__(self, "_validator", validator)

    def problem(self, args: dict[str, Any]) -> str | None:
        """Return why these arguments do not fit the schema, or None if they do."""
        if self._validator is None:
            return "it takes no arguments" if args else None
        try:
            error = next(iter(self._validator.iter_errors(args)), None)
        except (ArithmeticError, ValueError, RecursionError):
            return "a number in its arguments is too large, or they are nested too deeply"
        return None if error is None else str(error.message)

    def plain(self) -> dict[str, Any]:
        """Return it as plain data for templates, with control tokens made harmless."""
        return self._plain


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
            spec.name, neutralize(spec.description), spec.args, spec.confirm, spec.confirm_ms
        )
    return declared


def _check_schema(action: str, schema: dict[str, Any]) -> None:
    try:
        size = len(json.dumps(schema))
    except RecursionError:
        size = MAX_SCHEMA_BYTES + 1
    if size > MAX_SCHEMA_BYTES:
        raise ProtocolError(
            "too_large",
            f"the args of {action!r} have more than the {MAX_SCHEMA_BYTES} bytes that are allowed",
        )
    if problem := schema_problem(schema):
        raise ProtocolError("bad_message", f"the args of {action!r}: {problem}")
    if schema.get("type", "object") != "object":
        raise ProtocolError(
            "bad_message", f'the args of {action!r} must be a schema with type "object"'
        )
