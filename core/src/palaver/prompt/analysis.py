"""What can be seen in a template without running it: names nobody declared, text nobody reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import nodes

from palaver.hints import did_you_mean, nearest
from palaver.prompt.library import Source
from palaver.prompt.sandbox import GLOBALS

__all__ = ["FIELDS", "VARIABLES", "Finding", "Reference", "outside_blocks", "references"]

VARIABLES = frozenset(
    "npc facts player game lang lang_name intent actions emotions context world".split()
)
"""What every template and condition can use."""
FIELDS: Mapping[str, frozenset[str]] = {
    "npc": frozenset({"id", "name", "mood", "zone", "faction"}),
    "facts": frozenset(),
    "player": frozenset({"id", "name", "lang", "zone"}),
    "game": frozenset(),
}
"""What is in the mappings among them, besides declared facts."""
_SPECIAL = frozenset({"loop", "super", "caller", "varargs", "kwargs", *GLOBALS})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend that keeps nothing from running.

    Attributes:
        file: The file.
        line: Line in it, from 1, or None for the whole file.
        severity: `error` for what cannot be meant, `warning` for what is unwise.
        message: What it is and what to write instead.
    """

    file: Path
    line: int | None
    severity: Literal["error", "warning"]
    message: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that a template or condition uses.

    Attributes:
        root: The variable, such as `player`.
        name: The field of it, such as `reputation`, or None where the variable itself is used.
        line: Where, from 1.
    """

    root: str
    name: str | None
    line: int


def references(tree: nodes.Node, *, first_line: int = 1) -> list[Reference]:
    """Return the names that a tree uses, but for those it sets itself."""
    own = _SPECIAL | set(assigned(tree))
    found: list[Reference] = []
    stack: list[tuple[nodes.Node, int]] = [(tree, first_line)]
    while stack:
        node, line = stack.pop()
        line = node.lineno or line
        inner = node.node if isinstance(node, nodes.Getattr | nodes.Getitem) else None
        if isinstance(inner, nodes.Name) and inner.name not in own:
            if isinstance(node, nodes.Getattr):
                found.append(Reference(inner.name, node.attr, line))
            elif isinstance(node, nodes.Getitem):
                key = node.arg.value if isinstance(node.arg, nodes.Const) else None
                found.append(Reference(inner.name, key if isinstance(key, str) else None, line))
                stack.append((node.arg, line))
            continue
        if isinstance(node, nodes.Name) and node.ctx == "load" and node.name not in own:
            found.append(Reference(node.name, None, line))
        stack.extend((child, line) for child in node.iter_child_nodes())
    return sorted(found, key=lambda reference: reference.line)


def assigned(tree: nodes.Node) -> Iterator[str]:
    """Yield the names that a tree sets somewhere."""
    for node in tree.find_all((nodes.Name, nodes.Macro, nodes.Import, nodes.FromImport)):
        if isinstance(node, nodes.Name) and node.ctx in ("store", "param"):
            yield node.name
        elif isinstance(node, nodes.Macro):
            yield node.name
        elif isinstance(node, nodes.Import):
            yield node.target
        elif isinstance(node, nodes.FromImport):
            yield from (name[1] if isinstance(name, tuple) else name for name in node.names)


def undeclared(
    found: Iterable[Reference],
    declared: Mapping[str, Collection[str]],
    file: Path,
    *,
    known: Collection[str] = (),
) -> list[Finding]:
    """Return what is used but not there.

    Args:
        found: The names that are used.
        declared: Declared facts, for `facts`, `player` and `game`.
        file: Where they are used.
        known: Further variables, such as those set in a file that includes this one.
    """
    findings = []
    seen: set[tuple[str, str | None]] = set()
    for reference in found:
        root, name = reference.root, reference.name
        key = (root, name if root in FIELDS else None)
        if root in known or key in seen:
            continue
        seen.add(key)
        message = None
        if root not in VARIABLES:
            message = f"there is no variable `{root}`{_variable_hint(root, declared)}"
        elif root in FIELDS and name is not None:
            names = {*FIELDS[root], *declared.get(root, ())}
            if name not in names:
                message = _undeclared_message(root, name, names, declared)
        if message is not None:
            findings.append(Finding(file, reference.line, "error", message))
    return findings


def _variable_hint(root: str, declared: Mapping[str, Collection[str]]) -> str:
    for where, names in declared.items():
        if root in names:
            return f"; did you mean `{where}.{root}`?"
    return did_you_mean(root, VARIABLES)


def _undeclared_message(
    root: str, name: str, names: Collection[str], declared: Mapping[str, Collection[str]]
) -> str:
    if root == "npc":
        return f"`npc` has no `{name}`{did_you_mean(name, names, otherwise='it has')}"
    for where, others in declared.items():
        if where != root and name in others:
            return f"`{root}.{name}` is not declared; did you mean `{where}.{name}`?"
    message = f"`{root}.{name}` is not declared"
    best = nearest(name, names)
    if best is not None:
        return f"{message}; did you mean `{root}.{best}`?"
    place = "`facts:`" if root == "facts" else f"`{root}:` below `facts:`"
    return f"{message}; give it a default under {place} in the front matter"


def outside_blocks(source: Source) -> list[Finding]:
    """Return where a template that extends another has text that no block holds."""
    findings = []
    for node in source.tree.body:
        if isinstance(node, nodes.Output):
            line = _first_text(node)
            if line is not None:
                findings.append(
                    Finding(
                        source.file,
                        line,
                        "error",
                        "this text is in no block and goes nowhere; put it between "
                        "{% block background %} and {% endblock %}",
                    )
                )
        elif isinstance(node, nodes.If | nodes.For | nodes.With) and node.find(nodes.Block):
            findings.append(
                Finding(
                    source.file,
                    node.lineno,
                    "error",
                    "a block inside a condition or loop is not used; put the condition inside "
                    "the block",
                )
            )
        elif isinstance(node, nodes.Include):
            findings.append(
                Finding(
                    source.file,
                    node.lineno,
                    "error",
                    "this include is in no block and goes nowhere; put it inside one",
                )
            )
    return findings


def _first_text(output: nodes.Output) -> int | None:
    for part in output.nodes:
        if not isinstance(part, nodes.TemplateData):
            return part.lineno or output.lineno
        if part.data.strip():
            blank = len(part.data) - len(part.data.lstrip())
            return (part.lineno or output.lineno) + part.data.count("\n", 0, blank)
    return None
