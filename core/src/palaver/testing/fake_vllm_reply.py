"""What the fake vLLM says: scripts for a reply, and vLLM's words on the wire.

The shapes are those of vLLM 0.32; `tests/vllm` compares them with a real server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from palaver.testing.scripted import Pause

__all__ = ["CUT", "HANG", "Chunks", "Fail", "Raw", "Reply", "Script", "Step", "error_body"]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are sent as they are, in place of an event."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Fail:
    """An error event inside the stream, under status 200; `[DONE]` follows, as with vLLM.

    Attributes:
        message: What vLLM says.
        type: vLLM's name for it.
        code: The HTTP status that it would have been.
    """

    message: str = "Internal server error"
    type: str = "InternalServerError"
    code: int = 500


@dataclass(frozen=True, slots=True)
class _Act:
    name: str


CUT = _Act("cut")
"""The connection breaks here."""
HANG = _Act("hang")
"""Nothing more comes, and the connection stays open."""

Step: TypeAlias = str | Pause | asyncio.Event | Raw | Fail | _Act
"""One token, a pause, an event to wait for, or one of the ways to go wrong."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer to a chat completion.

    Attributes:
        steps: What comes, in order; a str is one token and one event.
        finish: Finish reason, or None for a stream that ends without one.
        done: Whether `[DONE]` is sent at the end.
        status: HTTP status; anything but 200 is answered with `error`.
        error: Message of the error, or None for vLLM's own words for that status.
        retry_after: Value of the header `Retry-After`, or None.
        before_headers: What to wait for before the headers, or None.
        first_token: Delay before the first step, in units of test time.
        per_token: Delay before every other token, in units of test time.
        together: Tokens that are sent with one write.
        split_bytes: Writes of so many bytes, which cut characters and lines, or None.
        newline: What ends a line.
        comments: Send a comment before every event, as a keep-alive does.
    """

    steps: Sequence[Step] = ("Good", " evening", ".")
    finish: str | None = "stop"
    done: bool = True
    status: int = 200
    error: str | None = None
    retry_after: str | None = None
    before_headers: asyncio.Event | _Act | None = None
    first_token: float = 0
    per_token: float = 0
    together: int = 1
    split_bytes: int | None = None
    newline: str = "\n"
    comments: bool = False


Script: TypeAlias = Reply | Sequence[Step] | Callable[[Mapping[str, Any]], "Reply | Sequence[Step]"]
"""A reply, its steps only, or a function of the request's JSON that returns one of these."""

FINGERPRINT = "vllm-0.32.0-00000000"

_TYPES = {
    400: ("BadRequestError", "Bad request."),
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", "Forbidden"),
    404: ("Not Found", "Not Found"),
    429: ("Too Many Requests", "Rate limit reached."),
    500: ("InternalServerError", "EngineCore encountered an issue."),
    503: (
        "Service Unavailable",
        (
            "The engine is currently busy and cannot accept new requests. "
            "Please try again later or on a different instance."
        ),
    ),
}


def error_body(
    status: int, message: str | None = None, type_: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return vLLM's JSON for an error."""
    default_type, default_message = _TYPES.get(status, ("InternalServerError", "Error."))
    return {
        "error": {
            "message": message or default_message,
            "type": type_ or default_type,
            "param": param,
            "code": status,
        }
    }


@dataclass(slots=True)
class Chunks:
    """Makes the events of one stream.

    Attributes:
        id: Id of the completion.
        model: Name that was asked for.
        created: Unix time.
        reply: The reply, for its line ends.
    """

    id: str
    model: str
    created: int
    reply: Reply
    tokens: int = field(default=0, init=False)

    def _event(self, data: str) -> bytes:
        end = self.reply.newline
        comment = f": keep-alive{end}{end}" if self.reply.comments else ""
        return f"{comment}data: {data}{end}{end}".encode()

    def _chunk(self, **fields: Any) -> bytes:
        body = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            **fields,
        }
        return self._event(json.dumps(body, ensure_ascii=False, separators=(",", ":")))

    @staticmethod
    def _choice(delta: dict[str, str], finish: str | None, **more: Any) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **more}

    def first(self) -> bytes:
        """Return the first event, which carries no text."""
        choice = self._choice({"role": "assistant", "content": ""}, None)
        return self._chunk(choices=[choice], prompt_token_ids=None, prompt_text=None)

    def token(self, text: str) -> bytes:
        """Return the event of one token."""
        self.tokens += 1
        return self._chunk(choices=[self._choice({"content": text}, None, token_ids=None)])

    def last(self, finish: str, *, stop_reason: str | None, text: str, usage: bool) -> bytes:
        """Return the event that carries the finish reason.

        Args:
            finish: The finish reason.
            stop_reason: The stop string that was found, or None.
            text: The last token; empty where the model said that it is done.
            usage: Whether an event with the usage follows.
        """
        self.tokens += bool(text)
        choice = self._choice({"content": text}, finish, stop_reason=stop_reason, token_ids=None)
        more = {} if usage else {"system_fingerprint": FINGERPRINT}
        return self._chunk(choices=[choice], **more)

    def usage(self, prompt_tokens: int) -> bytes:
        """Return the event that carries the usage, with no choice in it."""
        usage = {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens + self.tokens,
            "completion_tokens": self.tokens,
        }
        return self._chunk(choices=[], usage=usage, system_fingerprint=FINGERPRINT)

    def failure(self, fail: Fail) -> bytes:
        """Return an error event."""
        return self._event(json.dumps(error_body(fail.code, fail.message, fail.type)))

    def done(self) -> bytes:
        """Return the end of the stream."""
        return self._event("[DONE]")
