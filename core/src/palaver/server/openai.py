"""OpenAI's chat API over the same turns: `GET /v1/models` and `POST /v1/chat/completions`.

A program that speaks that API gets personas, chain, memory and spend limits by changing its base
URL. What stands in `model` decides what is ours: with `npc/<id>` and `persona/<name>` the
character and its memory, and the last words of the user are what is said to it; with
`tier/<name>` only how and by whom is answered, and the client's own messages are the prompt.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from aiohttp import web

from palaver.errors import ProtocolError
from palaver.game import Game
from palaver.hints import did_you_mean
from palaver.server.hub import check_game
from palaver.server.openai_errors import ApiError, answer_errors
from palaver.server.openai_reply import Completion, CompletionStream
from palaver.server.openai_request import (
    ChatRequest,
    Metadata,
    check_utterance,
    conversation,
    messages_of,
    read_chat,
)
from palaver.turn.given import Given, given_exchanges, make_given_turn
from palaver.world.persona import PersonaSampling

if TYPE_CHECKING:
    from collections.abc import Callable

    from palaver.gateway import Gateway
    from palaver.server.admission import Admission
    from palaver.server.security import Gate, Principal
    from palaver.turn.model import Turn, TurnResult

__all__ = ["OpenAiRoutes"]

GAME_HEADER = "X-Palaver-Game"
MAX_LISTED = 1_000
"""NPCs in a list of models; a game may have many more."""
MAX_COMPARED = 200
"""Names that a wrong one is compared with."""
MAX_TOKENS = 8_000
CANCEL_S = 5.0
"""Time for a turn to give up when its client has left, in seconds."""

_Sink = Completion | CompletionStream


class OpenAiRoutes:
    """The routes.

    Args:
        gateway: What runs turns.
        gate: Who may ask.
        admission: How much.
    """

    def __init__(self, gateway: Gateway, gate: Gate, admission: Admission) -> None:
        self._gateway = gateway
        self._gate = gate
        self._admission = admission
        self._since = int(time.time())

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the routes for an application."""
        return [
            web.get("/v1/models", answer_errors(self._models)),
            web.get("/v1/models/{model:.+}", answer_errors(self._model)),
            web.post("/v1/chat/completions", answer_errors(self._completions)),
        ]

    async def _models(self, request: web.Request) -> web.Response:
        """List whom one can talk to: NPCs of running games, personas, tiers."""
        principal = self._enter(request)
        game = request.headers.get(GAME_HEADER)
        npcs = islice(dict.fromkeys(self._npcs(principal, game)), MAX_LISTED)
        names = [*npcs, *(() if principal.role == "player" else self._own())]
        return web.json_response({"object": "list", "data": [self._entry(name) for name in names]})

    async def _model(self, request: web.Request) -> web.Response:
        """Tell whether a model is there."""
        principal = self._enter(request)
        name, game = request.match_info["model"], request.headers.get(GAME_HEADER)
        own = principal.role == "engine" and name in self._own()
        if not own and not any(name == one for one in self._npcs(principal, game)):
            raise self._unknown(name, principal, game)
        return web.json_response(self._entry(name))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        """Run one turn; answers a completion, or its chunks."""
        principal = self._enter(request)
        chat = await read_chat(request)
        turn = f"chatcmpl-{secrets.token_hex(12)}"
        ask = _Ask(self._gateway, chat, principal, turn, request.headers.get(GAME_HEADER))
        self._check(ask)
        with self._admission.turn(principal):
            if chat.stream:
                return await self._stream(request, ask)
            sink = Completion(turn, chat.model)
            result = await ask.run(sink)
            assert ask.turn is not None
            return web.json_response(
                sink.answer(result, ask.npc, ask.turn.tier_name),
                headers={"X-Request-Id": turn},
            )

    async def _stream(self, request: web.Request, ask: _Ask) -> web.StreamResponse:
        options = ask.chat.stream_options
        sink = CompletionStream(
            ask.id,
            ask.chat.model,
            include_usage=options is not None and bool(options.include_usage),
        )
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Request-Id": ask.id,
            }
        )
        run = asyncio.create_task(ask.run(sink), name=f"turn {ask.id}")
        first = asyncio.create_task(sink.next())
        try:
            await asyncio.wait({run, first}, return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                run.result()  # Raises what kept the turn from being accepted.
            await response.prepare(request)
            chunk = await first
            while chunk is not None:
                await response.write(chunk)
                chunk = await sink.next()
            await response.write_eof()
        finally:
            # The client went away, or the turn is over already.
            first.cancel()
            run.cancel()
            await asyncio.wait({run, first}, timeout=CANCEL_S)
        return response

    def _enter(self, request: web.Request) -> Principal:
        """Return who asks.

        Raises:
            ApiError: The token is missing or wrong.
            ProtocolError: It asks too often.
        """
        try:
            principal = self._gate.bearer(request)
        except ProtocolError as err:
            raise ApiError(401, err.message, "invalid_api_key") from err
        self._admission.check_rate(principal)
        return principal

    def _check(self, ask: _Ask) -> None:
        """Make sure that whoever asks may, and that the model is there.

        Raises:
            ApiError: It is not.
            ProtocolError: They may not.
        """
        chat, principal = ask.chat, ask.principal
        if principal.role == "player":
            _check_player(ask)
        check_game(principal, ask.game, self._gateway)
        there = {
            "npc": lambda: ask.name in self._npcs_of(ask.game),
            "persona": lambda: ask.name in self._gateway.world.personas,
            "tier": lambda: ask.name in self._gateway.settings.tiers,
        }.get(ask.kind)
        if there is None or not there():
            raise self._unknown(chat.model, principal, ask.game)

    def _npcs_of(self, game: str) -> Any:
        found = self._gateway.games.get(game)
        return found.npcs if found is not None else ()

    def _npcs(self, principal: Principal, game: str | None) -> Iterator[str]:
        """Yield the models of NPCs in one running game, or in all of them."""
        for name in [game] if game is not None else list(self._gateway.games):
            for npc in self._npcs_of(name):
                yield f"npc/{npc}"

    def _own(self) -> list[str]:
        gateway = self._gateway
        return [
            *(f"persona/{name}" for name in gateway.world.personas),
            *(f"tier/{name}" for name in gateway.settings.tiers),
        ]

    def _entry(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._since, "owned_by": "palaver"}

    def _unknown(self, name: str, principal: Principal, game: str | None) -> ApiError:
        known = [] if principal.role == "player" else self._own()
        known += islice(self._npcs(principal, game), MAX_COMPARED)
        shown = name[:128]
        kind = name.partition("/")[0]
        if kind in ("npc", "persona", "tier"):
            alike = [one for one in known if one.startswith(f"{kind}/")]
            hint = did_you_mean(shown, alike)
        else:
            hint = did_you_mean(shown, known)
        if kind == "npc":
            hint += f" (in the game {(game or 'default')[:128]!r}; name another with {GAME_HEADER})"
        elif kind not in ("persona", "tier"):
            hint += " (a model is npc/<id>, persona/<name> or tier/<name>)"
        return ApiError(404, f"there is no model {shown!r}{hint}", "model_not_found", "model")


class _Ask:
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

    async def run(self, sink: _Sink) -> TurnResult:
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

    async def _run_character(self, sink: _Sink, accepted: Callable[[Turn], None]) -> TurnResult:
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

    async def _run_given(self, sink: _Sink, accepted: Callable[[Turn], None]) -> TurnResult:
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


def _check_player(ask: _Ask) -> None:
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
