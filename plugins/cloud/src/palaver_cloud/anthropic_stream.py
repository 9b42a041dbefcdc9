"""Reads the events of Anthropic's Messages API.

Events as in https://platform.claude.com/docs/en/build-with-claude/streaming and in the types of
Anthropic's Python library (August 2026). Only `text` and `text_delta` are spoken: thinking,
signatures, tool input, citations, pings and whatever is added later are passed over.
"""

from __future__ import annotations

from typing import Any

import msgspec

from palaver_cloud.sse import FinishReason, Reader, Usage
from palaver_cloud.trouble import from_json

__all__ = ["AnthropicReader"]

_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    # A long turn with tools of the server's was paused; what there is is not all.
    "pause_turn": "length",
    "refusal": "filter",
}


class _Details(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: _Details | None = None


class _Message(msgspec.Struct, gc=False):
    model: str | None = None
    usage: _Usage | None = None


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None


class _StopDetails(msgspec.Struct, gc=False):
    category: str | None = None


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Message | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class AnthropicReader(Reader):
    """Reads one stream of events."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        super().__init__()
        self._told = _Usage()

    def take(self, event: bytes) -> str:
        """Take one event and return the text in it."""
        parsed = _decode(event)
        kind, delta = parsed.type, parsed.delta
        if kind == "content_block_delta":
            if delta is not None and delta.type == "text_delta" and delta.text:
                return delta.text
        elif kind == "content_block_start":
            block = parsed.content_block
            if block is not None and block.type == "text" and block.text:
                return block.text
        elif kind == "message_delta":
            if delta is not None and delta.stop_reason is not None:
                self._finish(delta.stop_reason, delta.stop_details)
            self._count(parsed.usage)
        elif kind == "message_start":
            if parsed.message is not None:
                self.model = parsed.message.model
                usage = parsed.message.usage
                if usage is not None:
                    # Nothing was written yet; a reply that is cut would count as one token.
                    usage.output_tokens = None
                self._count(usage)
        elif kind == "message_stop":
            self.done = self.over = True
        elif kind == "error":
            self.fail(from_json({"error": parsed.error}))
        return ""

    def _finish(self, reason: str, details: _StopDetails | None) -> None:
        self.finish = _REASONS.get(reason)
        if self.finish is None:
            self.other_finish = reason
        elif self.finish == "filter":
            self.why = (details.category if details is not None else None) or reason

    def _count(self, usage: _Usage | None) -> None:
        """Take counts; later ones are cumulative, and leave out what has not changed."""
        if usage is None:
            return
        told = self._told
        for name in usage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None:
                setattr(told, name, value)
        read, created = told.cache_read_input_tokens, told.cache_creation_input_tokens
        prompt = told.input_tokens
        if prompt is not None:
            # Unlike with the others, `input_tokens` is only what no cache was involved in.
            prompt += (read or 0) + (created or 0)
        details = told.output_tokens_details
        self.usage = Usage(
            prompt, told.output_tokens, read, details.thinking_tokens if details else None
        )
