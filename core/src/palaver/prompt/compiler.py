"""What templates may be written in, and how it is compiled so that everything is charged.

A template's syntax tree is checked against a closed list of node types, so that whatever Jinja may
learn in the future stays out until it is looked at. Then charges are put into the tree: where a
loop's round, a macro, a block or a file begins, the number of nodes in it is spent. The compiler
turns operators into calls of the environment, because Jinja compiles several of them (`~`, `==`,
slices) to plain Python that no environment can intercept.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import TemplateSyntaxError

from palaver.hints import did_you_mean
from palaver.prompt.bounds import MAX_BITS, MAX_TEXT

__all__ = ["BoundedCodeGenerator", "charge", "check"]

_ALLOWED = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Block, nodes.Extends),
        *(nodes.Include, nodes.Import, nodes.FromImport, nodes.Macro, nodes.CallBlock),
        *(nodes.For, nodes.If, nodes.With, nodes.FilterBlock, nodes.Assign, nodes.AssignBlock),
        *(nodes.Name, nodes.NSRef, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair),
        *(nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem),
        *(nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand),
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow),
        *(nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
    }
)
_FILES = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)


def check(
    tree: nodes.Template,
    filters: Collection[str],
    tests: Collection[str],
    name: str | None = None,
    filename: str | None = None,
) -> None:
    """Check that a tree holds only what templates may use.

    Args:
        tree: The parsed template.
        filters: Names of the filters there are.
        tests: Names of the tests there are.
        name: Name of the template, for the error.
        filename: Its file, likewise.

    Raises:
        TemplateSyntaxError: It does not; with the line and what to write instead.
    """
    stack: list[tuple[nodes.Node, int]] = [(tree, 1)]
    while stack:
        node, line = stack.pop()
        line = node.lineno or line
        if problem := _problem(node, filters, tests):
            raise TemplateSyntaxError(problem, line, name, filename)
        stack.extend((child, line) for child in node.iter_child_nodes())


def _problem(node: nodes.Node, filters: Collection[str], tests: Collection[str]) -> str | None:
    if type(node) not in _ALLOWED:
        return f"`{type(node).__name__}` is not available in templates"
    if isinstance(node, nodes.Filter) and node.name not in filters:
        return f"there is no filter `{node.name}`{did_you_mean(node.name, filters)}"
    if isinstance(node, nodes.Test) and node.name not in tests:
        return f"there is no test `{node.name}`{did_you_mean(node.name, tests)}"
    if isinstance(node, nodes.Name) and node.name == "self":
        return "`self` is not available; write `super()`, or put the text into a macro"
    if isinstance(node, nodes.Const):
        if isinstance(node.value, int) and node.value.bit_length() > MAX_BITS:
            return "this number is too large; keep numbers below 2**256"
        if isinstance(node.value, str) and len(node.value) > MAX_TEXT:
            return f"this text is longer than {MAX_TEXT:,} characters; make it shorter"
    if isinstance(node, _FILES) and not _constant(node.template):
        tag = {nodes.Extends: "extends", nodes.Include: "include"}.get(type(node), "import")
        return f'write the name of the file itself, such as {{% {tag} "parts/rules.j2" %}}'
    return None


def _constant(node: nodes.Node) -> bool:
    if isinstance(node, nodes.List | nodes.Tuple):
        return all(map(_constant, node.items))
    return isinstance(node, nodes.Const) and isinstance(node.value, str)


def charge(node: nodes.Node) -> int:
    """Put the charges into a tree that was checked.

    Returns:
        The number of nodes in it.
    """
    if not isinstance(node, nodes.For):
        weight = 1 + sum(map(charge, list(node.iter_child_nodes())))
        if isinstance(node, nodes.Macro | nodes.CallBlock | nodes.Block | nodes.Template):
            node.body.insert(0, _spending(weight, node.lineno))
        return weight
    body = 1 + sum(map(charge, node.body))
    test = 1 + charge(node.test) if node.test is not None else 0
    around = sum(map(charge, [node.target, node.iter, *node.else_]))
    node.body.insert(0, _spending(body, node.lineno))
    if node.test is not None:
        node.test = nodes.And(_charger(test), node.test, lineno=node.lineno)
    # Nothing else makes such a node, so the compiler knows the iterable of a loop by it.
    node.iter = nodes.MarkSafe(node.iter, lineno=node.lineno)
    return 1 + body + test + around


def _charger(steps: int) -> nodes.Expr:
    return nodes.MarkSafeIfAutoescape(nodes.Const(steps))


def _spending(steps: int, line: int | None) -> nodes.ExprStmt:
    return nodes.ExprStmt(_charger(steps), lineno=line or 1)


class BoundedCodeGenerator(CodeGenerator):
    """Compiles a checked and charged tree; every operator goes through the environment."""

    def visit_MarkSafe(self, node: nodes.MarkSafe, frame: Frame) -> None:
        """Compile the iterable of a loop."""
        self.write("environment.each(")
        self.visit(node.expr, frame)
        self.write(")")

    def visit_MarkSafeIfAutoescape(self, node: nodes.MarkSafeIfAutoescape, frame: Frame) -> None:
        """Compile a charge."""
        self.write("environment.spend(")
        self.visit(node.expr, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        """Compile `~`."""
        self.write("environment.concatenate((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        """Compile a chain of comparisons. Its sides have no effects, so all are evaluated."""
        self.write("environment.compare(")
        self.visit(node.expr, frame)
        for operand in node.ops:
            self.write(f", {operand.op!r}, ")
            self.visit(operand.expr, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        """Compile a mapping, whose keys have to be looked at."""
        self.write("environment.mapping((")
        for pair in node.items:
            self.write("(")
            self.visit(pair.key, frame)
            self.write(", ")
            self.visit(pair.value, frame)
            self.write("), ")
        self.write("))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        """Compile `[key]` and `[from:to]`."""
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.slice_of(")
        self.visit(node.node, frame)
        for bound in (node.arg.start, node.arg.stop, node.arg.step):
            self.write(", ")
            if bound is None:
                self.write("None")
            else:
                self.visit(bound, frame)
        self.write(")")

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        # Jinja evaluates constants while it compiles, outside of any budget.
        if isinstance(node, nodes.TemplateData):
            return super()._output_child_to_const(node, frame, finalize)
        raise nodes.Impossible
