"""OpenAI's chat API over the same turns: `GET /v1/models` and `POST /v1/chat/completions`.

A program that speaks that API gets personas, chain, memory and spend limits by changing its base
URL. What stands in `model` decides what is ours: with `npc/<id>` and `persona/<name>` the
character and its memory, and the last words of the user are what is said to it; with
`tier/<name>` only how and by whom is answered, and the client's own messages are the prompt.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from aiohttp import web

from palaver.errors import ProtocolError
from palaver.hints import did_you_mean
from palaver.server.hub import check_game
from palaver.server.openai_ask import Ask, check_player
from palaver.server.openai_errors import ApiError, answer_errors
from palaver.server.openai_reply import Completion, CompletionStream
from palaver.server.openai_request import read_chat

if TYPE_CHECKING:
    from palaver.gateway import Gateway
    from palaver.server.admission import Admission
    from palaver.server.security import Gate, Principal

__all__ = ["OpenAiRoutes"]

log = logging.getLogger("palaver.http")

GAME_HEADER = "X-Palaver-Game"
MAX_GAME = 128
MAX_LISTED = 1_000
"""NPCs in a list of models; a game may have many more."""
MAX_COMPARED = 200
"""Names that a wrong one is compared with."""
WRITE_S = 30.0
"""Time for a client to read what fills its socket, in seconds."""
CANCEL_S = 5.0
"""Time for a turn to give up when its client has left, in seconds."""


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
        game = _game(request)
        npcs = islice(dict.fromkeys(self._npcs(principal, game)), MAX_LISTED)
        names = [*npcs, *(() if principal.role == "player" else self._own())]
        return web.json_response({"object": "list", "data": [self._entry(name) for name in names]})

    async def _model(self, request: web.Request) -> web.Response:
        """Tell whether a model is there."""
        principal = self._enter(request)
        name, game = request.match_info["model"], _game(request)
        own = principal.role == "engine" and name in self._own()
        if not own and not any(name == one for one in self._npcs(principal, game)):
            raise self._unknown(name, principal, game)
        return web.json_response(self._entry(name))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        """Run one turn; answers a completion, or its chunks."""
        principal = self._enter(request)
        chat = await read_chat(request)
        turn = f"chatcmpl-{secrets.token_hex(12)}"
        ask = Ask(self._gateway, chat, principal, turn, _game(request))
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

    async def _stream(self, request: web.Request, ask: Ask) -> web.StreamResponse:
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
        run.add_done_callback(lambda _: sink.close())
        try:
            chunk = await sink.next()
            if run.done():
                run.result()  # Raises what kept the turn from being accepted.
            await response.prepare(request)
            while chunk is not None:
                async with asyncio.timeout(WRITE_S):
                    await response.write(chunk)
                chunk = await sink.next()
            if sink.whole:
                # Here, if not before, it waits for what fills the socket.
                async with asyncio.timeout(WRITE_S):
                    await response.write_eof()
            else:
                bug = None if run.cancelled() else run.exception()
                log.error("turn %s ended with a bug", ask.id, exc_info=bug)
                _cut(request)
        except TimeoutError:
            log.info("%s: its client does not read", ask.id)
            _cut(request)
        finally:
            # The client went away, or the turn is over already.
            run.cancel()
            await asyncio.wait({run}, timeout=CANCEL_S)
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

    def _check(self, ask: Ask) -> None:
        """Make sure that whoever asks may, and that the model is there.

        Raises:
            ApiError: It is not.
            ProtocolError: They may not.
        """
        chat, principal = ask.chat, ask.principal
        if principal.role == "player":
            check_player(ask)
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


def _game(request: web.Request) -> str | None:
    """Return the game that a request's header names, or None.

    Raises:
        ApiError: It is no name.
    """
    game = request.headers.get(GAME_HEADER)
    # What is not UTF-8 comes as surrogates, which no store can keep.
    if game is not None and not (1 <= len(game) <= MAX_GAME and game.isprintable()):
        raise ApiError(
            400,
            f"the header {GAME_HEADER} must have 1 to {MAX_GAME} printable characters",
            "invalid_value",
            GAME_HEADER,
        )
    return game


def _cut(request: web.Request) -> None:
    """Cut a connection whose answer has begun and cannot be ended as it should."""
    if request.transport is not None:
        request.transport.abort()
