"""Errors as OpenAI's API writes them, so that its clients raise and retry as they should.

Source: "Error codes" of the OpenAI API reference, and `_exceptions.py` of its Python client.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from palaver.errors import ProtocolError

__all__ = ["ApiError", "Handler", "answer_errors"]

log = logging.getLogger("palaver.http")

RETRY_AFTER_S = 1
"""When a client should ask again that was told to come later, in seconds."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_TYPES = {
    401: "invalid_request_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}
_FROM_PROTOCOL: dict[str, tuple[int, str]] = {
    "unauthorized": (403, "permission_denied"),
    "unknown_npc": (404, "model_not_found"),
    "unknown_persona": (404, "model_not_found"),
    "too_large": (413, "request_too_large"),
    "rate_limited": (429, "rate_limit_exceeded"),
    "overloaded": (503, "overloaded"),
    "internal": (500, "internal_error"),
}


class ApiError(Exception):
    """A request that is refused.

    Attributes:
        status: HTTP status.
        message: What to do, for whoever wrote the client.
        code: For programs.
        param: The field it is about, such as `messages[0].content`, or None.
    """

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param


def answer_errors(handler: Handler) -> Handler:
    """Return a handler that answers with errors instead of raising them."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as err:
            return _response(err)
        except ProtocolError as err:
            status, code = _FROM_PROTOCOL.get(err.code, (400, "invalid_value"))
            return _response(ApiError(status, err.message, code))
        except TimeoutError:
            return _response(ApiError(408, "the body did not arrive in time", "timeout"))
        except web.HTTPException as err:
            return _response(ApiError(err.status, err.reason, "invalid_request"))
        except ConnectionError:
            raise  # The client has left; nobody would read an answer.
        except Exception:
            log.exception("%s %r failed", request.method, request.path)
            return _response(
                ApiError(500, "an error in the server; its log says more", "internal_error")
            )

    return handle


def _response(error: ApiError) -> web.Response:
    response = web.json_response(
        {
            "error": {
                "message": error.message,
                "type": _TYPES.get(error.status, "invalid_request_error"),
                "param": error.param,
                "code": error.code,
            }
        },
        status=error.status,
    )
    if error.status in (429, 503):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response
