"""Frames: from text to checked messages, and from messages to ASCII text."""

from __future__ import annotations

import difflib
import json
from typing import Any, cast

import msgspec
from pydantic import BaseModel, ValidationError

from palaver import messages as m
from palaver.errors import ProtocolError
from palaver.explain import explain

__all__ = ["check_version", "names", "parse", "problem", "to_frame"]


class _Names(msgspec.Struct):
    type: str = ""
    id: str | None = None
    turn: str | None = None


_NAMES = msgspec.json.Decoder(_Names)
MAX_NAME = 128
"""Longest id that is echoed; what is longer is no id of this protocol."""
FIRST = ("session.start", "session.resume")
"""What a connection may begin with."""


def names(data: str | bytes) -> tuple[str | None, str | None]:
    """Return `re` and `turn` for an error about a frame that is not worth checking."""
    if isinstance(data, bytes):
        return None, None
    try:
        found = _NAMES.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None, None
    return _name(found.id), _name(found.turn) if found.type == "turn.start" else None


def _name(value: object) -> str | None:
    """Return an id as it may be echoed, or None."""
    return value if isinstance(value, str) and len(value) <= MAX_NAME else None


def parse(data: str | bytes, limit: int, *, first: bool = False) -> m.ClientMessage:
    """Check a frame and return its message.

    Args:
        data: What came in.
        limit: Most bytes a message may have.
        first: Whether it is the first of its connection, so that only a session can be begun.

    Raises:
        ProtocolError: It is no message of the protocol, or too large.
    """
    if isinstance(data, bytes):
        raise ProtocolError("bad_message", "binary frames are for audio; send JSON as a text frame")
    if len(data) > limit or (len(data) * 4 > limit and len(data.encode()) > limit):
        raise ProtocolError(
            "too_large",
            f"a message may have at most {limit} bytes; split it, or send less",
            close_code=1009,
        )
    try:
        parsed = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as err:
        raise ProtocolError("bad_message", f"this is not JSON: {err}") from err
    if not isinstance(parsed, dict):
        raise ProtocolError("bad_message", "a message is one JSON object")
    return _message(parsed, first)


def _message(parsed: dict[str, Any], first: bool) -> m.ClientMessage:
    kind = parsed.get("type")
    re, turn = _name(parsed.get("id")), _name(parsed.get("turn"))
    model = m.CLIENT_MESSAGES.get(kind) if isinstance(kind, str) else None
    if model is None:
        if not isinstance(kind, str):
            raise ProtocolError("bad_message", "every message has a `type`, a text", re=re)
        near = difflib.get_close_matches(kind[:64], m.CLIENT_MESSAGES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ProtocolError("unknown_type", f"there is no message {kind[:64]!r}{hint}", re=re)
    if first and kind not in FIRST:
        # Before its fields are looked at: to mend those would be of no use.
        raise ProtocolError(
            "bad_message",
            f"the first message must be session.start or session.resume, not {kind}",
            re=re,
            close_code=4400,
        )
    try:
        return cast("m.ClientMessage", model.model_validate(parsed))
    except ValidationError as err:
        raise ProtocolError(
            "bad_message",
            f"{kind}: {problem(err, model)}",
            re=re,
            turn=turn if model is m.TurnStart else None,
        ) from err


def problem(err: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem of a message in words, with its field."""
    trouble = explain(err, model, noun="field", table="an object")[0]
    if not trouble.path:
        return trouble.message
    # A name that a client made up may be long.
    return f"`{trouble.key[:MAX_NAME]}` {trouble.message}"


def check_version(start: m.SessionStart) -> None:
    """Make sure that a client speaks this version.

    Raises:
        ProtocolError: It does not.
    """
    if start.protocol != m.PROTOCOL:
        raise ProtocolError(
            "bad_message",
            f"this server speaks protocol {m.PROTOCOL}, not {start.protocol}",
            re=start.id,
            close_code=4400,
        )


def to_frame(message: BaseModel) -> str:
    """Return a message as ASCII JSON, without fields that are not there."""
    return json.dumps(message.model_dump(exclude_none=True), separators=(",", ":"))
