"""Errors as a mod gets them, and who may ask."""

from __future__ import annotations

from aiohttp import web

from palaver.errors import ProtocolError
from palaver.server.security import GATE, Principal
from palaver_luanti.upstream import AWAY, GONE

__all__ = ["engine", "problem"]

_STATUS = {
    "unauthorized": 401,
    GONE: 410,
    "too_large": 413,
    "rate_limited": 429,
    "internal": 500,
    "overloaded": 503,
    AWAY: 503,
}
"""HTTP status of each error code; 400 for the others: the mod has to send something else."""


def problem(error: ProtocolError, *, status: int | None = None) -> web.Response:
    """Return an error as an answer."""
    return web.json_response(
        {
            "error": {
                "code": error.code,
                "message": error.message,
                "retryable": error.retryable,
            },
            # Where a mod written for the FastAPI service of the guide looks.
            "detail": error.message,
        },
        status=status or _STATUS.get(error.code, 400),
    )


def engine(request: web.Request) -> Principal:
    """Return who asks.

    Raises:
        ProtocolError: It is no engine.
    """
    principal = request.app[GATE].bearer(request)
    if principal.role != "engine":
        raise ProtocolError("unauthorized", "this needs a token of the role `engine`")
    return principal
