"""`POST /infer` and `GET /info`: for a mod that only wants a text for a prompt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from palaver.errors import ProtocolError
from palaver_luanti.bodies import InferBody, read_body
from palaver_luanti.casting import is_instruction, persona_called, persona_in
from palaver_luanti.problems import engine, problem

if TYPE_CHECKING:
    from palaver_luanti.upstream import Upstream

__all__ = ["VARIABLE", "Infer"]

VARIABLE = "PALAVER_LUANTI_INFER_MS"
EXAMPLE = '{"prompt": "Hello!"}'


class Infer:
    """The two endpoints.

    Args:
        upstream: What runs the turns.
        infer_s: Time for a whole reply, in seconds.
    """

    def __init__(self, upstream: Upstream, infer_s: float) -> None:
        self._upstream = upstream
        self._infer_s = infer_s
        self._running = 0

    async def infer(self, request: web.Request) -> web.Response:
        """Answer a prompt."""
        try:
            engine(request)
            return web.json_response(await self._infer(request))
        except ProtocolError as err:
            return problem(err)
        except TimeoutError:
            hint = (
                f"no whole reply in {self._infer_s * 1000:.0f} ms; let the NPC say a line of the "
                f"mod's own, shorten the tier's max_tokens, or raise {VARIABLE}"
            )
            return problem(ProtocolError("timeout", hint, retryable=True), status=504)

    async def info(self, request: web.Request) -> web.Response:
        """Tell what there is."""
        try:
            engine(request)
            about = await self._upstream.about()
        except ProtocolError as err:
            return problem(err)
        return web.json_response({**about, "infer_ms": int(self._infer_s * 1000)})

    async def _infer(self, request: web.Request) -> dict[str, Any]:
        """Run a turn for a prompt.

        Raises:
            ProtocolError: What was sent cannot be used, or there is no room.
            TimeoutError: It took too long; the turn is cancelled.
        """
        if request.method == "GET":
            raise ProtocolError("bad_message", f"send POST, with data = '{EXAMPLE}'")
        body = await read_body(request, InferBody, EXAMPLE)
        most = self._upstream.turns
        if self._running >= most:
            raise ProtocolError(
                "overloaded", f"{most} prompts are at work already; try again later", retryable=True
            )
        self._running += 1
        try:
            async with asyncio.timeout(self._infer_s):
                done = await self._ask(body)
        finally:
            self._running -= 1
        return {
            "text": done["text"],
            "status": done["status"],
            "served_by": done["served_by"]["backend"],
            "model": done["served_by"]["model"],
        }

    async def _ask(self, body: InferBody) -> dict[str, Any]:
        # Instructions are no words of a player's: they are what happens around the NPC.
        what = "cue" if is_instruction(body.prompt) else "text"
        fields: dict[str, Any] = {
            what: body.prompt,
            "npc": body.npc,
            "player": body.player,
            "game": body.game or "default",
            "seed": body.seed,
            # So that the chain comes to its authored line before the mod has lost patience.
            "first_text_ms": max(int(self._infer_s * 800), 1),
        }
        if body.npc is not None and body.persona is None:
            try:
                return await self._upstream.ask(fields)  # A known one keeps its persona.
            except ProtocolError as err:
                if err.code != "unknown_npc":
                    raise
        persona = await self._persona(body)
        return await self._upstream.ask({**fields, "npc": body.npc or persona, "persona": persona})

    async def _persona(self, body: InferBody) -> str:
        """Return who is to speak.

        Raises:
            ProtocolError: That is not clear.
        """
        personas = await self._upstream.personas()
        if body.persona is not None:
            # An unknown one is reported by the gateway, with the nearest right name.
            return persona_called(body.persona, personas) or body.persona
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
        return persona
