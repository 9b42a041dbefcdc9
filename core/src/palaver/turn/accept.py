"""From a message to a turn: the NPC, its persona and tier, and what was said, made harmless."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from palaver.errors import ProtocolError
from palaver.game import Game, Player, unknown_npc
from palaver.hints import did_you_mean
from palaver.prompt.neutralize import neutralize
from palaver.turn.language import choose_lang
from palaver.turn.model import Turn

if TYPE_CHECKING:
    from palaver.config.models import Settings
    from palaver.messages import TurnStart
    from palaver.world.world import World

__all__ = ["make_turn", "unknown_persona"]

log = logging.getLogger("palaver.turn")


def make_turn(world: World, settings: Settings, game: Game, fields: TurnStart) -> Turn:
    """Make a turn of what a client sent.

    Args:
        world: The world as it is now; the turn keeps it.
        settings: The settings, for tiers.
        game: The game.
        fields: The message, checked.

    Raises:
        ProtocolError: The NPC or its persona does not exist.
    """
    npc = game.npcs.get(fields.npc)
    if npc is None:
        raise unknown_npc(fields.npc)
    persona = world.personas.get(npc.persona)
    if persona is None:
        raise unknown_persona(npc.persona, world)
    player = _player(game, fields.player)
    tier_name = npc.tier or persona.front.tier or settings.default_tier
    tier = settings.tiers.get(tier_name)
    if tier is None:
        log.warning("persona %s names the tier %r, which does not exist", persona.id, tier_name)
        tier_name = settings.default_tier
        tier = settings.tiers[tier_name]
    mood = npc.facts.get("mood")
    return Turn(
        id=fields.turn,
        game=game.name,
        branch=game.branch,
        npc=npc,
        player=player,
        persona=persona,
        world=world,
        tier=tier,
        tier_name=tier_name,
        text=neutralize(fields.text) if fields.text is not None else "",
        cue=neutralize(fields.cue) if fields.cue is not None else None,
        speaker=fields.speaker,
        audience=tuple(dict.fromkeys(fields.audience)),
        lang=choose_lang(fields.lang, player.lang if player else None, persona.front.lang),
        priority=fields.priority,
        seed=fields.seed,
        first_text_ms=fields.first_text_ms,
        actions=game.actions if npc.actions is None else {**game.actions, **npc.actions},
        mood=mood if isinstance(mood, str) else persona.front.mood,
        accepted_at=time.perf_counter(),
    )


def unknown_persona(persona: str, world: World) -> ProtocolError:
    """Return the error for a persona that the world does not have."""
    hint = did_you_mean(persona, world.personas, otherwise="this world has")
    return ProtocolError("unknown_persona", f"there is no persona {persona!r}{hint}")


def _player(game: Game, player: str | None) -> Player | None:
    """Return who speaks; one the engine told nothing of is not kept, however many there are."""
    if player is None:
        return None
    return game.players.get(player) or Player(player)
