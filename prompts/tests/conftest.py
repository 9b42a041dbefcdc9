"""Read personas and render their blocks with plain Jinja, without the rest of Palaver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from jinja2 import ChoiceLoader, DictLoader, FileSystemLoader, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from palaver_prompts import TEMPLATES

FILTERS = frozenset(
    "lower upper title capitalize trim default join length first last round int float sort "
    "unique list tojson replace".split()
)


class Persona(NamedTuple):
    """A persona file, split into its two halves."""

    head: dict[str, Any]
    body: str


def read_persona(path: Path) -> Persona:
    """Split a persona file into front matter and body."""
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    return Persona(yaml.safe_load(head), body)


def variables(head: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
    """Return what a template sees before the game has said anything, with changes."""
    facts = deepcopy(dict(head.get("facts", {})))
    player, game = facts.pop("player", {}), facts.pop("game", {})
    result: dict[str, Any] = {
        "npc": {
            "id": "npc-1",
            "name": head["name"],
            "mood": head["mood"],
            "zone": "",
            "faction": head["faction"],
        },
        "facts": facts,
        "player": {"id": "p1", "name": "Ada", "lang": "en", "zone": "", **player},
        "game": game,
        "lang": "en",
        "lang_name": "English",
        "intent": "greeting",
        "actions": [],
        "emotions": ["neutral", "joy", "sadness", "anger", "fear", "contempt"],
        "context": {},
    }
    for name, value in changed.items():
        result[name] = {**result[name], **value} if isinstance(value, dict) else value
    return result


def render_blocks(
    body: str, values: Mapping[str, Any], *, trim_blocks: bool = False
) -> dict[str, str]:
    """Render each block of a persona's body by itself, as Palaver does."""
    env = ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([DictLoader({"persona": body}), FileSystemLoader(TEMPLATES)]),
        undefined=Undefined,
        trim_blocks=trim_blocks,
        lstrip_blocks=trim_blocks,
    )
    env.filters = {name: env.filters[name] for name in FILTERS}
    template = env.get_template("persona")
    context = template.new_context(dict(values))
    for _ in template.root_render_func(context):  # follows `extends`, which collects the blocks
        pass
    return {name: "".join(found[0](context)).strip() for name, found in context.blocks.items()}


@pytest.fixture
def read() -> Callable[[Path], Persona]:
    """Give tests `read_persona`."""
    return read_persona


@pytest.fixture
def render() -> Callable[..., dict[str, str]]:
    """Give tests `render_blocks`."""
    return render_blocks


@pytest.fixture
def values() -> Callable[..., dict[str, Any]]:
    """Give tests `variables`."""
    return variables
