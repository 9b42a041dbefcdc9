"""Personas' templates: inheritance is resolved once at load, and each block renders by itself.

Jinja's own `render` would follow `extends` and write one text on every turn. Here the block
functions of a persona and the templates it extends are collected once, child first, so that
`super()` works, and a turn calls each of them and gets one section of the prompt per block. Only
what a template sets outside of blocks (`set`, `macro`, `import`) runs before them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Template, nodes
from jinja2.runtime import Context

from palaver.errors import TemplateError
from palaver.hints import did_you_mean
from palaver.prompt.analysis import (
    Finding,
    Reference,
    assigned,
    outside_blocks,
    references,
    undeclared,
)
from palaver.prompt.blame import template_error
from palaver.prompt.bounds import BUDGET, Budget, room
from palaver.prompt.library import Library, Source
from palaver.prompt.sandbox import join

__all__ = ["BlockTemplate", "compile_template"]

_Render = Callable[[Context], Iterator[str]]
_SETS = (
    *(nodes.Assign, nodes.AssignBlock, nodes.Macro, nodes.Import, nodes.FromImport),
    *(nodes.If, nodes.For, nodes.With),
)


class BlockTemplate:
    """A compiled template, made by `compile_template`.

    Attributes:
        file: The file it was read from.
        blocks: Names of its blocks in the order of the base template.
        sources: The files it is made of, its own first.
        version: Hash of what is in all of them.
        inherited: The template that a block is from, by the block's name; those that the file
            writes itself are not in it.
    """

    def __init__(
        self,
        library: Library,
        sources: Sequence[Source],
        chain: Sequence[Source],
        templates: Sequence[Template],
    ) -> None:
        self.file = sources[0].file
        self.sources = tuple(sources)
        self.version = _hash(sources)
        self.blocks = tuple(
            node.name for node in chain[-1].tree.body if isinstance(node, nodes.Block)
        )
        self._chain = tuple(chain)
        self._env = library.env
        self._stacks: dict[str, list[_Render]] = {}
        for template in templates:
            for name, block in template.blocks.items():
                self._stacks.setdefault(name, []).append(block)
        self._order = [(name, self._stacks[name][0]) for name in self.blocks]
        # Blamed where what a block wrote is too long only in sum.
        self._places: dict[str | None, tuple[Path, int | None]] = {
            node.name: (source.file, node.lineno)
            for source in reversed(chain)
            for node in source.tree.find_all(nodes.Block)
        }
        self.inherited = {
            name: found.name
            for name, (found, _) in self._places.items()
            if name is not None and found != self.file
        }
        self._before = [found for source in chain if (found := _sets(library, source)) is not None]

    def render(self, variables: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """Render every block, in the order of the base template.

        Args:
            variables: Plain data, see `palaver.prompt.analysis.VARIABLES`.

        Returns:
            Name and text of each block that is not empty, without white space around it.

        Raises:
            TemplateError: It failed or broke a bound; with file and line.
        """
        token = BUDGET.set(Budget())
        at: str | None = None
        try:
            context = self._env.context_class(
                self._env,
                variables,  # type: ignore[arg-type]  # only read
                None,
                {},
            )
            context.blocks = self._stacks
            for before in self._before:
                for _ in before(context):
                    pass
            result = []
            total = 0
            for at, block in self._order:
                text = join(block(context)).strip()
                if text:
                    total += len(text)
                    result.append((at, text))
            room(total)
        except Exception as err:
            raise template_error(err, *self._places.get(at, (self.file, None))) from err
        finally:
            BUDGET.reset(token)
        return result

    def references(self, *, inside: Path) -> list[tuple[Source, list[Reference]]]:
        """Return the names used by those of its files that lie in a folder."""
        return [
            (source, references(source.tree))
            for source in self.sources
            if source.file.is_relative_to(inside)
        ]

    def findings(self, declared: Mapping[str, Sequence[str]], *, inside: Path) -> list[Finding]:
        """Return what is wrong with it but keeps nothing from running.

        Args:
            declared: Declared facts, for `facts`, `player` and `game`.
            inside: The folder whose files are looked at; those of plugins are not.
        """
        findings: list[Finding] = []
        for source in self._chain[:-1]:
            findings += outside_blocks(source)
            for node in source.tree.body:
                if isinstance(node, nodes.Block) and node.name not in self.blocks:
                    hint = did_you_mean(node.name, self.blocks)
                    base = self._chain[-1].name
                    message = f"{base!r} has no block `{node.name}`, so nobody reads it{hint}"
                    findings.append(Finding(source.file, node.lineno, "error", message))
        known = {name for source in self.sources for name in assigned(source.tree)}
        for source, found in self.references(inside=inside):
            findings += undeclared(found, declared, source.file, known=known)
        return [found for found in findings if found.file.is_relative_to(inside)]


def compile_template(library: Library, name: str, file: Path, text: str) -> BlockTemplate:
    """Compile a persona's template.

    Args:
        library: The templates it can extend and include.
        name: Its name, for messages.
        file: Its file.
        text: The template, with as many lines before it as stand before it in the file.

    Raises:
        TemplateError: It, or one it uses, is broken; with the file and line of that one.
    """
    own = library.parse(name, file, text)
    sources = library.used_by(own)
    chain = [own]
    try:
        compiled = [_compile(library, own)]
        while (parent := _parent(chain[-1])) is not None:
            chain.append(library.source(parent))
            compiled.append(library.env.get_template(parent))
        for source in sources:
            if source is not own:
                library.env.get_template(source.name)
        _check_base(own, chain[-1])
        return BlockTemplate(library, sources, chain, compiled)
    except Exception as err:
        raise template_error(err, chain[-1].file) from err


def _compile(library: Library, source: Source) -> Template:
    env = library.env
    code = env.compile(source.text, source.name, str(source.file))
    return env.template_class.from_code(env, code, env.make_globals(None))


def _parent(source: Source) -> str | None:
    extends = list(source.tree.find_all(nodes.Extends))
    if not extends:
        return None
    if len(extends) > 1:
        raise TemplateError(
            "a template extends one other; take this line out",
            file=source.file,
            line=extends[1].lineno,
        )
    if extends[0] not in source.tree.body:
        raise TemplateError(
            "put `extends` at the very beginning, outside of conditions",
            file=source.file,
            line=extends[0].lineno,
        )
    parent = extends[0].template
    return parent.value if isinstance(parent, nodes.Const) else None


def _check_base(own: Source, base: Source) -> None:
    if base is own or not any(isinstance(node, nodes.Block) for node in base.tree.body):
        line = own.text.count("\n", 0, len(own.text) - len(own.text.lstrip())) + 1
        raise TemplateError(
            'begin with {% extends "npc.j2" %} and put the text into its blocks, such as '
            "{% block background %} ... {% endblock %}",
            file=own.file,
            line=line,
        )


def _sets(library: Library, source: Source) -> _Render | None:
    """Compile what a template sets outside of its blocks, or None if that is nothing."""
    if not any(_sets_something(node) for node in source.tree.body):
        return None
    tree = library.env.parse(source.text, source.name, str(source.file))
    tree.body = [node for node in tree.body if _sets_something(node)]
    code = library.env.compile(tree, source.name, str(source.file))
    template = library.env.template_class.from_code(
        library.env, code, library.env.make_globals(None)
    )
    return template.root_render_func


def _sets_something(node: nodes.Node) -> bool:
    return isinstance(node, _SETS) and node.find(nodes.Block) is None


def _hash(sources: Sequence[Source]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        for part in (source.name, source.text):
            data = part.encode()
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]
