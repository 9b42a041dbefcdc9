"""What Ollama says when something goes wrong; what any server says is in `palaver.chain`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from palaver.chain import http_errors
from palaver.chain.http_errors import MAX_CHARS, redirected, retry_after_s, short
from palaver.errors import (
    BackendError,
    BackendRefused,
    BackendResponseError,
    ModelNotFound,
    PromptTooLong,
    StreamBroken,
)
from palaver_ollama.stream import BAD_JSON, StreamReader, told

__all__ = ["HINT", "from_reader", "from_status", "missing"]

HINT = "is the server running? `ollama serve` starts it"
"""What to do when nobody listens."""
_TOO_LONG = ("context length", "context size", "context window")


class _Body(msgspec.Struct):
    error: Any = None


_decode = msgspec.json.Decoder(_Body).decode


def _message(body: bytes) -> str:
    try:
        error = _decode(body).error
    except BAD_JSON:
        # Some proxy's page: its beginning has to do.
        return body[:MAX_CHARS].decode("utf-8", "replace")
    return told(error) if error is not None else ""


def missing(backend: str, model: str) -> ModelNotFound:
    """Return the error for a model that the server does not have."""
    return ModelNotFound(
        backend,
        model,
        f"has no model {model!r}; `palaver ollama pull {model}` downloads it",
        status_code=404,
    )


def from_status(
    backend: str, model: str, status: int, headers: Mapping[str, str], body: bytes
) -> BackendError:
    """Return the error for an answer that is no stream.

    Args:
        backend: Name of the backend.
        model: The model that was asked for.
        status: HTTP status.
        headers: The answer's headers.
        body: The beginning of its body.
    """
    if 300 <= status < 400:
        return redirected(backend, headers)
    retry = retry_after_s(headers.get("Retry-After"))
    return _error(backend, model, status, _message(body), retry)


def _error(
    backend: str, model: str, status: int, message: str, retry_s: float | None = None
) -> BackendError:
    if status == 404:
        if "model" in message and "not found" in message:
            return missing(backend, model)
        said = f"404: {short(message)}" if message else "404"
        return BackendRefused(
            backend, f"does not answer as Ollama ({said}); check `url`", status_code=404
        )
    if status in (400, 500) and any(words in message for words in _TOO_LONG):
        return PromptTooLong(
            backend,
            f"the prompt is too long ({status}: {short(message)}); set `context_tokens` or raise "
            "`num_ctx`",
            status_code=status,
        )
    return http_errors.from_status(backend, status, message, retry_after_s=retry_s)


def from_reader(backend: str, model: str, reader: StreamReader) -> BackendError:
    """Return the error for a stream that was read to its end and is not whole."""
    if reader.error is not None:
        # There is no status inside a stream: it would have been 500 before.
        return _error(backend, model, 500, reader.error)
    if reader.garbage is not None:
        return BackendResponseError(backend, f"sent what is not a chunk: {reader.garbage!r}")
    if reader.other_finish is not None:
        return StreamBroken(backend, f"ended the stream with {reader.other_finish!r}")
    return StreamBroken(backend, "ended the stream before the reply was done")
