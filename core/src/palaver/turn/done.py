"""`turn.done`: what a turn came to, as it is sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quote
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palaver.turn.model import Attempt, Turn, TurnResult

__all__ = ["done_message", "to_json", "told", "trail_entry"]

MAX_DONE_BYTES = 59_900
"""Longest `turn.done` but for its number; a message has at most 60,000 bytes."""
MAX_SHORT_TRAIL = 32
"""Entries of the trail that have room beside the longest reply."""

to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def done_message(turn: Turn, result: TurnResult) -> tuple[str, str]:
    """Return head and tail of `turn.done`."""
    rest = {"status": result.status, "text": result.text, **told(result)}
    head = f'{{"type":"turn.done","turn":{quote(turn.id)},"seq":'
    tail = "," + to_json(rest)[1:]
    if len(head) + len(tail) > MAX_DONE_BYTES:
        rest["trail"] = _short_trail(result.trail)
        tail = "," + to_json(rest)[1:]
    return head, tail


def told(result: TurnResult) -> dict[str, Any]:
    """Return who spoke, at what cost and when, as JSON has it; the words are not among it."""
    served = result.served_by
    return {
        "served_by": {
            "backend": served.backend,
            "type": served.type,
            "model": served.model,
            "adapter": served.adapter,
        },
        "trail": [trail_entry(attempt) for attempt in result.trail],
        "usage": {
            "prompt_tokens": result.usage.prompt_tokens,
            "completion_tokens": result.usage.completion_tokens,
            "cost_usd": result.usage.cost_usd,
        },
        "ttft_ms": None if result.ttft_ms is None else round(result.ttft_ms, 2),
        "total_ms": round(result.total_ms, 2),
        "cached": result.cached,
    }


def trail_entry(attempt: Attempt) -> dict[str, Any]:
    """Return an entry of the trail as it is sent: what says nothing is left out."""
    entry: dict[str, Any] = {
        "backend": attempt.backend,
        "outcome": attempt.outcome,
        "at_ms": round(attempt.at_ms, 2),
    }
    if attempt.reason:
        entry["reason"] = _short(attempt.reason)
    if attempt.begun_ms is not None:
        entry["begun_ms"] = round(attempt.begun_ms, 2)
    if attempt.first_ms is not None:
        entry["first_ms"] = round(attempt.first_ms, 2)
    if attempt.cost_usd:
        entry["cost_usd"] = attempt.cost_usd
    if attempt.prompt_tokens:
        entry["prompt_tokens"] = attempt.prompt_tokens
    if attempt.completion_tokens:
        entry["completion_tokens"] = attempt.completion_tokens
    if attempt.server:
        entry["server"] = _short(attempt.server)
    return entry


def _short_trail(trail: Sequence[Attempt]) -> list[dict[str, Any]]:
    """Return a trail beside a very long reply: its last entries, and of each the least."""
    return [
        {"backend": one.backend, "outcome": one.outcome, "at_ms": round(one.at_ms, 2)}
        for one in trail[-MAX_SHORT_TRAIL:]
    ]


def _short(reason: str) -> str:
    """Return a reason that leaves room for the reply: the whole has to fit one message."""
    return reason.encode("ascii", "replace")[:200].decode()
