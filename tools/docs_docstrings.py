"""Google docstrings as Markdown, for the reference pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

_SECTION = re.compile(r"^(Args|Returns|Raises|Example|Attributes|Yields):$")
_ENTRY = re.compile(r"^(\*{0,2}[\w`./ ]+?):\s+(.*)$")


def signature(function: Callable[..., Any]) -> str:
    """Returns `name(argument: type, ...) -> type` as it is written in the source."""
    found = inspect.signature(function)
    parameters = [f"{name}: {parameter.annotation}" for name, parameter in found.parameters.items()]
    return f"{function.__name__}({', '.join(parameters)}) -> {found.return_annotation}"


def to_markdown(docstring: str) -> str:
    """Returns a docstring with its sections as bold words, lists and code."""
    blocks: list[str] = []
    section = ""
    lines: list[str] = []
    for line in [*inspect.cleandoc(docstring).splitlines(), None]:
        heading = _SECTION.match(line) if line is not None else None
        dedented = line is not None and section and line and not line.startswith(" ")
        if heading or line is None or dedented:
            blocks.extend(_block(section, lines))
            section, lines = (heading[1] if heading else ""), []
        if line is not None and not heading:
            lines.append(line)
    return "\n\n".join(block for block in blocks if block)


def _block(section: str, lines: list[str]) -> list[str]:
    text = inspect.cleandoc("\n".join(lines)).strip()
    if not text:
        return []
    if not section:
        return [_escape(text)]
    if section == "Example":
        return ["**Example**", f"```python\n{text}\n```"]
    if section == "Returns":
        return [f"**Returns** {_escape(' '.join(text.split()))}"]
    return [f"**{section}**", "\n".join(_entries(text))]


def _entries(text: str) -> list[str]:
    entries: list[str] = []
    for line in text.splitlines():
        found = _ENTRY.match(line)
        if found and not line.startswith(" "):
            entries.append(f"- `{found[1].strip('`')}`: {_escape(found[2])}")
        elif entries:
            entries[-1] += f" {_escape(line.strip())}"
        else:
            entries.append(f"- {_escape(line.strip())}")
    return entries


def _escape(text: str) -> str:
    # Only what Markdown would take for markup outside of code.
    return re.sub(r"(?<!`)<(\w+)>(?!`)", r"`<\1>`", text)
