"""Personas: who a character is, as YAML front matter and a Jinja template in one file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palaver.errors import PersonaError, TemplateError
from palaver.explain import explain
from palaver.prompt.library import Library, read_text
from palaver.prompt.template import compile_template
from palaver.world.front_matter import FrontMatterText, split_front_matter

__all__ = [
    "FrontMatter",
    "Persona",
    "PersonaSampling",
    "PersonaTemplate",
    "read_persona",
    "sample_variables",
]

_FACT = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


class PersonaSampling(BaseModel):
    """How a persona's next word is chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float | None = Field(default=None, ge=0, le=2, description="0 is the likeliest.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="Share of the likeliest.")
    max_tokens: int | None = Field(
        default=None, ge=1, le=8_000, description="Longest reply, within the tier's limit."
    )
    stop: list[str] = Field(default=[], max_length=4, description="Texts that end the reply.")


class FrontMatter(BaseModel):
    """What stands between the two `---` lines of a persona."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=128, description="Name that players see.")
    tier: str | None = Field(default=None, description="Policy of its turns.")
    adapter: str | None = Field(default=None, description="LoRA adapter, `name@version`.")
    lines: str | None = Field(
        default=None, description="Its authored lines; by default those of the persona's own name."
    )
    voice: str | None = Field(default=None, description="Voice for speech.")
    lang: str = Field(default="en", description="Its language, a BCP 47 tag.")
    mood: str = Field(default="neutral", description="Its usual mood.")
    faction: str | None = Field(default=None, description="Whom it belongs to.")
    facts: dict[str, Any] = Field(
        default={},
        description="Facts that the template uses, with their defaults; `player` and `game` hold "
        "those of the player and the game.",
    )
    emotions: list[str] = Field(default=[], description="Emotions of its own.")
    last_words: str = Field(
        min_length=1, max_length=500, description="Said when nothing else can answer."
    )
    sampling: PersonaSampling = Field(
        default=PersonaSampling(), description="How the next word is chosen."
    )


class PersonaTemplate(Protocol):
    """A compiled template.

    Attributes:
        inherited: The template that a block is from, by the block's name; those that the persona
            writes itself are not in it.
    """

    @property
    def inherited(self) -> Mapping[str, str]:
        """See above."""

    def render(self, variables: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """Render every block, in the order of the base template.

        Args:
            variables: Plain data: `npc`, `facts`, `player`, `game`, `lang`, ...

        Returns:
            Name and text of each block that is not empty.

        Raises:
            TemplateError: It failed or broke a bound; with file and line.
        """


@dataclass(frozen=True, slots=True)
class Persona:
    """A persona that is ready to speak.

    Attributes:
        id: The file's name without its ending; what engines call it.
        file: The file, relative to the world's folder.
        front: Its front matter.
        template: Its compiled template.
        version: Hash of everything it is made of, the templates it extends too.
        facts: Declared facts of the NPC with their defaults.
        player_facts: Declared facts of the player with their defaults.
        game_facts: Declared facts of the game with their defaults.
    """

    id: str
    file: Path
    front: FrontMatter
    template: PersonaTemplate
    version: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    player_facts: Mapping[str, Any] = field(default_factory=dict)
    game_facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def declared(self) -> dict[str, list[str]]:
        """Names of the declared facts, by the variable that holds them."""
        return {
            "facts": list(self.facts),
            "player": list(self.player_facts),
            "game": list(self.game_facts),
        }


MAX_PERSONA_BYTES = 64_000
"""Largest persona, in bytes."""
LOAD_S = 2.0
"""A template that takes longer to render at load is refused, whatever its budget says."""


def read_persona(file: Path, *, folder: Path, library: Library) -> Persona:
    """Read a persona, compile its template and render it once.

    Args:
        file: The persona's file, in `folder`.
        folder: The world's folder.
        library: The templates it can use.

    Raises:
        PersonaError: Its front matter is broken; `others` has what else is wrong with it.
        TemplateError: Its template, or one that it uses, is broken.
        WorldError: The file cannot be read.
    """
    text = read_text(file, inside=folder, max_bytes=MAX_PERSONA_BYTES)
    head = split_front_matter(text, file)
    try:
        front = FrontMatter.model_validate(head.data)
    except ValidationError as err:
        error = _front_matter_error(err, head, file)
        try:
            compile_template(library, f"personas/{file.name}", file, head.body)
        except TemplateError as also:
            error.others += (also,)
        raise error from err
    facts, player_facts, game_facts = _declared(front, head, file)
    template = compile_template(library, f"personas/{file.name}", file, head.body)
    persona = Persona(
        id=file.stem,
        file=file.relative_to(folder),
        front=front,
        template=template,
        version=hashlib.sha256(f"{text}\0{template.version}".encode()).hexdigest()[:16],
        facts=facts,
        player_facts=player_facts,
        game_facts=game_facts,
    )
    began = perf_counter()
    template.render(sample_variables(persona))
    if perf_counter() - began > LOAD_S:
        raise TemplateError(f"takes longer than {LOAD_S} s to render; make it simpler", file=file)
    return persona


def _front_matter_error(err: ValidationError, head: FrontMatterText, file: Path) -> PersonaError:
    errors = []
    for trouble in explain(err, FrontMatter, noun="key"):
        path = trouble.path
        while path and path not in head.lines:
            path = path[:-1]
        line = head.lines.get(path, 1) if path else 1
        errors.append(PersonaError(f"`{trouble.key}`: {trouble.message}", file=file, line=line))
    errors.sort(key=lambda error: error.line or 0)
    errors[0].others = tuple(errors[1:])
    return errors[0]


def _declared(
    front: FrontMatter, head: FrontMatterText, file: Path
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    facts = dict(front.facts)
    parts: list[dict[str, Any]] = [facts]
    for name in ("player", "game"):
        part = facts.pop(name, {})
        if not isinstance(part, dict):
            raise PersonaError(
                f"`facts.{name}` holds the facts of the {name}: put them below it, indented",
                file=file,
                line=head.lines.get(("facts", name)),
            )
        parts.append(part)
    for root, part in zip(((), ("player",), ("game",)), parts, strict=True):
        for name in part:
            if not _FACT.match(name):
                raise PersonaError(
                    f"`{name}` cannot be the name of a fact: use letters, digits and `_`",
                    file=file,
                    line=head.lines.get(("facts", *root, name)),
                )
    return parts[0], parts[1], parts[2]


def sample_variables(persona: Persona, **changed: Any) -> dict[str, Any]:
    """Return what the persona's template sees while nobody has said or told anything yet.

    Args:
        persona: The persona, whose declared facts have their defaults.
        changed: Variables to replace.
    """
    front = persona.front
    action = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}
    return {
        "npc": {
            "id": persona.id,
            "name": front.name,
            "mood": front.mood,
            "zone": None,
            "faction": front.faction,
        },
        "facts": dict(persona.facts),
        "player": {
            **persona.player_facts,
            **{"id": "player", "name": "Ada", "lang": front.lang, "zone": None},
        },
        "game": dict(persona.game_facts),
        "world": "world",
        "lang": front.lang,
        "lang_name": "English",
        "intent": "greeting",
        "actions": [{"name": "give", "description": "Hand something over.", "args": action}],
        "emotions": ["neutral", "joy", *front.emotions],
        "context": {},
        **changed,
    }
