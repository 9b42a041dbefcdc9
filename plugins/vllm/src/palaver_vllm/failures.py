"""What vLLM says when something goes wrong; what any server says is in `palaver.chain`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from palaver.chain import http_errors
from palaver.chain.http_errors import MAX_CHARS, redirected, short
from palaver.errors import (
    BackendError,
    BackendRefused,
    BackendResponseError,
    ModelNotFound,
    PromptTooLong,
    StreamBroken,
)
from palaver_vllm.stream import BAD_JSON, ErrorInfo, StreamReader

__all__ = ["from_reader", "from_status"]

_TOO_LONG = ("maximum context length", "maximum model length")
_NEVER_TOO_LONG = (401, 403, 429, 503)


class _Body(msgspec.Struct):
    error: ErrorInfo | str | None = None
    detail: str | None = None
    message: str | None = None


_decode = msgspec.json.Decoder(_Body, strict=False).decode


def _read_body(body: bytes) -> ErrorInfo:
    try:
        parsed = _decode(body)
    except BAD_JSON:
        # Some proxy's page: its beginning has to do.
        return ErrorInfo(body[:MAX_CHARS].decode("utf-8", "replace"))
    if isinstance(parsed.error, ErrorInfo):
        return parsed.error
    return ErrorInfo(parsed.error or parsed.detail or parsed.message or "")


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
        return redirected(backend, headers)
    return _error(backend, model, status, _read_body(body), headers.get("Retry-After"))


def _error(
    backend: str, model: str, status: int, info: ErrorInfo, retry_after: str | None = None
) -> BackendError:
    if status == 404:
        if info.param == "model" or "does not exist" in info.message:
            return ModelNotFound(backend, model, f"has no model {model!r}", status_code=404)
        return BackendRefused(
            backend, f"has no chat completions ({_said(404, info)}); check `url`", status_code=404
        )
    if status == 413 or (status not in _NEVER_TOO_LONG and _is_too_long(info)):
        return PromptTooLong(
            backend,
            f"the prompt is too long ({_said(status, info)}); "
            "set `context_tokens` or raise --max-model-len",
            status_code=status,
        )
    return http_errors.from_status(
        backend, status, info.message, retry_after_s=http_errors.retry_after_s(retry_after)
    )


def _said(status: int, info: ErrorInfo) -> str:
    return f"{status}: {short(info.message)}" if info.message else str(status)


def _is_too_long(info: ErrorInfo) -> bool:
    if info.param in ("input_text", "input_tokens"):
        return True
    return any(text in info.message for text in _TOO_LONG)


def from_reader(backend: str, model: str, reader: StreamReader) -> BackendError:
    """Return the error for a stream that was read to its end and is not whole."""
    if reader.error is not None:
        code = reader.error.code
        # `²` is a digit too, and no number.
        known = isinstance(code, str) and len(code) == 3 and code.isascii() and code.isdigit()
        status = int(code) if code is not None and (known or isinstance(code, int)) else 500
        # Inside a stream a 4xx is still the server's fault as long as it says nothing better.
        return _error(backend, model, status if 400 <= status < 600 else 500, reader.error)
    if reader.garbage is not None:
        return BackendResponseError(backend, f"sent what is not a chunk: {reader.garbage!r}")
    if reader.other_finish is not None:
        return StreamBroken(backend, f"ended the stream with {reader.other_finish!r}")
    return StreamBroken(backend, "ended the stream without a finish reason")
