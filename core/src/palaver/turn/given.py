"""Turns whose prompt and memory are the client's own: for programs that bring both.

Everything else of a turn stays as it is: the tier's chain, limits, spend and checks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palaver.game import Npc, Player
from palaver.memory import Exchange, player_key
from palaver.prompt.neutralize import neutralize
from palaver.prompt.sections import Message, Place, Role, Section
from palaver.turn.language import choose_lang
from palaver.turn.model import Priority, Turn
from palaver.world.persona import FrontMatter, Persona, PersonaSampling

if TYPE_CHECKING:
    from palaver.config.models import Settings
    from palaver.game import Game
    from palaver.world.world import World

__all__ = ["Given", "given_exchanges", "given_sections", "make_given_turn"]

MAX_SAID_CHARS = 4_000
"""How much of the last words intent, plugins and log see; a model gets all of them."""
UNKNOWN_LANG = "und"
"""The tag for a language that nobody named (ISO 639-2); replies may be in any."""
HISTORY_BLOCK = 4
"""Messages of the conversation that are dropped together where a prompt is too long."""


@dataclass(frozen=True, slots=True)
class Given:
    """A turn as a client brings it.

    Attributes:
        id: Id of the turn.
        tier: Name of a tier that exists.
        messages: The prompt, at least one message of a user in it.
        player: Who speaks, or None.
        lang: Language of the reply, or None where nobody said.
        priority: How urgent it is.
        seed: For repeatable replies, or None.
        sampling: How the next word is chosen; the tier's limits still hold.
        last_words: What is said when nothing else can answer.
    """

    id: str
    tier: str
    messages: Sequence[Message]
    player: str | None = None
    lang: str | None = None
    priority: Priority = "player"
    seed: int | None = None
    sampling: PersonaSampling = field(default_factory=PersonaSampling)
    last_words: str = "Give me a moment."


class _NoTemplate:
    """The template of somebody whose prompt comes from elsewhere."""

    inherited: Mapping[str, str] = {}

    def render(self, variables: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        return ()


def make_given_turn(given: Given, world: World, settings: Settings, game: Game) -> Turn:
    """Make a turn of a client's own prompt.

    Nobody of the game answers: the NPC and the persona are made for this turn, which waits for
    no other.

    Args:
        given: What the client brings.
        world: The world as it is now.
        settings: The settings, for the tier.
        game: The game.
    """
    messages = tuple(Message(one.role, neutralize(one.content)) for one in given.messages)
    last = _last_user(messages)
    player = None
    if given.player is not None:
        player = game.players.get(given.player) or Player(given.player)
    name = f"tier/{given.tier}"
    persona = Persona(
        id=name,
        file=Path(name),
        front=FrontMatter(
            name=name,
            lang=given.lang or UNKNOWN_LANG,
            last_words=given.last_words,
            sampling=given.sampling,
        ),
        template=_NoTemplate(),
        # Only who asks the very same may share an answer.
        version=_version(messages, given.sampling),
    )
    return Turn(
        id=given.id,
        game=game.name,
        branch=game.branch,
        npc=Npc(name, name),
        player=player,
        persona=persona,
        world=world,
        tier=settings.tiers[given.tier],
        tier_name=given.tier,
        text=messages[last].content[:MAX_SAID_CHARS],
        lang=choose_lang(given.lang, player.lang if player else None, UNKNOWN_LANG),
        priority=given.priority,
        seed=given.seed,
        mood=persona.front.mood,
        accepted_at=time.perf_counter(),
        given_prompt=messages,
        given_history=given_exchanges(name, player, messages[:last]),
    )


def given_sections(messages: Sequence[Message]) -> list[Section]:
    """Return a client's messages as the sections of a prompt.

    Those of the system come first, wherever they stood: many chat templates allow no others.
    The last of a user is what is answered; what an assistant said after it is left out.
    """
    last = _last_user(messages)
    system = [
        _section(f"system.{index}", "system", one.content, Place.STABLE, 100)
        for index, one in enumerate(messages)
        if one.role == "system"
    ]
    talk = [
        _section(
            f"history.{index}", one.role, one.content, Place.HISTORY, 55, index // HISTORY_BLOCK
        )
        for index, one in enumerate(one for one in messages[:last] if one.role != "system")
    ]
    said = _section("utterance", "user", messages[last].content, Place.UTTERANCE, 100)
    if not said.text.strip():
        # A message without text would be left out, and nobody would be answered.
        said.text = "(Nothing is said.)"
    return [*system, *talk, said]


def given_exchanges(
    npc: str, player: Player | None, messages: Sequence[Message]
) -> tuple[Exchange, ...]:
    """Return a conversation as exchanges: what was said, and the reply to it.

    Args:
        npc: Who answers.
        player: Who speaks, or None.
        messages: The conversation before the last words; those of the system are left out.
    """
    found: list[Exchange] = []
    said: list[str] = []
    reply: list[str] = []

    def close() -> None:
        if said or reply:
            found.append(
                Exchange(
                    npc=npc,
                    counterpart=player_key(player.id) if player is not None else None,
                    said="\n".join(said),
                    cue=False,
                    reply="\n".join(reply),
                    # Nobody knows when; their order is all there is.
                    at=float(len(found)),
                    speaker_name=(player.name or player.id) if player is not None else "",
                )
            )
        said.clear()
        reply.clear()

    for one in messages:
        if one.role == "user":
            if reply:
                close()
            said.append(one.content)
        elif one.role == "assistant":
            reply.append(one.content)
    close()
    return tuple(found)


def _section(
    name: str, role: Role, text: str, place: Place, priority: int, block: int | None = None
) -> Section:
    return Section(name, role, text, priority, "the client", place, block)


def _last_user(messages: Sequence[Message]) -> int:
    return max(index for index, one in enumerate(messages) if one.role == "user")


def _version(messages: Sequence[Message], sampling: PersonaSampling) -> str:
    made = hashlib.sha256(sampling.model_dump_json().encode())
    for one in messages:
        made.update(f"\0{one.role}\0{one.content}".encode("utf-8", "surrogatepass"))
    return made.hexdigest()[:16]
