"""What became of the last turns, over HTTP: `GET /v1/turns` and `GET /v1/turns/{id}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from palaver.errors import ProtocolError
from palaver.recent import KEPT

if TYPE_CHECKING:
    from palaver.gateway import Gateway
    from palaver.server.admission import Admission
    from palaver.server.security import Gate

__all__ = ["TurnRoutes"]

USUAL = 20
"""Turns that are told of where nobody says how many."""
MOST_DIGITS = 6


class TurnRoutes:
    """The routes.

    Args:
        gateway: What ran the turns.
        gate: Who may ask.
        admission: How often.
    """

    def __init__(self, gateway: Gateway, gate: Gate, admission: Admission) -> None:
        self._gateway = gateway
        self._gate = gate
        self._admission = admission

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the routes for an application."""
        return [
            web.get("/v1/turns", self.turns),
            web.get("/v1/turns/{turn:.+}", self.turn),
        ]

    async def turns(self, request: web.Request) -> web.Response:
        """Tell of the last turns, oldest first."""
        self._enter(request)
        asked = request.query.get("last", str(USUAL))
        # A number of so many digits that Python would refuse to read it is none, either.
        plain = asked.isascii() and asked.isdecimal() and len(asked) <= MOST_DIGITS
        if not plain or not 1 <= int(asked) <= KEPT:
            raise ProtocolError("bad_message", f"`last` is a number of turns, 1 to {KEPT}")
        return web.json_response({"turns": self._gateway.recent.last(int(asked))})

    async def turn(self, request: web.Request) -> web.Response:
        """Tell of one turn; of several with its id, the last."""
        self._enter(request)
        turn = request.match_info["turn"]
        found = self._gateway.recent.find(turn)
        if found is None:
            near = self._gateway.recent.nearest(turn[:128])
            hint = f"; did you mean {near!r}?" if near else ""
            return web.json_response(
                {
                    "error": {
                        "code": "unknown_turn",
                        "message": f"there is no turn {turn[:128]!r} among the last {KEPT}{hint}",
                        "retryable": False,
                    }
                },
                status=404,
            )
        return web.json_response(found)

    def _enter(self, request: web.Request) -> None:
        """Make sure that an engine asks, and not too often.

        Raises:
            ProtocolError: It does not.
        """
        principal = self._gate.bearer(request)
        if principal.role != "engine":
            raise ProtocolError(
                "unauthorized", "a player's token may not see turns; use an engine's token"
            )
        self._admission.check_rate(principal)
