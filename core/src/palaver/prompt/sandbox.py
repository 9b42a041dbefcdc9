"""The sandbox that templates and conditions run in.

A world may come from a stranger, so its templates get plain data and closed lists of what they may
do with it (`methods`, `filters`, `predicates`, `compiler`), and a budget that is counted, not
timed (`bounds`). No attribute of a Python object is ever looked up for a template.

Missing values are lenient (`operators`): they render as nothing, chain, and compare as false. A
value of none renders as nothing, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from jinja2 import BaseLoader, Template, Undefined, nodes
from jinja2.environment import TemplateModule
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, missing

from palaver.prompt import operators
from palaver.prompt.blame import template_error
from palaver.prompt.bounds import BUDGET, MAX_DEPTH, Refused, kind, metered, room, spend, written
from palaver.prompt.compiler import BoundedCodeGenerator, charge, check
from palaver.prompt.filters import FILTERS
from palaver.prompt.methods import METHODS, Method, listing
from palaver.prompt.predicates import PREDICATES

__all__ = ["BoundedEnvironment", "make_environment"]

MAX_RANGE = 1_000
"""Longest `range`."""
_CALL_STEPS = 10
_FILE_STEPS = 20
_LOOP = frozenset(
    "index index0 revindex revindex0 first last length depth depth0 previtem nextitem cycle "
    "changed".split()
)


def _range(*bounds: Any) -> list[int]:
    if not all(isinstance(bound, int) for bound in bounds) or not 1 <= len(bounds) <= 3:
        raise Refused("`range` takes one to three whole numbers")
    if len(bounds) == 3 and not bounds[2]:
        raise Refused("the step of `range` must not be 0")
    numbers = range(*bounds)
    try:
        length = len(numbers)
    except OverflowError:
        length = MAX_RANGE + 1
    if length > MAX_RANGE:
        raise Refused(f"`range` goes up to {MAX_RANGE:,} numbers")
    spend(1 + length)
    return list(numbers)


def _dict(pairs: Any = (), **named: Any) -> dict[Any, Any]:
    if isinstance(pairs, dict):
        pairs = list(pairs.items())
    pairs = [tuple(pair) for pair in listing(pairs) if isinstance(pair, list | tuple)]
    return {**operators.mapping(tuple(pair for pair in pairs if len(pair) == 2)), **named}


def _namespace(*args: Any, **named: Any) -> Namespace:
    return Namespace(_dict(*args), **named)


GLOBALS: dict[str, Callable[..., Any]] = {"range": _range, "dict": _dict, "namespace": _namespace}
"""Functions that every template may call."""
_FUNCTIONS = frozenset(map(id, GLOBALS.values()))
_CALLABLE = (Method, Macro, BlockReference)


class _Context(Context):
    """Finds globals without copying them for every render."""

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars:
            return self.vars[key]
        if key in self.parent:
            return self.parent[key]
        return GLOBALS.get(key, missing)


class _Template(Template):
    """A template whose render is bounded and whose errors name file and line."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        """Render the whole template with a budget of its own.

        Raises:
            TemplateError: It failed or broke a bound.
        """
        with metered():
            try:
                context = self.new_context(dict(*args, **kwargs))
                return join(self.root_render_func(context))
            except Exception as err:
                raise template_error(err, self.filename or self.name) from err


def join(pieces: Iterable[str]) -> str:
    """Return the pieces a template wrote as one text.

    Raises:
        Refused: It is too long.
    """
    parts = []
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > 256_000:
            room(total)
        parts.append(piece)
    room(total)
    return "".join(parts)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with closed lists and budgets instead of open ends; see the module."""

    code_generator_class = BoundedCodeGenerator
    context_class = _Context
    template_class = _Template
    concat = staticmethod(join)
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    intercepted_unops = frozenset(("+", "-"))

    # Called by compiled templates, see `compiler`.
    spend = staticmethod(spend)
    concatenate = staticmethod(operators.concatenate)
    compare = staticmethod(operators.compare)
    mapping = staticmethod(operators.mapping)
    slice_of = staticmethod(operators.slice_of)

    def __init__(self, loader: BaseLoader | None = None) -> None:
        super().__init__(
            loader=loader,
            optimized=False,  # Jinja would evaluate constants while it compiles, unbounded
            undefined=operators.Missing,
            finalize=written,
            autoescape=False,
            auto_reload=False,
            cache_size=-1,
        )
        self.filters = dict(FILTERS)
        self.tests = dict(PREDICATES)
        self.globals = dict(GLOBALS)
        self.policies = {}

    def _generate(
        self,
        source: nodes.Template,
        name: str | None,
        filename: str | None,
        defer_init: bool = False,
    ) -> str:
        check(source, self.filters, self.tests, name, filename)
        charge(source)
        return super()._generate(source, name, filename, defer_init)

    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Let the exception go on as it is; Jinja would rewrite its traceback."""
        raise  # one is always being handled

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return what stands behind the dot: a key, else a method of the closed list."""
        if isinstance(obj, dict):
            value = obj.get(attribute, missing)
            if value is not missing:
                return value
        found = METHODS.get(type(obj))
        if found is not None:
            function = found.get(attribute)
            return self._absent(obj, attribute) if function is None else Method(function, obj)
        return self._other(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return what stands in the brackets: an item, else what `getattr` finds."""
        value = operators.item(obj, argument)
        if value is not operators.ABSENT:
            return value
        return self.getattr(obj, argument) if isinstance(argument, str) else self._absent(obj, "")

    def _other(self, obj: Any, name: str) -> Any:
        """Look a name up in what is no plain value, by what kind of thing it is."""
        if isinstance(obj, Undefined):
            return obj
        if isinstance(obj, LoopContext):
            if name not in _LOOP:
                return self._absent(obj, name)
            value = getattr(obj, name)
            return Method(getattr(LoopContext, name), obj) if callable(value) else value
        if name.startswith("_"):
            return self._absent(obj, name)
        if isinstance(obj, Namespace):
            # Its own lookup knows only what was put into it.
            return getattr(obj, name, None) if hasattr(obj, name) else self._absent(obj, name)
        if isinstance(obj, TemplateModule):
            value = vars(obj).get(name, missing)
            return self._absent(obj, name) if value is missing else value
        if isinstance(obj, BlockReference) and name == "super":
            return obj.super
        value = operators.item(obj, name)
        return self._absent(obj, name) if value is operators.ABSENT else value

    def _absent(self, obj: Any, name: str) -> Undefined:
        return operators.Missing(obj=obj, name=name)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a macro, a method, a global function, a parent block or a recursive loop."""
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        spend(_CALL_STEPS)
        if isinstance(obj, LoopContext):
            args = tuple(map(self.each, args))
        elif not isinstance(obj, _CALLABLE) and id(obj) not in _FUNCTIONS:
            raise Refused(_not_callable(obj))
        budget = BUDGET.get()
        if budget.depth >= MAX_DEPTH:
            raise Refused(f"macros call each other more than {MAX_DEPTH} deep")
        budget.depth += 1
        try:
            return obj(*args, **kwargs)
        finally:
            budget.depth -= 1

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return the result of an operator."""
        return operators.arithmetic(operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        """Return the result of a sign."""
        return operators.negate(operator, arg)

    def each(self, values: Any) -> Any:
        """Return what a loop goes through, charged in advance."""
        if isinstance(values, LoopContext):
            raise Refused("`loop` cannot be looped over; use the list itself")
        return listing(values)

    def get_template(self, name: Any, *args: Any, **kwargs: Any) -> Template:
        """Load a template, charging it to the render that asks."""
        if BUDGET.get(None) is not None:
            spend(_FILE_STEPS)
        return super().get_template(name, *args, **kwargs)


def _not_callable(obj: Any) -> str:
    if isinstance(obj, Undefined):
        return f"there is no function or macro of this name ({obj._undefined_message})"
    return f"{kind(obj)} cannot be called; leave the brackets out"


def make_environment(loader: BaseLoader | None = None) -> BoundedEnvironment:
    """Return a sandbox for templates.

    Args:
        loader: Where `extends`, `include` and `import` find files; None for nowhere.
    """
    return BoundedEnvironment(loader)
