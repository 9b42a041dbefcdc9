"""JSON Schemas of the wire protocol, from the pydantic models of its messages."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from palaver import messages

MADE = "Made by `python tools/docs.py`; do not edit by hand."
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT_OR_CUE = {
    "oneOf": [
        {"required": [name], "properties": {name: {"type": "string"}}} for name in ("text", "cue")
    ]
}
RULES: dict[str, dict[str, Any]] = {
    "TurnStart": _TEXT_OR_CUE,
    "TurnRequest": _TEXT_OR_CUE,
    "FactsUpdate": {
        "anyOf": [{"required": ["set"]}, {"required": ["unset"]}],
        "not": {
            "required": ["npc", "player"],
            "properties": {"npc": {"type": "string"}, "player": {"type": "string"}},
        },
    },
}
"""What validators of the models say in code; tests/protocol compares the two."""


def definitions(prefix: str) -> dict[str, Any]:
    """Returns the schema of every message and of every object in one, by the model's name.

    Args:
        prefix: Where they will stand, such as `#/$defs/`.
    """
    every: list[type[BaseModel]] = [
        *messages.CLIENT_MESSAGES.values(),
        *messages.SERVER_MESSAGES.values(),
        messages.TurnRequest,
    ]
    _, schema = models_json_schema(
        [(model, "validation") for model in every], ref_template=prefix + "{model}"
    )
    found: dict[str, Any] = plain(schema["$defs"])
    for model in every:
        # A default in Python, but on the wire it is what tells a message from the others.
        if "type" in model.model_fields:
            one = found[model.__name__]
            one["required"] = ["type", *one.get("required", [])]
    for name, rule in RULES.items():
        found[name] |= rule
    return found


_FACT_NAME = TypeAdapter(messages.FactName).json_schema()


def plain(value: Any) -> Any:
    """Leaves out the titles, which repeat the names, and joins the lines of descriptions."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for key, item in value.items():
        if key == "title" and isinstance(item, str):
            continue
        lines = key == "description" and isinstance(item, str)
        kept[key] = " ".join(item.split()) if lines else plain(item)
    if _FACT_NAME["pattern"] in kept.get("patternProperties", {}):
        # Pydantic's words for it let other names pass.
        del kept["patternProperties"]
        kept["propertyNames"] = {key: _FACT_NAME[key] for key in ("pattern", "maxLength")}
    return kept


def union(models: dict[str, type[BaseModel]], prefix: str) -> dict[str, Any]:
    """Returns the schema of one of several messages."""
    return {"oneOf": [{"$ref": prefix + model.__name__} for model in models.values()]}


def schema_page() -> str:
    """Returns the JSON Schemas of all messages, in one file."""
    prefix = "#/$defs/"
    found = definitions(prefix)
    found["ClientMessage"] = {
        "description": "Any message from a client to the server.",
        **union(messages.CLIENT_MESSAGES, prefix),
    }
    found["ServerMessage"] = {
        "description": "Any message from the server to a client.",
        **union(messages.SERVER_MESSAGES, prefix),
    }
    return as_json(
        {
            "$schema": DIALECT,
            "$comment": MADE,
            "title": f"Messages of the Palaver wire protocol, version {messages.PROTOCOL}",
            "description": "Fields and types that are not here are ignored by whoever gets them.",
            "anyOf": [{"$ref": prefix + "ClientMessage"}, {"$ref": prefix + "ServerMessage"}],
            "$defs": found,
        }
    )


def as_json(value: Any) -> str:
    """Returns a file's text."""
    return json.dumps(value, indent=2) + "\n"
