"""A turn that is made but not run: for `render`, which shows its prompt, and `doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from palaver.errors import ProtocolError, WorldError
from palaver.gateway import Gateway
from palaver.hookcalls import resolve
from palaver.memory import Exchange
from palaver.messages import TurnStart
from palaver.turn.context import build_context
from palaver.turn.model import Turn
from palaver.turn.prompt import build_prompt
from palaver.turn.receive import receive

__all__ = ["Asked", "NoMemory", "make_turn"]

GAME = "preview"


class NoMemory:
    """Remembers nothing and keeps nothing."""

    async def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def recall(
        self, game: str, save: str, npc: str, counterpart: str | None, limit: int
    ) -> Sequence[Exchange]:
        """Return nothing."""
        return ()

    def remember(
        self, game: str, save: str, exchange: Exchange, audience: Sequence[str] = ()
    ) -> None:
        """Keep nothing."""

    def last_save(self, game: str) -> str | None:
        """Every game is new."""
        return None

    def play(self, game: str, save: str) -> None:
        """Keep nothing."""

    async def mark(self, game: str, save: str, new_save: str) -> None:
        """Fork nothing."""

    async def flush(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a turn is made of.

    Attributes:
        persona: Name of the persona.
        text: What is said, or None with `cue`.
        cue: What happens, or None.
        facts: Facts by owner: `npc`, `player`, `game`.
        player: Name of who speaks.
        lang: Language of the reply, or None.
        tier: Policy, or None for the persona's.
        backend: Backend to trim the prompt for, or None.
    """

    persona: str
    text: str | None = None
    cue: str | None = None
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    player: str = "Player"
    lang: str | None = None
    tier: str | None = None
    backend: str | None = None


async def make_turn(gateway: Gateway, asked: Asked) -> Turn:
    """Make a turn and its prompt, as a real one would be, but ask no backend.

    Args:
        gateway: The gateway; it need not be open.
        asked: What the turn is made of.

    Raises:
        WorldError: There is no such persona or tier.
        TemplateError: Its template fails.
    """
    manager = gateway.plugins.manager
    limit_s = gateway.settings.limits.hook_ms / 1000
    try:
        gateway.check_persona(asked.persona)
        gateway.check_tier(asked.tier)
        game = gateway.game(GAME)
        npc = game.upsert_npc(
            asked.persona, asked.persona, tier=asked.tier, facts=asked.facts.get("npc")
        )
        player = game.upsert_player(
            "player", name=asked.player, lang=asked.lang, facts=asked.facts.get("player")
        )
        game.update_facts(npc=None, player=None, set_=asked.facts.get("game", {}), unset=())
        fields = TurnStart(
            turn="preview",
            npc=npc.id,
            player=player.id,
            text=asked.text,
            cue=asked.cue,
            lang=asked.lang,
        )
        turn = gateway.make_turn(game, fields)
    except ProtocolError as err:
        raise WorldError(err.message) from err
    await receive(turn, resolve(manager, "palaver_turn_received"), limit_s)
    turn.tier = gateway.settings.tiers.get(turn.tier_name, turn.tier)
    context = resolve(manager, "palaver_build_context")
    await build_context(turn, game, NoMemory(), context, limit_s)
    build_prompt(turn, resolve(manager, "palaver_prompt"))
    return turn
