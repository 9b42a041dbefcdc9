"""Reads Ollama's stream: bytes in, the text that they brought out.

This is the hot path: one call for each read from the socket, and nothing per token but plain
calls. Lines as in https://github.com/ollama/ollama/blob/main/docs/api.md, errors inside a stream
as in docs/api/errors.mdx there.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["BAD_JSON", "MAX_LINE_BYTES", "StreamReader", "told"]

MAX_LINE_BYTES = 1_000_000
"""Longest line that is accepted; Ollama's are a few hundred bytes."""
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON they should be."""

_THINK, _THOUGHT = "<think>", "</think>"


class _Message(msgspec.Struct, gc=False):
    # What stands in `thinking` or `tool_calls` is not for the player, and not even read.
    content: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Chunk)
_decode, _decode_lines = _decoder.decode, _decoder.decode_lines

_REASONS: dict[str | None, Literal["stop", "length"]] = {
    "stop": "stop",
    "length": "length",
    # Versions before 0.1.38 say only that it is done.
    None: "stop",
    "": "stop",
}


class StreamReader:
    """Turns the bytes of one stream into text.

    Attributes:
        over: Whether nothing more is to be read: the end, an error or garbage was there.
        done: Whether the line with `"done": true` was there.
        finish: How the reply ended, or None as long as it did not.
        said_why: Whether the server itself gave that reason.
        other_finish: A reason that is no end of a reply, such as `unload`, or None.
        prompt_tokens: Tokens read, if the server told it.
        completion_tokens: Tokens written, if the server told it.
        error: What the server said went wrong, or None.
        garbage: What could not be read, cut short, or None.
    """

    __slots__ = (
        "_held",
        "_opening",
        "_tail",
        "_thinking",
        "completion_tokens",
        "done",
        "error",
        "finish",
        "garbage",
        "other_finish",
        "over",
        "prompt_tokens",
        "said_why",
    )

    def __init__(self) -> None:
        self._tail = b""
        self._held = ""
        self._opening, self._thinking = True, False
        self.over = False
        self.done = False
        self.finish: Literal["stop", "length"] | None = None
        self.said_why = False
        self.other_finish: str | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.error: str | None = None
        self.garbage: str | None = None

    def feed(self, data: bytes) -> str:
        """Take what one read brought and return all the text in it."""
        if self._tail:
            data = self._tail + data
        whole, newline, self._tail = data.rpartition(b"\n")
        if not newline:
            if len(data) > MAX_LINE_BYTES:
                self._give_up(data)
            return ""
        try:
            chunks = _decode_lines(whole)
        except BAD_JSON:
            chunks = self._up_to_garbage(whole)
        text = ""
        for chunk in chunks:
            if chunk.message is not None and chunk.message.content:
                text += chunk.message.content
            if chunk.error is not None:
                self.error = told(chunk.error)
                self.over = True
                break
            if chunk.done:
                self._finish(chunk)
                break
        if self._opening:
            text = self._spoken(text)
        if len(self._tail) > MAX_LINE_BYTES:
            self._give_up(self._tail)
        return text

    def end(self) -> str:
        """Take the end of the stream and return the text of a line that was left open."""
        return self.feed(b"\n") if self._tail and not self.over else ""

    def _finish(self, chunk: _Chunk) -> None:
        self.done = self.over = True
        self.finish = _REASONS.get(chunk.done_reason)
        self.said_why = bool(chunk.done_reason)
        if self.finish is None:
            self.other_finish = chunk.done_reason
        # An older server leaves out the first when it had the whole prompt in its cache.
        self.prompt_tokens = chunk.prompt_eval_count
        self.completion_tokens = chunk.eval_count

    def _up_to_garbage(self, lines: bytes) -> list[_Chunk]:
        """Return the chunks before a line that is none: their text was said."""
        chunks = []
        for line in lines.split(b"\n"):
            if not line.strip():
                continue
            try:
                chunks.append(_decode(line))
            except BAD_JSON:
                self._give_up(line)
                break
        return chunks

    def _spoken(self, text: str) -> str:
        """Return what of the reply's opening is speech.

        A model whose template does not know about thinking writes it into its reply all the same,
        between tags.
        """
        self._held += text
        if not self._thinking:
            start = self._held.lstrip()
            if start.startswith(_THINK):
                self._thinking = True
                self._held = start.removeprefix(_THINK)
            elif self.over or not _THINK.startswith(start[: len(_THINK)]):
                text, self._held, self._opening = self._held, "", False
                return text
            else:
                return ""
        _, tag, rest = self._held.partition(_THOUGHT)
        rest = rest.lstrip()
        if tag and rest:
            self._held, self._opening = "", False
            return rest
        if not tag:
            # Enough to know a tag that comes in two pieces.
            self._held = self._held[-len(_THOUGHT) :]
        return ""

    def _give_up(self, line: bytes) -> None:
        self.garbage = line[:80].decode("utf-8", "replace")
        self.over = True


def told(error: Any) -> str:
    """Return the text of an error, which is a string or, from other servers, an object."""
    if isinstance(error, dict):
        return str(error.get("message") or error)
    return str(error)
