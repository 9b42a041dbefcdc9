"""What can go wrong with any HTTP server, each as its own error of `palaver.errors`.

A backend type looks first for what only its server says, such as that a prompt is too long, and
leaves the rest to `from_status`.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping

import aiohttp

from palaver.errors import (
    BackendError,
    BackendOverloaded,
    BackendRefused,
    BackendResponseError,
    BackendTimeout,
    BackendUnauthorized,
    BackendUnavailable,
    StreamBroken,
)

__all__ = [
    "MAX_CHARS",
    "RUNNING",
    "broken",
    "from_exception",
    "from_status",
    "redirected",
    "retry_after_s",
    "short",
]

MAX_CHARS = 300
"""Most that is told of what a server said."""
RUNNING = "is the server running?"
"""What to ask oneself when nobody listens."""

_OVERLOADED = {429, 503, 529}
"""529 is Anthropic's for a service that is overloaded."""
_BEHIND_PROXY = {502, 504, 520, 521, 522, 523, 524}
"""The last five are Cloudflare's, for a server that it does not get an answer from."""


def short(text: str) -> str:
    """Return a server's words on one line, cut to what a trail can hold."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a `Retry-After` header, which holds seconds or a date (RFC 9110)."""
    if not value:
        return None
    try:
        return max(0.0, float(value)) if value.strip()[0].isdigit() else _until(value)
    except (ValueError, TypeError, IndexError):
        return None


def _until(date: str) -> float:
    return max(0.0, email.utils.parsedate_to_datetime(date).timestamp() - time.time())


def redirected(backend: str, headers: Mapping[str, str]) -> BackendResponseError:
    """Return the error for a redirect, which is never followed: it could lead the key away."""
    target = headers.get("Location", "somewhere else")
    return BackendResponseError(
        backend, f"is redirected to {short(target)!r}; set `url` to the server's own address"
    )


def from_status(
    backend: str, status: int, message: str = "", *, retry_after_s: float | None = None
) -> BackendError:
    """Return the error for a status that means the same everywhere.

    Args:
        backend: Name of the backend.
        status: HTTP status from 400 on.
        message: What the server said; it is cut short.
        retry_after_s: How long it asks to be left alone, in seconds, or None.
    """
    message = short(message)
    said = f"{status}: {message}" if message else str(status)
    if status in (401, 403):
        return BackendUnauthorized(
            backend,
            f"refuses the key ({said}); check the variable named by `api_key_env`",
            status_code=status,
        )
    if status in _OVERLOADED:
        return BackendOverloaded(
            backend, f"is overloaded ({said})", status_code=status, retry_after_s=retry_after_s
        )
    if status in _BEHIND_PROXY:
        return BackendUnavailable(backend, f"cannot be reached behind its proxy ({said})")
    if status >= 500:
        return BackendResponseError(backend, f"failed ({said})")
    return BackendRefused(backend, f"refuses the request ({said})", status_code=status)


def broken(backend: str, err: Exception) -> StreamBroken:
    """Return the error for a connection that broke after the headers."""
    return StreamBroken(backend, f"the connection broke inside the stream ({_reason(err)})")


def from_exception(
    backend: str, url: str, err: Exception, connect_s: float, *, hint: str = RUNNING
) -> BackendError:
    """Return the error for a request that got no answer.

    Args:
        backend: Name of the backend.
        url: Address of the server.
        err: What aiohttp raised.
        connect_s: The limit for connecting, in seconds.
        hint: What to do when nobody listens.
    """
    if isinstance(err, aiohttp.ServerTimeoutError):
        return BackendTimeout(backend, "connect", connect_s)
    if isinstance(err, aiohttp.ClientConnectorCertificateError):
        return BackendUnavailable(backend, f"the certificate of {url} is not trusted: {err}")
    if isinstance(err, aiohttp.ClientConnectorError):
        return BackendUnavailable(
            backend, f"cannot connect to {url} ({_reason(err.os_error)}); {hint}"
        )
    if isinstance(err, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | OSError):
        return BackendUnavailable(backend, f"{url} went away before it answered ({_reason(err)})")
    return BackendResponseError(backend, f"{url} does not speak HTTP as expected ({_reason(err)})")


def _reason(err: BaseException) -> str:
    text = short(getattr(err, "strerror", None) or str(err))
    return text or type(err).__name__
