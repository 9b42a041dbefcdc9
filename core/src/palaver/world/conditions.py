"""Conditions: Jinja expressions that say when a line may be spoken, in the templates' sandbox."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.parser import Parser

from palaver.errors import TemplateError
from palaver.prompt.analysis import Reference, references
from palaver.prompt.blame import template_error
from palaver.prompt.bounds import BUDGET, Budget
from palaver.prompt.sandbox import BoundedEnvironment, make_environment

__all__ = ["MAX_CONDITION_CHARS", "Condition", "compile_condition"]

MAX_CONDITION_CHARS = 1_000
"""Longest condition."""
_STEPS = 20_000
_RESULT = "result"
# What people who know other languages write, and what Jinja calls it.
_HABITS = (
    (re.compile(r"&&"), "write `and` instead of `&&`"),
    (re.compile(r"\|\|"), "write `or` instead of `||`"),
    (re.compile(r"!(?!=)"), "write `not` instead of `!`"),
    (re.compile(r"(?<![=!<>])=(?!=)"), "write `==` to compare"),
    (re.compile(r"\{\{|\{%"), "leave the braces out"),
)

log = logging.getLogger("palaver.world")


@cache
def _environment() -> BoundedEnvironment:
    return make_environment()


class Condition:
    """A compiled condition; call it with the turn's variables.

    Attributes:
        source: As it was written.
        file: Where.
        line: Where in it, from 1.
        references: The names it uses.
        retired: Whether it once did too much; it counts as not met from then on, until the world
            is read anew.
    """

    __slots__ = ("_failed", "_run", "file", "line", "references", "retired", "source")

    def __init__(
        self,
        source: str,
        file: Path,
        line: int,
        run: Callable[[Any], Any],
        names: tuple[Reference, ...],
    ) -> None:
        self.source, self.file, self.line, self.references = source, file, line, names
        self._run = run
        self._failed = False
        self.retired = False

    def __call__(self, variables: Mapping[str, Any]) -> bool:
        """Return whether the condition holds.

        One that fails does not hold, and is logged the first time: an NPC must not fall silent
        because a fact has an odd value.
        """
        if self.retired:
            return False
        try:
            return self.evaluate(variables)
        except TemplateError as err:
            if not self._failed:
                self._failed = True
                log.warning("%s; the condition %r counts as not met", err, self.source)
            return False

    def evaluate(self, variables: Mapping[str, Any], shared: Budget | None = None) -> bool:
        """Return whether the condition holds.

        Args:
            variables: The turn's variables.
            shared: What all conditions that are looked at for one line to say may do together;
                what this one does comes off it.

        Raises:
            TemplateError: It failed or did too much.
        """
        env = _environment()
        given = _STEPS if shared is None else max(0, min(_STEPS, shared.steps))
        budget = Budget(given)
        token = BUDGET.set(budget)
        try:
            context = env.context_class(env, variables, None, {})  # type: ignore[arg-type]  # only read
            for _ in self._run(context):
                pass
            return bool(context.vars[_RESULT])
        except Exception as err:
            found = template_error(err, None)
            # One that was cut short by what others did is not to blame.
            self.retired = budget.steps < 0 and given == _STEPS
            raise TemplateError(found.problem, file=self.file, line=self.line) from err
        finally:
            BUDGET.reset(token)
            if shared is not None:
                shared.steps -= given - max(0, budget.steps)


def compile_condition(source: str, *, file: Path, line: int) -> Condition:
    """Compile a condition.

    Args:
        source: A Jinja expression, such as `player.reputation == "friend" and facts.hunger < 3`.
        file: Where it stands, for errors.
        line: Where in it, from 1.

    Returns:
        A callable that takes the turn's variables and returns whether the condition holds.

    Raises:
        TemplateError: It cannot be understood, or uses what the sandbox does not have.
    """
    if len(source) > MAX_CONDITION_CHARS:
        problem = f"a condition has at most {MAX_CONDITION_CHARS:,} characters; make it shorter"
        raise TemplateError(problem, file=file, line=line)
    env = _environment()
    try:
        parser = Parser(env, source, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError(
                f"{parser.stream.current.value!r} was not expected", 1, None, None
            )
        expression.set_environment(env)
        names = tuple(references(expression))
        tree = nodes.Template([nodes.Assign(nodes.Name(_RESULT, "store"), expression, lineno=1)])
        tree.set_environment(env)
        code = env.compile(tree, None, str(file))
        template = env.template_class.from_code(env, code, env.make_globals(None))
    except Exception as err:
        problem = template_error(err, file).problem
        raise TemplateError(_helped(source, problem), file=file, line=line) from err
    names = tuple(Reference(name.root, name.name, line) for name in names)
    return Condition(source, file, line, template.root_render_func, names)


def _helped(source: str, problem: str) -> str:
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "''", source)
    for pattern, hint in _HABITS:
        if pattern.search(unquoted):
            return f"the condition {source!r} cannot be understood: {hint}"
    return f"the condition {source!r} cannot be understood: {problem}"
