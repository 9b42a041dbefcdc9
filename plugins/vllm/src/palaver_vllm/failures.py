"""Everything that can go wrong with a server, each as its own error of `palaver.errors`."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping

import aiohttp
import msgspec

from palaver.errors import (
    BackendError,
    BackendOverloaded,
    BackendRefused,
    BackendResponseError,
    BackendTimeout,
    BackendUnauthorized,
    BackendUnavailable,
    ModelNotFound,
    PromptTooLong,
    StreamBroken,
)
from palaver_vllm.stream import BAD_JSON, ErrorInfo, StreamReader

__all__ = ["broken", "from_exception", "from_reader", "from_status", "retry_after_s"]

_MAX_CHARS = 300
_TOO_LONG = ("maximum context length", "maximum model length")


class _Body(msgspec.Struct):
    error: ErrorInfo | str | None = None
    detail: str | None = None
    message: str | None = None


_decode = msgspec.json.Decoder(_Body, strict=False).decode


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…"


def _read_body(body: bytes) -> ErrorInfo:
    try:
        parsed = _decode(body)
    except BAD_JSON:
        # Some proxy's page: its beginning has to do.
        return ErrorInfo(body[:_MAX_CHARS].decode("utf-8", "replace"))
    if isinstance(parsed.error, ErrorInfo):
        return parsed.error
    return ErrorInfo(parsed.error or parsed.detail or parsed.message or "")


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


def from_status(
    backend: str, model: str, status: int, headers: Mapping[str, str], body: bytes
) -> BackendError:
    """Return the error for an answer that is no stream.

    Args:
        backend: Name of the backend.
        model: The model or adapter that was asked for.
        status: HTTP status.
        headers: The answer's headers.
        body: The beginning of its body.
    """
    if 300 <= status < 400:
        target = headers.get("Location", "somewhere else")
        return BackendResponseError(
            backend, f"is redirected to {_short(target)!r}; set `url` to the server's own address"
        )
    return _error(backend, model, status, _read_body(body), headers.get("Retry-After"))


def _error(
    backend: str, model: str, status: int, info: ErrorInfo, retry_after: str | None = None
) -> BackendError:
    message = _short(info.message)
    said = f"{status}: {message}" if message else str(status)
    if status in (401, 403):
        return BackendUnauthorized(
            backend,
            f"refuses the key ({said}); check the variable named by `api_key_env`",
            status_code=status,
        )
    if status == 404:
        if info.param == "model" or "does not exist" in message:
            return ModelNotFound(backend, model, f"has no model {model!r}", status_code=404)
        return BackendRefused(
            backend, f"has no chat completions ({said}); check `url`", status_code=404
        )
    if status in (429, 503):
        return BackendOverloaded(
            backend,
            f"is overloaded ({said})",
            status_code=status,
            retry_after_s=retry_after_s(retry_after),
        )
    if status == 413 or _is_too_long(info):
        return PromptTooLong(
            backend,
            f"the prompt is too long ({said}); set `context_tokens` or raise --max-model-len",
            status_code=status,
        )
    if status in (502, 504):
        return BackendUnavailable(backend, f"cannot be reached behind its proxy ({said})")
    if status >= 500:
        return BackendResponseError(backend, f"failed ({said})")
    return BackendRefused(backend, f"refuses the request ({said})", status_code=status)


def _is_too_long(info: ErrorInfo) -> bool:
    if info.param in ("input_text", "input_tokens"):
        return True
    return any(text in info.message for text in _TOO_LONG)


def from_reader(backend: str, model: str, reader: StreamReader) -> BackendError:
    """Return the error for a stream that was read to its end and is not whole."""
    if reader.error is not None:
        code = reader.error.code
        status = int(code) if isinstance(code, int) or (code and code.isdigit()) else 500
        # Inside a stream a 4xx is still the server's fault as long as it says nothing better.
        return _error(backend, model, status if 400 <= status < 600 else 500, reader.error)
    if reader.garbage is not None:
        return BackendResponseError(backend, f"sent what is not a chunk: {reader.garbage!r}")
    if reader.other_finish is not None:
        return StreamBroken(backend, f"ended the stream with {reader.other_finish!r}")
    return StreamBroken(backend, "ended the stream without a finish reason")


def broken(backend: str, err: Exception) -> StreamBroken:
    """Return the error for a connection that broke after the headers."""
    return StreamBroken(backend, f"the connection broke inside the stream ({_reason(err)})")


def from_exception(backend: str, url: str, err: Exception, connect_s: float) -> BackendError:
    """Return the error for a request that got no answer.

    Args:
        backend: Name of the backend.
        url: Address of the server.
        err: What aiohttp raised.
        connect_s: The limit for connecting, in seconds.
    """
    if isinstance(err, aiohttp.ServerTimeoutError):
        return BackendTimeout(backend, "connect", connect_s)
    if isinstance(err, aiohttp.ClientConnectorCertificateError):
        return BackendUnavailable(backend, f"the certificate of {url} is not trusted: {err}")
    if isinstance(err, aiohttp.ClientConnectorError):
        return BackendUnavailable(
            backend,
            f"cannot connect to {url} ({_reason(err.os_error)}); "
            "is the server running? `palaver vllm up` starts one",
        )
    if isinstance(err, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | OSError):
        return BackendUnavailable(backend, f"{url} went away before it answered ({_reason(err)})")
    return BackendResponseError(backend, f"{url} does not speak HTTP as expected ({_reason(err)})")


def _reason(err: BaseException) -> str:
    text = _short(getattr(err, "strerror", None) or str(err))
    return text or type(err).__name__
