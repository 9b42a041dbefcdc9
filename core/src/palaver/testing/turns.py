"""Turns and requests for tests of plugins and of the pipeline's steps, without a world on disk.

turn = make_turn("Good evening.", persona=make_persona("vampire"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palaver.chain.backend import GenerateRequest, Sampling
from palaver.config.models import Tier
from palaver.game import Branch, Npc, Player
from palaver.prompt.sections import Message
from palaver.turn.model import Turn
from palaver.world.lines import Line
from palaver.world.persona import FrontMatter, Persona
from palaver.world.world import World

__all__ = ["FixedTemplate", "make_persona", "make_request", "make_turn", "make_world"]


@dataclass(frozen=True, slots=True)
class FixedTemplate:
    """A template whose blocks are always the same.

    Attributes:
        blocks: Name and text of each.
        inherited: The template that a block is from, where it is not the persona's own.
    """

    blocks: Sequence[tuple[str, str]] = (("identity", "You are a test."),)
    inherited: Mapping[str, str] = field(default_factory=dict)

    def render(self, variables: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """Return the blocks."""
        return self.blocks


def make_persona(
    name: str = "tester", *, blocks: Sequence[tuple[str, str]] | None = None, **front: Any
) -> Persona:
    """Return a persona.

    Args:
        name: Its id.
        blocks: Blocks of its template.
        front: Its front matter; `name` and `last_words` have defaults.
    """
    template = FixedTemplate() if blocks is None else FixedTemplate(tuple(blocks))
    matter = FrontMatter.model_validate({"name": name.title(), "last_words": "Farewell.", **front})
    return Persona(name, Path("personas") / f"{name}.md", matter, template, "0")


def make_world(*personas: Persona, lines: Mapping[str, Sequence[Line]] | None = None) -> World:
    """Return a world of these personas and lines."""
    return World(
        "test", Path(), personas={one.id: one for one in personas}, lines=dict(lines or {})
    )


def make_turn(
    text: str = "Good evening.",
    *,
    persona: Persona | None = None,
    world: World | None = None,
    player: str | None = "ada",
    tier: Tier | None = None,
    **fields: Any,
) -> Turn:
    """Return a turn as it is when it enters the pipeline.

    Args:
        text: What is said.
        persona: Who is spoken to.
        world: Its world; by default one of this persona alone.
        player: Who speaks, or None.
        tier: Its policy; by default a chain of `static` alone.
        fields: More attributes of `Turn`.
    """
    persona = persona or make_persona()
    fields.setdefault("id", "t1")
    fields.setdefault("game", "default")
    fields.setdefault("branch", Branch("main"))
    fields.setdefault("npc", Npc("npc", persona.id))
    fields.setdefault("mood", persona.front.mood)
    fields.setdefault("tier_name", "test")
    return Turn(
        player=Player(player, name=player.title()) if player else None,
        persona=persona,
        world=world or make_world(persona),
        tier=tier or Tier(chain=["static"]),
        text=text,
        **fields,
    )


def make_request(text: str = "Who are you?", **fields: Any) -> GenerateRequest:
    """Return a request for a reply to a text.

    Args:
        text: What the player says.
        fields: Further fields of the request; without `sampling` the reply has 24 tokens at most.
    """
    identity = "You are Valerius, a vampire. You answer in one sentence."
    values: dict[str, Any] = {
        "turn": make_turn(text, persona=make_persona("vampire", blocks=[("identity", identity)])),
        "messages": [Message("system", identity), Message("user", text)],
        "sampling": Sampling(max_tokens=24),
    }
    return GenerateRequest(**{**values, **fields})
