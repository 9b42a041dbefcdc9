"""Reads errors, in whichever form a provider or a compatible server writes them.

OpenAI     {"error": {"message", "type", "param", "code"}}
Anthropic  {"type": "error", "error": {"type", "message"}, "request_id"}
Gemini     {"error": {"code", "message", "status", "details": [{"@type", ...}]}}
others     [{"error": {...}}], {"error": "text"}, {"detail": ...}, {"message": "text"}
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from palaver.chain.http_errors import MAX_CHARS
from palaver_cloud.sse import BAD_JSON, Trouble

__all__ = ["from_body", "from_json"]

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")


def from_body(body: bytes) -> Trouble:
    """Return the error in the body of an answer."""
    try:
        parsed = msgspec.json.decode(body)
    except BAD_JSON:
        # Some proxy's page: its beginning has to do.
        return Trouble(body[:MAX_CHARS].decode("utf-8", "replace"))
    return from_json(parsed)


def from_json(parsed: Any) -> Trouble:
    """Return the error in a piece of JSON; what is not there stays empty."""
    if isinstance(parsed, list):
        parsed = parsed[0] if parsed else None
    if not isinstance(parsed, dict):
        return Trouble(_text(parsed))
    inner = parsed if parsed.get("object") == "error" else parsed.get("error")
    if not isinstance(inner, dict):
        return Trouble(_text(inner or parsed.get("message") or parsed.get("detail")))
    details = inner.get("details")
    if not isinstance(details, list):
        details = []
    found = [item for item in details if isinstance(item, dict)]
    reasons = [item["reason"] for item in found if isinstance(item.get("reason"), str)]
    return Trouble(
        message=_text(inner.get("message")),
        kind=_text(inner.get("type") or inner.get("status")),
        # Gemini says in the details that it is the key, and only `INVALID_ARGUMENT` above.
        code=reasons[0] if reasons else _text(inner.get("code")),
        param=_text(inner.get("param")),
        retry_after_s=next(filter(None, map(_delay, found)), None),
    )


def _delay(detail: dict[str, Any]) -> float | None:
    """Return the seconds of a `google.rpc.RetryInfo`, such as `37s`."""
    match = _DURATION.fullmatch(str(detail.get("retryDelay", "")))
    return float(match[1]) if match else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
