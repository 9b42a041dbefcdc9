"""The endpoints that the bridge adds to Palaver's one port.

`POST /infer` and `GET /info` are what a mod talks to that only wants a text for a prompt. The
engine may use any method: until 5.9 its HTTP client went on with PUT once any mod had used it
(https://github.com/luanti-org/luanti/commit/0d817ff4ff).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import ValidationError

from palaver.errors import ConfigError, ProtocolError
from palaver.server.security import GATE
from palaver_luanti.bodies import InferBody, read_body
from palaver_luanti.casting import is_instruction, persona_called, persona_in
from palaver_luanti.info import Info

if TYPE_CHECKING:
    from palaver.gateway import Gateway

__all__ = ["INFER_MS", "LuantiBridge"]

log = logging.getLogger("palaver.luanti")

INFER_MS = 5_000
VARIABLE = "PALAVER_LUANTI_INFER_MS"

_STATUS = {"unauthorized": 401, "rate_limited": 429, "overloaded": 503, "internal": 500}
"""HTTP status of each error code; 400 for the others: the mod has to send something else."""


class LuantiBridge:
    """The Luanti bridge.

    Args:
        infer_ms: Time for a whole reply of `/infer`, in milliseconds; by default the environment
            variable `PALAVER_LUANTI_INFER_MS`, or 5,000.
        environ: The environment; the process's by default.

    Raises:
        ConfigError: The variable is no number of milliseconds.

    Attributes:
        name: `luanti`.
    """

    name = "luanti"

    def __init__(
        self, *, infer_ms: int | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._infer_s = (infer_ms or _infer_ms(os.environ if environ is None else environ)) / 1000
        self._running = 0

    def routes(self, gateway: Gateway) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        info = Info(gateway, self._infer_s)

        async def infer(request: web.Request) -> web.Response:
            try:
                _check_token(request)
                return web.json_response(await self._infer(gateway, request))
            except ProtocolError as err:
                return _problem(err.code, err.message, retryable=err.retryable)
            except TimeoutError:
                return _problem(
                    "timeout",
                    f"no whole reply in {self._infer_s * 1000:.0f} ms; let the NPC say a line of "
                    f"the mod's own, shorten the tier's max_tokens, or raise {VARIABLE}",
                    retryable=True,
                    status=504,
                )

        async def about(request: web.Request) -> web.Response:
            try:
                _check_token(request)
            except ProtocolError as err:
                return _problem(err.code, err.message)
            return web.json_response(await info.read())

        return [web.route("*", "/infer", infer), web.route("*", "/info", about)]

    async def start(self, gateway: Gateway) -> None:
        """Nothing besides answering requests."""

    async def close(self) -> None:
        """Nothing to end; requests are the server's."""

    async def _infer(self, gateway: Gateway, request: web.Request) -> dict[str, Any]:
        """Run a turn for a prompt.

        Raises:
            ProtocolError: What was sent cannot be used, or there is no room.
            TimeoutError: It took too long; the turn is cancelled.
        """
        if request.method == "GET":
            raise ProtocolError("bad_message", 'send POST, with data = \'{"prompt": "Hello!"}\'')
        body = await read_body(request, InferBody)
        most = gateway.settings.limits.turns
        if self._running >= most:
            raise ProtocolError(
                "overloaded", f"{most} prompts are at work already; try again later", retryable=True
            )
        self._running += 1
        try:
            async with asyncio.timeout(self._infer_s):
                result = await gateway.ask(**_fields(gateway, body, self._infer_s))
        except ValidationError as err:
            raise ProtocolError("bad_message", f"the turn cannot be used: {err}") from err
        finally:
            self._running -= 1
        return {
            "text": result.text,
            "status": result.status,
            "served_by": result.served_by.backend,
            "model": result.served_by.model,
        }


def _fields(gateway: Gateway, body: InferBody, infer_s: float) -> dict[str, Any]:
    """Return the turn that a prompt asks for.

    Raises:
        ProtocolError: It is not clear who is to speak.
    """
    game = body.game or "default"
    personas = gateway.world.personas
    persona: str | None = None
    if body.persona is not None:
        # An unknown one is reported by the gateway, with the nearest right name.
        persona = persona_called(body.persona, personas) or body.persona
    elif body.npc is None or body.npc not in gateway.game(game).npcs:
        persona = (
            (persona_called(body.npc, personas) if body.npc else None)
            or persona_in(body.prompt, personas)
            or (next(iter(personas)) if len(personas) == 1 else None)
        )
        if persona is None:
            known = ", ".join(sorted(personas)) or "none"
            raise ProtocolError(
                "unknown_persona",
                f"who speaks? Send `persona`, or name one in the prompt. This world has: {known}",
            )
    # Instructions are no words of a player's: they are what happens around the NPC.
    what = "cue" if is_instruction(body.prompt) else "text"
    return {
        what: body.prompt,
        "npc": body.npc or persona,
        "persona": persona,
        "player": body.player,
        "game": game,
        "seed": body.seed,
        # So that the chain comes to its authored line before the mod has lost patience.
        "first_text_ms": max(int(infer_s * 800), 1),
    }


def _check_token(request: web.Request) -> None:
    if request.app[GATE].bearer(request).role != "engine":
        raise ProtocolError("unauthorized", "this needs a token of the role `engine`")


def _problem(
    code: str, message: str, *, retryable: bool = False, status: int | None = None
) -> web.Response:
    # `detail` is where a mod written for the FastAPI service of the guide looks.
    return web.json_response(
        {
            "error": {"code": code, "message": message, "retryable": retryable},
            "detail": message,
        },
        status=status or _STATUS.get(code, 400),
    )


def _infer_ms(environ: Mapping[str, str]) -> int:
    raw = environ.get(VARIABLE)
    if raw is None:
        return INFER_MS
    try:
        value = int(raw)
    except ValueError:
        value = 0
    if not 1 <= value <= 600_000:
        raise ConfigError(f"{raw!r} is no time; write milliseconds, such as 5000", key=VARIABLE)
    return value
