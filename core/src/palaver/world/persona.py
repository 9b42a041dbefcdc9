"""Personas: who a character is, as YAML front matter and a Jinja template in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FrontMatter", "Persona", "PersonaSampling", "PersonaTemplate"]


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
    """A compiled template."""

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
