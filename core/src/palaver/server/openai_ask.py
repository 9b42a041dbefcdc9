"""One completion that is asked for: what it means, and the turn that answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from palaver.errors import ProtocolError
from palaver.game import Game
from palaver.server.openai_errors import ApiError
from palaver.server.openai_reply import Completion, CompletionStream
from palaver.server.openai_request import (
    ChatRequest,
    Metadata,
    check_utterance,
    conversation,
    messages_of,
)
from palaver.turn.given import Given, given_exchanges, make_given_turn
from palaver.world.persona import PersonaSampling

if TYPE_CHECKING:
    from palaver.gateway import Gateway
    from palaver.server.security import Principal
    from palaver.turn.model import Turn, TurnResult

__all__ = ["Ask", "check_player"]

MAX_TOKENS = 8_000
"""Longest reply that a persona may ask for too."""

Sink = Completion | CompletionStream


class Ask:
    """One completion that is asked for.

    Attributes:
        chat: The body.
        principal: Who asks.
        id: Id of the turn.
        kind: What the model begins with: `npc`, `persona` or `tier`, or anything else.
        name: What follows.
        game: The game it is about.
        npc: Who of the game answers, or None.
        turn: The turn, once it is accepted.
    """

    def __init__(
        self,
        gateway: Gateway,
        chat: ChatRequest,
        principal: Principal,
        turn: str,
        game_header: str | None,
    ) -> None:
        self._gateway = gateway
        self.chat = chat
        self.principal = principal
        self.id = turn
        self.kind, _, self.name = chat.model.partition("/")
        self.metadata = chat.metadata or Metadata()
        self.game = self.metadata.game or game_header or "default"
        self.npc = None if self.kind == "tier" else self.name
        self.player = principal.player or chat.user or chat.safety_identifier
        self.turn: Turn | None = None

    async def run(self, sink: Sink) -> TurnResult:
        """Run the turn.

        Raises:
            ApiError: A message cannot be used.
            ProtocolError: There is no room, or the character does not exist.
        """

        def accepted(turn: Turn) -> None:
            self.turn = turn
            if isinstance(sink, CompletionStream):
                sink.accepted(turn.result, self.npc, turn.tier_name)

        if self.kind == "tier":
            return await self._run_given(sink, accepted)
        return await self._run_character(sink, accepted)

    async def _run_character(self, sink: Sink, accepted: Callable[[Turn], None]) -> TurnResult:
        """Say the user's last words to a character of ours."""
        chat, metadata = self.chat, self.metadata
        own_history = metadata.history == "client"
        messages = messages_of(chat, lenient=not own_history)
        said = next(one.content for one in reversed(messages) if one.role == "user")
        check_utterance(said)

        def begin(turn: Turn) -> None:
            if own_history:
                turn.given_history = given_exchanges(
                    turn.npc.id, turn.player, conversation(messages)
                )
            _narrow(turn, chat)
            accepted(turn)

        persona = self.name if self.kind == "persona" else None
        if persona is not None:
            self._check_npc(persona)
        fields: dict[str, Any] = {"seed": _seed(chat), "priority": metadata.priority}
        fields["lang"] = metadata.lang
        return await self._gateway.ask(
            said,
            npc=self.name,
            persona=persona,
            player=self.player,
            game=self.game,
            sink=sink,
            on_turn=begin,
            turn=self.id,
            **{key: value for key, value in fields.items() if value is not None},
        )

    def _check_npc(self, persona: str) -> None:
        """Make sure that an NPC which has a persona's name has that persona too.

        Raises:
            ApiError: An engine made another of that name.
        """
        game = self._gateway.games.get(self.game)
        npc = game.npcs.get(persona) if game is not None else None
        if npc is not None and npc.persona != persona:
            raise ApiError(
                400,
                f"the game {self.game!r} has an NPC {persona!r} of the persona {npc.persona!r}; "
                f"use the model npc/{persona}, or another game",
                "invalid_value",
                "model",
            )

    async def _run_given(self, sink: Sink, accepted: Callable[[Turn], None]) -> TurnResult:
        """Let a tier's chain answer the client's own messages."""
        chat, metadata, gateway = self.chat, self.metadata, self._gateway
        given = Given(
            id=self.id,
            tier=self.name,
            messages=messages_of(chat, lenient=False),
            player=self.player,
            lang=metadata.lang,
            priority=metadata.priority or "player",
            seed=_seed(chat),
            sampling=PersonaSampling(
                temperature=chat.temperature,
                top_p=None if chat.top_p is None else max(chat.top_p, 0.001),
                max_tokens=None if chat.limit is None else min(chat.limit, MAX_TOKENS),
                stop=chat.stops,
            ),
        )
        if metadata.last_words is not None:
            given = replace(given, last_words=metadata.last_words)
        # A game that nobody has opened is not opened by this: nothing of it is used.
        game = gateway.games.get(self.game) or Game(self.game, gateway.settings.limits)
        turn = make_given_turn(given, gateway.world, gateway.settings, game)
        return await gateway.ask_turn(turn, game, sink=sink, on_turn=accepted)


def check_player(ask: Ask) -> None:
    """A player's token may only speak as that player, to NPCs that exist.

    Raises:
        ProtocolError: It may not do this.
    """
    metadata, own = ask.metadata, ask.principal.player
    if (
        ask.kind != "npc"
        or any(one not in (None, own) for one in (ask.chat.user, ask.chat.safety_identifier))
        or metadata.history == "client"
        or metadata.priority not in (None, "player")
    ):
        raise ProtocolError(
            "unauthorized",
            f"this token may only speak as the player {own!r}, to a model npc/<id>, without a "
            "history or a priority of its own",
        )


def _narrow(turn: Turn, chat: ChatRequest) -> None:
    """Let a client ask for less than the persona says; how it speaks stays the persona's.

    Nor may it end a reply where it likes: what is whole may be kept, and said to others.
    """
    if chat.limit is None:
        return
    persona = turn.persona
    own = persona.front.sampling
    limits = [one for one in (own.max_tokens, chat.limit) if one is not None]
    sampling = own.model_copy(update={"max_tokens": min(limits)})
    turn.persona = replace(persona, front=persona.front.model_copy(update={"sampling": sampling}))


def _seed(chat: ChatRequest) -> int | None:
    # Theirs may be negative; it only has to lead to the same reply each time.
    return None if chat.seed is None else chat.seed % 2**63
