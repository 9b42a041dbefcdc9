"""Splits a stream of bytes into server-sent events, and reads them one provider's way.

Events as in https://html.spec.whatwg.org/multipage/server-sent-events.html. This is the hot path:
one call for each read from the socket, plain calls for each event, and no task or wait.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import msgspec

__all__ = ["BAD_JSON", "MAX_EVENT_BYTES", "FinishReason", "Reader", "Trouble", "Usage"]

MAX_EVENT_BYTES = 200_000
"""Largest event that is accepted; usual ones have a few hundred bytes."""
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON they should be."""

FinishReason: TypeAlias = Literal["stop", "length", "filter"]


class Usage(msgspec.Struct):
    """What was read and written, in tokens; None where it was not told.

    Attributes:
        prompt: All that was read, from a cache or not.
        completion: All that was written, with what was thought.
        cached: What of `prompt` came from the provider's cache.
        thought: What of `completion` was thought and not spoken.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    thought: int | None = None


class Trouble(msgspec.Struct):
    """An error as a provider tells it.

    Attributes:
        message: For people.
        kind: The provider's word for it, such as `overloaded_error`, or empty.
        code: A second word or number for it, or empty.
        param: The field it is about, or empty.
        retry_after_s: How long to wait, in seconds, or None.
    """

    message: str = ""
    kind: str = ""
    code: str = ""
    param: str = ""
    retry_after_s: float | None = None


class Reader:
    """Turns the bytes of one stream into text; each provider has its own `take`.

    Attributes:
        end_s: Time for what follows the finish reason (usage, the stream's end), in seconds: the
            reply is whole then, and nobody should wait long for a count.
        over: Whether nothing more is to be read: the end, an error or garbage was there.
        done: Whether the stream's own end was there.
        finish: How the reply ended, or None as long as it has not.
        other_finish: A finish reason that is no proper end, or None.
        why: What the provider says to its finish, such as the name of a filter, or empty.
        model: The model that speaks, as the provider names it, or None.
        usage: What was used, as far as it was told.
        trouble: The error event, or None.
        garbage: What could not be read, cut short, or None.
    """

    __slots__ = (
        "_tail",
        "done",
        "finish",
        "garbage",
        "model",
        "other_finish",
        "over",
        "trouble",
        "usage",
        "why",
    )
    end_s: ClassVar[float] = 1.0

    def __init__(self) -> None:
        self._tail = b""
        self.over = False
        self.done = False
        self.finish: FinishReason | None = None
        self.other_finish: str | None = None
        self.why = ""
        self.model: str | None = None
        self.usage: Usage | None = None
        self.trouble: Trouble | None = None
        self.garbage: str | None = None

    def take(self, event: bytes) -> str:
        """Take the data of one event and return the text in it.

        Raises:
            msgspec.DecodeError: It is not what this provider sends.
        """
        raise NotImplementedError

    def feed(self, data: bytes) -> str:
        """Take what one read brought and return all the text in it."""
        if self._tail:
            data = self._tail + data
        held = b""
        if b"\r" in data:
            # A last \r may be half of a pair.
            if data.endswith(b"\r"):
                data, held = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events = data.split(b"\n\n")
        self._tail = tail = events.pop() + held
        text, take = "", self.take
        for event in events:
            # The usual forms first: one line of data, alone or after one with its type.
            if event[:6] == b"data: " and b"\n" not in event:
                payload = event[6:]
            else:
                payload = self._payload(event)
                if not payload:
                    continue
            try:
                text += take(payload)
            except BAD_JSON:
                self._give_up(payload)
            if self.over:
                return text
        if len(tail) > MAX_EVENT_BYTES:
            self._give_up(tail)
        return text

    def end(self) -> str:
        """Take the end of the stream and return the text of an event that was left open."""
        return self.feed(b"\n\n") if self._tail and not self.over else ""

    def fail(self, trouble: Trouble) -> None:
        """Note an error event; nothing is read after it."""
        self.trouble = trouble
        self.over = True

    def _payload(self, event: bytes) -> bytes:
        """Return the data of an event: comments, other fields, several lines."""
        head, _, rest = event.partition(b"\n")
        if head[:6] == b"event:" and rest[:6] == b"data: " and b"\n" not in rest:
            return rest[6:]
        parts = []
        for line in event.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            if line.startswith(b"data:"):
                parts.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                parts.append(b"")
        return b"\n".join(parts) if parts else _bare(event)

    def _give_up(self, event: bytes) -> None:
        self.garbage = event[:80].decode("utf-8", "replace")
        self.over = True


def _bare(event: bytes) -> bytes:
    """Return the JSON of an event that breaks the format, or nothing.

    Gemini, and proxies in front of others, write an error into a stream as they would write it
    into a body: without `data:`, over several lines, sometimes in a list.
    """
    text = event.strip()
    if text[:1] == b"[" and text[-1:] == b"]":
        text = text[1:-1].strip()
    return text if text[:1] == b"{" else b""
