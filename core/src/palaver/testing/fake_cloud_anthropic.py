"""Anthropic's messages, as the fake cloud writes them.

The shapes are those of `anthropic.types` of August 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from palaver.testing.fake_cloud_words import Words, data

__all__ = ["AnthropicWords"]


class AnthropicWords(Words):
    """Messages."""

    name = "anthropic"
    chat = "/messages"
    key_header = "x-api-key"
    reasons: ClassVar = {"stop": "end_turn", "length": "max_tokens", "filter": "refusal"}
    kinds: ClassVar = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        500: "api_error",
        529: "overloaded_error",
    }
    too_long: ClassVar = {"message": "prompt is too long: 2000 tokens > 1024 maximum"}

    def _event(self, kind: str, **fields: Any) -> str:
        return f"event: {kind}\n{data({'type': kind, **fields})}"

    def _block(self, index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> str:
        events = [self._event("content_block_start", index=index, content_block=block)]
        events += [self._event("content_block_delta", index=index, delta=one) for one in deltas]
        return "".join([*events, self._event("content_block_stop", index=index)])

    def first(self) -> str:
        """Return the beginning: the message, a block of text, and a ping."""
        message: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": f"{self.model}-20260807",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": self.prompt_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 2,
                "output_tokens": 1,
                "service_tier": "standard",
            },
        }
        return (
            self._event("message_start", message=message)
            + self._event(
                "content_block_start", index=0, content_block={"type": "text", "text": ""}
            )
            + self._event("ping")
        )

    def token(self, text: str) -> str:
        """Return one token."""
        delta = {"type": "text_delta", "text": text}
        return self._event("content_block_delta", index=0, delta=delta)

    def thought(self, text: str) -> str:
        """Return blocks of thinking, redacted thinking and tool use, and a ping."""
        return (
            self._block(
                1,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": text},
                {"type": "signature_delta", "signature": "EqQBCgIYAhIM"},
            )
            + self._block(2, {"type": "redacted_thinking", "data": "EmwKAhgB"})
            + self._event("ping")
            + self._block(
                3,
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"at": "'},
                {"type": "input_json_delta", "partial_json": f'{text}"}}'},
            )
        )

    def last(self, finish: str) -> str:
        """Return the end of the block, the stop reason and the usage."""
        delta = {"stop_reason": self.reasons.get(finish, finish), "stop_sequence": None}
        return self._event("content_block_stop", index=0) + self._event(
            "message_delta", delta=delta, usage={"output_tokens": self.tokens}
        )

    def end(self) -> str:
        """Return the end of a stream."""
        return self._event("message_stop")

    def failure(self, status: int) -> str:
        """Return an error inside a stream."""
        return f"event: error\n{data(self.error(status, 'Something went wrong.'))}"

    def error(self, status: int, message: str, **more: Any) -> dict[str, Any]:
        """Return an error."""
        kind = self.kinds.get(status, "api_error")
        fields = {"type": kind, "message": message, **more}
        return {"type": "error", "error": fields, "request_id": "req_1"}

    def cards(self, context_tokens: int) -> dict[str, Any]:
        """Return the list of models."""
        card = {
            "type": "model",
            "id": f"{self.model}-20260807",
            "display_name": "Fake",
            "created_at": "2026-08-07T00:00:00Z",
            "max_input_tokens": context_tokens,
        }
        ends = {"first_id": card["id"], "last_id": card["id"], "has_more": False}
        return {"data": [card], **ends}

    @staticmethod
    def texts(body: Mapping[str, Any]) -> list[str]:
        """Return the texts of a prompt."""
        return [body.get("system", ""), *(message["content"] for message in body["messages"])]

    @staticmethod
    def limit(body: Mapping[str, Any]) -> int | None:
        """Return the longest reply in tokens."""
        return body.get("max_tokens")
