"""What a backend is asked: the turn's prompt, fitted to it, and how the reply may be."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from palaver.chain.backend import GenerateRequest, Purpose, Sampling
from palaver.chain.lane import Urgency
from palaver.prompt.trim import budget_chars, trim
from palaver.turn.confirm import with_refusal
from palaver.turn.model import PRIORITIES

if TYPE_CHECKING:
    from palaver.chain.servers import Entry
    from palaver.turn.confirm import Refusal
    from palaver.turn.model import Turn

__all__ = ["build_request", "flight_key", "urgency_of"]


def build_request(
    turn: Turn,
    entry: Entry,
    *,
    shown: str = "",
    purpose: Purpose = "reply",
    retry: int = 0,
    refusal: Refusal | None = None,
) -> GenerateRequest:
    """Return the request of a turn to one backend.

    Args:
        turn: The turn, with its prompt.
        entry: The backend.
        shown: What the player has already read of this reply.
        purpose: What is asked for.
        retry: How often this backend was asked already; another seed gives another reply.
        refusal: What the game refused of this reply, or None.
    """
    tier, persona_sampling = turn.tier, turn.persona.front.sampling
    max_tokens = min(tier.max_tokens, persona_sampling.max_tokens or tier.max_tokens)
    prompt = turn.prompt
    if refusal is not None and prompt is not None:
        prompt = with_refusal(prompt, refusal)
    settings = entry.backend.settings
    if settings.context_tokens is not None:
        # The longest reply must leave room for what it answers.
        max_tokens = min(max_tokens, settings.context_tokens // 2)
        if prompt is not None:
            prompt, dropped = trim(
                prompt,
                budget_chars(settings.context_tokens, max_tokens, settings.chars_per_token),
            )
            if dropped:
                turn.note(f"the prompt for {entry.backend.name} left out: {', '.join(dropped)}")
    temperature = persona_sampling.temperature
    return GenerateRequest(
        turn=turn,
        messages=prompt.messages() if prompt is not None and not entry.type.instant else (),
        sampling=Sampling(
            temperature=temperature if temperature is not None else tier.temperature,
            top_p=persona_sampling.top_p,
            max_tokens=max_tokens,
            stop=tuple(persona_sampling.stop),
        ),
        adapter=turn.persona.front.adapter,
        seed=turn.seed + retry if turn.seed is not None else None,
        priority=PRIORITIES.index(turn.priority),
        shown=shown,
        deadline=turn.ends_at,
        purpose=purpose,
    )


def flight_key(entry: Entry, request: GenerateRequest, retry: int) -> Hashable | None:
    """Return what makes two requests the same, or None for one that nobody may share."""
    if entry.type.instant or request.schema is not None or retry:
        return None
    return (
        entry.backend.name,
        # Two NPCs side by side must not speak in chorus.
        request.turn.npc.id,
        tuple(request.messages),
        request.sampling,
        request.adapter,
        request.seed,
        request.shown,
    )


def urgency_of(turn: Turn) -> Urgency:
    """Return how a turn stands among others that want the same server."""
    return Urgency(
        PRIORITIES.index(turn.priority),
        turn.tier.rank,
        f"{turn.game}\0{turn.counterpart_key or turn.npc.id}",
    )
