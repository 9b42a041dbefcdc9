"""Tables of fields for the reference pages, from pydantic models."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

_RANGES = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("maxLength", "at most {} characters"),
    ("maxItems", "at most {} items"),
)


def field_table(model: type[BaseModel], *, skip: tuple[str, ...] = ()) -> str:
    """Returns a Markdown table of a model's fields.

    Args:
        model: The model.
        skip: Fields that are left out.

    Raises:
        SystemExit: A field has no description.
    """
    schema = model.model_json_schema()
    defs = schema.get("$defs", {})
    rows = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        if not field.description:
            raise SystemExit(f"{model.__name__}.{name} has no description; give its Field one")
        kind = type_words(schema["properties"][name], defs)
        default = _default(field.get_default(call_default_factory=True))
        rows.append(f"| `{name}` | {_cell(kind)} | {default} | {_cell(field.description)} |")
    return "\n".join(rows) if len(rows) > 2 else "No fields."


def nested_models(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yields name and model of each field that holds a table of its own, or may hold one."""
    for name, field in model.model_fields.items():
        for option in (field.annotation, *get_args(field.annotation)):
            if inspect.isclass(option) and issubclass(option, BaseModel):
                yield name, option


def type_words(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Returns a type in words, such as `integer, at least 1`."""
    return ", ".join(_words(schema, defs))


def _words(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        schema = defs[schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        yield " or ".join(type_words(option, defs) for option in options)
        return
    if "const" in schema:
        yield f"`{json.dumps(schema['const'])}`"
        return
    if "enum" in schema:
        yield " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
        return
    kind = schema.get("type", "anything")
    if kind == "array":
        yield f"list of {type_words(schema.get('items', {}), defs)}"
    elif kind == "object":
        inner = schema.get("additionalProperties")
        if isinstance(inner, Mapping) and inner:
            yield f"object of {type_words(inner, defs)}"
        elif "properties" in schema:
            yield f"object ({', '.join(f'`{name}`' for name in schema['properties'])})"
        else:
            yield "object"
    else:
        yield {"path": "file"}.get(schema.get("format", ""), kind)
    if schema.get("minLength", 0) > 0 and "maxLength" in schema:
        yield f"{schema['minLength']} to {schema['maxLength']} characters"
        schema = {key: value for key, value in schema.items() if key != "maxLength"}
    for key, words in _RANGES:
        if key in schema:
            yield words.format(f"{schema[key]:,}")
    if "pattern" in schema:
        yield f"like `{schema['pattern']}`"


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return ""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
