"""Second step: what the NPC knows of this moment.

Recalls what these two said before, puts together the plain data that templates and conditions
see, and asks plugins what they know.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from palaver.hookcalls import HookCall, call_async
from palaver.prompt.neutralize import neutralize, neutralize_data
from palaver.turn.events import EMOTIONS
from palaver.turn.language import lang_name

if TYPE_CHECKING:
    from palaver.game import Game
    from palaver.memory import Memory
    from palaver.turn.model import Turn

__all__ = ["build_context", "build_variables"]

log = logging.getLogger("palaver.turn")

RECALL_S = 0.1
"""Time for memory, in seconds: an NPC that forgets is better than one that is silent."""


async def build_context(
    turn: Turn, game: Game, memory: Memory, calls: Sequence[HookCall], limit_s: float
) -> None:
    """Fill `turn.history`, `turn.variables` and `turn.context`.

    Args:
        turn: The turn.
        game: Its game.
        memory: Where exchanges are kept.
        calls: Implementations of `palaver_build_context`.
        limit_s: Time for each, in seconds.
    """
    await _recall(turn, game, memory)
    turn.variables = build_variables(turn, game)
    if not calls:
        return
    results = await asyncio.gather(
        *(call_async(call, limit_s, turn.note, turn=turn) for call in calls)
    )
    for call, result in zip(calls, results, strict=True):
        if isinstance(result, Mapping):
            turn.context.update(neutralize_data(dict(result)))
        elif result is not None:
            turn.note(f"plugin {call.plugin} returned no mapping from palaver_build_context")
            log.warning("plugin %s returned no mapping from palaver_build_context", call.plugin)


async def _recall(turn: Turn, game: Game, memory: Memory) -> None:
    """Recall the conversation so far, from an old end that moves in blocks.

    If the window slid by one with every turn, no two prompts would begin alike and the model
    server's prefix cache would be of no use; so it grows by half its size, then is cut back.
    """
    depth = turn.tier.memory
    if not depth:
        return
    if turn.given_history is not None:
        turn.history = turn.given_history[-depth:]
        return
    slack = max(1, depth // 2)
    npc, other = turn.npc.id, turn.counterpart_key
    try:
        known = memory.recall(turn.game, turn.save, npc, other, depth + slack)
        if not isinstance(known, Sequence):
            async with asyncio.timeout(RECALL_S):
                known = await known
    except TimeoutError:
        turn.note(f"memory took longer than {RECALL_S * 1000:.0f} ms")
        log.warning("memory took longer than %.0f ms; the turn goes on without", RECALL_S * 1000)
        return
    except Exception:
        turn.note("memory failed")
        log.exception("memory failed; the turn goes on without")
        return
    # By its mark, not by its time: clocks are set back.
    begin = game.window(npc, other)
    first = next((index for index, past in enumerate(known) if past.at == begin), None)
    window = known[first:] if first is not None else ()
    if not window or len(window) >= depth + slack:
        window = known[-depth:]
    if window:
        game.set_window(npc, other, window[0].at)
    turn.history = window


def build_variables(turn: Turn, game: Game) -> dict[str, Any]:
    """Return the plain data that templates and conditions see.

    Declared defaults of the persona stand in for facts that are missing.
    """
    npc, persona, player = turn.npc, turn.persona, turn.player
    front = persona.front
    speaker: dict[str, Any] = dict(persona.player_facts)
    if player is not None:
        speaker.update(player.facts)
        speaker.update(
            # Facts are harmless since they came; what a client calls itself is words too.
            id=neutralize(player.id),
            name=player.name or neutralize(player.id),
            lang=player.lang,
            zone=player.zone,
        )
    elif turn.speaker is not None:
        other = game.npcs.get(turn.speaker)
        name = name_of(turn.speaker, game, turn)
        speaker.update(id=neutralize(turn.speaker), name=name, lang=None)
        speaker["zone"] = other.zone if other else None
    return {
        "npc": {
            "id": neutralize(npc.id),
            "name": npc.facts.get("name", front.name),
            "mood": turn.mood,
            "zone": npc.zone,
            "faction": front.faction,
        },
        "facts": {**persona.facts, **npc.facts},
        "player": speaker,
        "game": {**persona.game_facts, **game.facts},
        "world": turn.world.name,
        "lang": turn.lang,
        "lang_name": lang_name(turn.lang),
        "intent": turn.intent,
        "actions": [action.plain() for action in turn.actions.values()],
        "emotions": [*EMOTIONS, *front.emotions],
        "context": turn.context,
    }


def name_of(npc: str, game: Game, turn: Turn) -> str:
    """Return the name players see of an NPC, harmless to a model."""
    found = game.npcs.get(npc)
    if found is None:
        return neutralize(npc)
    if isinstance(name := found.facts.get("name"), str):
        return name
    persona = turn.world.personas.get(found.persona)
    return persona.front.name if persona else neutralize(npc)
