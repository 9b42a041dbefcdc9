"""Front matter: the YAML between the two `---` lines of a persona, with the line of every key.

Plain YAML only: no anchors (a few lines of them can describe gigabytes), no tags, no dates, and
`12:30` is a text, not the number 750 as YAML 1.1 has it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from palaver.errors import PersonaError

__all__ = ["FrontMatterText", "split_front_matter"]

_MARK = re.compile(r"^---[ \t]*$")
_MAX_DEPTH = 8
Where = tuple[str | int, ...]


class FrontMatterText(NamedTuple):
    """A persona's file in its two halves.

    Attributes:
        data: The front matter as plain data.
        lines: The line of each key and list item, by path.
        body: The template, with an empty line for each line before it, so that its line numbers
            are those of the file.
    """

    data: dict[str, Any]
    lines: dict[Where, int]
    body: str


class _Loader(yaml.SafeLoader):
    """Safe YAML without dates and numbers to the base of 60."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # yaml's own way
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rpartition(":")[2] not in ("timestamp", "int", "float")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Refuse anchors before anything is built of them."""
        if self.check_event(yaml.AliasEvent):
            peek: Any = self.peek_event  # without a type in some versions of yaml's stubs
            event = peek()
            raise yaml.MarkedYAMLError(
                problem="`*` and `&` are not available here; put texts that begin so in quotes",
                problem_mark=event.start_mark,
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), "-+0123456789"
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    "-+0123456789.",
)


def split_front_matter(text: str, file: Path) -> FrontMatterText:
    """Split a persona's file and read its front matter.

    Args:
        text: The file's text.
        file: The file, for errors.

    Raises:
        PersonaError: There is no front matter, or it is no plain YAML.
    """
    lines = text.split("\n")
    if not _MARK.match(lines[0]):
        raise PersonaError(
            "begin the file with a line `---`, then `name: ...` and `last_words: ...`, then "
            "another line `---`",
            file=file,
            line=1,
        )
    end = next((at for at, line in enumerate(lines) if at and _MARK.match(line)), None)
    if end is None:
        raise PersonaError(
            "the front matter does not end; put a line `---` after it", file=file, line=1
        )
    head = "\n".join(["", *lines[1:end]])
    found: dict[Where, int] = {}
    data = _read(head, file, found)
    return FrontMatterText(data, found, "\n" * (end + 1) + "\n".join(lines[end + 1 :]))


def _read(head: str, file: Path, lines: dict[Where, int]) -> dict[str, Any]:
    try:
        loader = _Loader(head)
        try:
            node = loader.get_single_node()
            if node is None:
                return {}
            if not isinstance(node, yaml.MappingNode):
                raise PersonaError(
                    "write lines of the form `name: value`", file=file, line=_line(node)
                )
            data: dict[str, Any] = _build(loader, node, (), lines, file)
            return data
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        raise PersonaError(
            f"this is not YAML: {err.problem or err.context}{_yaml_hint(err)}",
            file=file,
            line=mark.line + 1 if mark else None,
        ) from err
    except yaml.YAMLError as err:
        raise PersonaError(f"this is not YAML: {err}", file=file) from err
    except RecursionError as err:
        raise PersonaError("this is nested too deeply; make it flatter", file=file) from err


def _yaml_hint(err: yaml.MarkedYAMLError) -> str:
    problem = err.problem or ""
    if "mapping values are not allowed" in problem:
        return "; put texts with a colon in quotes"
    if "\\t" in problem:
        return "; indent with spaces, not with tabs"
    return ""


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _build(
    loader: _Loader, node: yaml.Node, path: Where, lines: dict[Where, int], file: Path
) -> Any:
    lines.setdefault(path, _line(node))
    if len(path) > _MAX_DEPTH:
        raise PersonaError(
            "this is nested too deeply; make it flatter", file=file, line=_line(node)
        )
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise PersonaError("a name must be a text", file=file, line=_line(key_node))
            key = str(key_node.value)
            if key in data:
                first = lines[(*path, key)]
                raise PersonaError(
                    f"`{key}` is there twice, first in line {first}; take one out",
                    file=file,
                    line=_line(key_node),
                )
            lines[(*path, key)] = _line(key_node)
            data[key] = _build(loader, value_node, (*path, key), lines, file)
        return data
    if isinstance(node, yaml.SequenceNode):
        return [
            _build(loader, item, (*path, at), lines, file) for at, item in enumerate(node.value)
        ]
    construct: Any = loader.construct_object
    value = construct(node)
    if not isinstance(value, str | int | float | bool | type(None)):
        raise PersonaError(
            f"{node.value!r} is no plain value; put it in quotes", file=file, line=_line(node)
        )
    return value
