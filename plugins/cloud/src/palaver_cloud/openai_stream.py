"""Reads chat completion chunks, of OpenAI and of all that are compatible with it.

Shapes as in `openai.types.chat.ChatCompletionChunk` of OpenAI's Python library (August 2026), with
what others do differently: DeepSeek's cache counts, Mistral's content in parts, OpenRouter's
`finish_reason: "error"`. Reasoning comes in fields of its own (`reasoning_content`, `reasoning`),
which are not read, so it is never spoken; nor are tool calls.
"""

from __future__ import annotations

from typing import Any

import msgspec

from palaver.chain.http_errors import MAX_CHARS
from palaver_cloud.sse import FinishReason, Reader, Usage
from palaver_cloud.trouble import from_json

__all__ = ["OpenAIReader"]

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",  # Together
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "model_length": "length",  # Mistral
    "content_filter": "filter",
}


class _Part(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class OpenAIReader(Reader):
    """Reads one stream of chunks."""

    __slots__ = ()

    def take(self, event: bytes) -> str:
        """Take one chunk and return the text in it."""
        if event == b"[DONE]":
            self.done = self.over = True
            return ""
        chunk = _decode(event)
        if chunk.error is not None:
            self.fail(from_json({"error": chunk.error}))
            return ""
        if chunk.usage is not None:
            self.usage = _usage(chunk.usage)
        if self.model is None:
            self.model = chunk.model
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        if choice.finish_reason:
            self._finish(choice.finish_reason)
        delta = choice.delta
        if delta is None:
            return ""
        if delta.refusal:
            # A refusal in words of its own comes with structured output; it is not the reply.
            # More of it than can be shown is not kept: nothing else bounds it.
            self.why += delta.refusal[: max(0, MAX_CHARS + 1 - len(self.why))]
        content = delta.content
        if content is None or isinstance(content, str):
            return content or ""
        return "".join(part.text or "" for part in content if part.type == "text")

    def _finish(self, reason: str) -> None:
        self.finish = _REASONS.get(reason)
        if self.finish is None:
            self.other_finish = reason
        elif self.why:
            self.finish = "filter"


def _usage(told: _Usage) -> Usage:
    read, written = told.prompt_tokens_details, told.completion_tokens_details
    cached = read.cached_tokens if read is not None else None
    return Usage(
        told.prompt_tokens,
        told.completion_tokens,
        told.prompt_cache_hit_tokens if cached is None else cached,
        written.reasoning_tokens if written is not None else None,
    )
