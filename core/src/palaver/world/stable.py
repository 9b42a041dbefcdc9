"""Whether the beginning of a persona's prompt stays the same from turn to turn.

A model server keeps what it has read of an unchanged beginning (the prefix cache), so blocks that
stand there must not use what changes while people talk. What they use is looked up in the syntax
tree; as a second net, the persona is rendered under many different circumstances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import nodes

from palaver.errors import TemplateError
from palaver.prompt.analysis import references
from palaver.prompt.library import Source
from palaver.prompt.template import BlockTemplate
from palaver.turn.prompt import MOMENT_BLOCKS
from palaver.world.persona import Persona, sample_variables
from palaver.world.world import World

__all__ = ["unstable_blocks"]

_CHANGING = {"facts", "player", "game", "intent", "context"}
_CHANGING_NPC = {"mood", "zone"}


def unstable_blocks(persona: Persona, world: World) -> Iterator[tuple[Path, int | None, str]]:
    """Yield file, line and message for each block that should not change but does.

    Only blocks that a file of the world writes are looked at.
    """
    template = persona.template
    if not isinstance(template, BlockTemplate):
        return
    named: set[str] = set()
    for source, block in _blocks(template, world.folder):
        if block.name in MOMENT_BLOCKS:
            continue
        for name, line in _changing(template, source, block):
            named.add(block.name)
            yield source.file, line, _message(block.name, f"`{name}`")
            break
    for name in _changed(persona) - named:
        for source, block in _blocks(template, world.folder):
            if block.name == name:
                yield source.file, block.lineno, _message(name, "what changes")
                break


def _message(block: str, what: str) -> str:
    moment = " or ".join(f"`{name}`" for name in sorted(MOMENT_BLOCKS))
    return (
        f"block `{block}` stands at the beginning of the prompt but uses {what}, so the model "
        f"reads everything again whenever that changes; move this part to {moment}"
    )


def _blocks(template: BlockTemplate, folder: Path) -> Iterator[tuple[Source, nodes.Block]]:
    for source in template.sources:
        if source.file.is_relative_to(folder):
            for node in source.tree.body:
                if isinstance(node, nodes.Block) and node.name in template.blocks:
                    yield source, node


def _changing(
    template: BlockTemplate, source: Source, node: nodes.Node, depth: int = 0
) -> Iterator[tuple[str, int]]:
    """Yield what changes of the names a node uses, also through its includes."""
    for found in references(node, first_line=node.lineno or 1):
        if found.root in _CHANGING:
            name = f"{found.root}.{found.name}" if found.name else found.root
            yield name, found.line
        elif found.root == "npc" and found.name in _CHANGING_NPC:
            yield f"npc.{found.name}", found.line
    files = {other.name: other for other in template.sources}
    for include in node.find_all(nodes.Include):
        part = include.template.value if isinstance(include.template, nodes.Const) else None
        if part in files and depth < 12:
            for inner, _ in _changing(template, files[part], files[part].tree, depth + 1):
                yield inner, include.lineno


def _changed(persona: Persona) -> set[str]:
    """Return the blocks, but those of the moment, that differ between circumstances."""
    seen: dict[str, str] | None = None
    changed: set[str] = set()
    for variables in _circumstances(persona):
        try:
            blocks = dict(persona.template.render(variables))
        except TemplateError:
            continue  # what one persona cannot bear is told elsewhere
        if seen is None:
            seen = blocks
        changed |= {name for name in {*seen, *blocks} if seen.get(name) != blocks.get(name)}
    return changed - MOMENT_BLOCKS


def _circumstances(persona: Persona) -> Iterator[dict[str, Any]]:
    base = sample_variables(persona)
    yield base
    for pick in range(4):
        yield {
            **base,
            "npc": {**base["npc"], "mood": ("angry", "calm", "", "sad")[pick], "zone": f"z{pick}"},
            "facts": _other(persona.facts, pick),
            "player": {
                **_other(persona.player_facts, pick),
                **{"id": f"p{pick}", "name": ("Bo", "", "Cy", "Di")[pick], "zone": f"z{pick}"},
                "lang": base["lang"],
            },
            "game": _other(persona.game_facts, pick),
            "intent": ("threat", "trade", "quest", "insult")[pick],
            "context": {"moon": pick},
        }


def _other(facts: Mapping[str, Any], pick: int) -> dict[str, Any]:
    """Return facts of the same kinds with other values."""
    result: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, bool):
            result[name] = not value if pick % 2 else value
        elif isinstance(value, int | float):
            result[name] = (0, 1_000, -1_000, value + 1)[pick]
        elif isinstance(value, str):
            result[name] = ("friend", "enemy", "", "other")[pick]
        elif isinstance(value, list):
            result[name] = ([], ["other"], value, [*value, "more"])[pick]
        else:
            result[name] = value
    return result
