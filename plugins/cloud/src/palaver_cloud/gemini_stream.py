"""Reads the chunks of Gemini's `streamGenerateContent?alt=sse`.

Shapes as in `google.genai.types.GenerateContentResponse` of Google's Python library (August 2026).
Parts with `thought: true` are never spoken. The stream has no end of its own: it ends with the
connection's. An error inside it comes as bare JSON over several lines, without `data:`, and may
follow a chunk that says STOP (googleapis/python-genai:google/genai/_api_client.py,
vercel/ai#5217).
"""

from __future__ import annotations

from typing import Any

import msgspec

from palaver_cloud.sse import FinishReason, Reader, Usage
from palaver_cloud.trouble import from_json

__all__ = ["GeminiReader"]

_FILTERS = (
    "BLOCKLIST",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_SAFETY",
    "LANGUAGE",
    "PROHIBITED_CONTENT",
    "RECITATION",
    "SAFETY",
    "SPII",
)
_REASONS: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}
_REASONS.update(dict.fromkeys(_FILTERS, "filter"))
_UNSPECIFIED = ("", "FINISH_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    thought: bool | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class _Usage(msgspec.Struct, gc=False, rename="camel"):
    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


class _Chunk(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class GeminiReader(Reader):
    """Reads one stream of chunks."""

    __slots__ = ("_told",)
    # Old models say STOP in every chunk, so it is no sign that nothing follows.
    end_s = 10.0

    def __init__(self) -> None:
        super().__init__()
        self._told: _Usage | None = None

    def take(self, event: bytes) -> str:
        """Take one chunk and return the text in it."""
        chunk = _decode(event)
        if chunk.error is not None:
            self.fail(from_json({"error": chunk.error}))
            return ""
        if chunk.usage_metadata is not None:
            self._told = chunk.usage_metadata
        if not chunk.candidates:
            feedback = chunk.prompt_feedback
            if feedback is not None and (feedback.block_reason or "") not in _UNSPECIFIED:
                self.finish, self.why = "filter", f"the prompt was blocked: {feedback.block_reason}"
                self._end()
            return ""
        candidate = chunk.candidates[0]
        if candidate.finish_reason is not None:
            self._finish(candidate.finish_reason, candidate.finish_message)
            self.model = chunk.model_version
            self._end()
        content = candidate.content
        if content is None or not content.parts:
            return ""
        if len(content.parts) == 1:
            part = content.parts[0]
            return "" if part.thought else part.text or ""
        return "".join(part.text or "" for part in content.parts if not part.thought)

    def end(self) -> str:
        """Take the end of the stream, which is this protocol's only end."""
        text = super().end()
        self.done = self.done or (self.finish is not None and self.trouble is None)
        return text

    def _finish(self, reason: str, message: str | None) -> None:
        if reason in _UNSPECIFIED:
            return
        self.finish = _REASONS.get(reason)
        if self.finish is None:
            self.other_finish = reason
        elif self.finish == "filter":
            self.why = message or reason

    def _end(self) -> None:
        """Count; every chunk carries the usage so far, and only the last is of interest."""
        told = self._told
        if told is None:
            return
        thought = told.thoughts_token_count
        completion = told.candidates_token_count
        if completion is not None or thought is not None:
            completion = (completion or 0) + (thought or 0)
        prompt = told.prompt_token_count
        if prompt is not None:
            prompt += told.tool_use_prompt_token_count or 0
        self.usage = Usage(prompt, completion, told.cached_content_token_count, thought)
