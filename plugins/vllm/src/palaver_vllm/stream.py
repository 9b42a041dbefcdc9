"""Reads vLLM's stream: bytes in, the text that they brought out.

This is the hot path: one call for each read from the socket, and nothing per token but plain
calls. Server-sent events as in https://html.spec.whatwg.org/multipage/server-sent-events.html,
chunks as in vLLM's `ChatCompletionStreamResponse` (0.32).
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["BAD_JSON", "MAX_EVENT_BYTES", "ErrorInfo", "StreamReader", "Usage"]

MAX_EVENT_BYTES = 200_000
"""Largest event that is accepted; vLLM's are a few hundred bytes."""
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON they should be."""


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    finish_reason: str | None = None


class Usage(msgspec.Struct, gc=False):
    """What was read and written, in tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ErrorInfo(msgspec.Struct, gc=False):
    """An error as vLLM tells it."""

    message: str = ""
    type: str = ""
    param: str | None = None
    code: int | str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: ErrorInfo | str | None = None


_decode = msgspec.json.Decoder(_Chunk).decode

_REASONS: dict[str, Literal["stop", "length", "filter"]] = {
    "stop": "stop",
    "tool_calls": "stop",
    "length": "length",
    "content_filter": "filter",
}


class StreamReader:
    """Turns the bytes of one stream into text.

    Attributes:
        over: Whether nothing more is to be read: the end, an error or garbage was there.
        done: Whether `[DONE]` was there.
        finish: The finish reason, or None as long as there is none.
        other_finish: A finish reason that is no proper end, such as `abort`, or None.
        usage: Usage, if the server told it.
        error: The error event, or None.
        garbage: What could not be read, cut short, or None.
    """

    __slots__ = ("_tail", "done", "error", "finish", "garbage", "other_finish", "over", "usage")

    def __init__(self) -> None:
        self._tail = b""
        self.over = False
        self.done = False
        self.finish: Literal["stop", "length", "filter"] | None = None
        self.other_finish: str | None = None
        self.usage: Usage | None = None
        self.error: ErrorInfo | None = None
        self.garbage: str | None = None

    def feed(self, data: bytes) -> str:
        """Take what one read brought and return all the text in it."""
        if self._tail:
            data = self._tail + data
        held = b""
        if b"\r" in data:
            # A line may end with \r, \n or both, and the last \r here may be half of a pair.
            if data.endswith(b"\r"):
                data, held = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events = data.split(b"\n\n")
        self._tail = tail = events.pop() + held
        text = ""
        for event in events:
            # vLLM's own form first: one line, one space.
            if event[:6] != b"data: " or b"\n" in event:
                event = _payload(event)
                if not event:
                    continue
            else:
                event = event[6:]
            if event == b"[DONE]":
                self.done = self.over = True
                break
            try:
                chunk = _decode(event)
            except BAD_JSON:
                self._give_up(event)
                break
            if chunk.choices:
                choice = chunk.choices[0]
                if choice.delta.content:
                    text += choice.delta.content
                if choice.finish_reason is not None:
                    self._finish(choice.finish_reason)
            if chunk.usage is not None:
                self.usage = chunk.usage
            if chunk.error is not None:
                error = chunk.error
                self.error = ErrorInfo(error) if isinstance(error, str) else error
                self.over = True
                break
        if len(tail) > MAX_EVENT_BYTES:
            self._give_up(tail)
        return text

    def end(self) -> str:
        """Take the end of the stream and return the text of an event that was left open."""
        return self.feed(b"\n\n") if self._tail and not self.over else ""

    def _finish(self, reason: str) -> None:
        self.finish = _REASONS.get(reason)
        if self.finish is None:
            self.other_finish = reason

    def _give_up(self, event: bytes) -> None:
        self.garbage = event[:80].decode("utf-8", "replace")
        self.over = True


def _payload(event: bytes) -> bytes:
    """Return the data of an event by the book: comments, other fields, several lines."""
    parts = []
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            parts.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            parts.append(b"")
    return b"\n".join(parts)
