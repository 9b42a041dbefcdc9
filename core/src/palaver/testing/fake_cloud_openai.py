"""OpenAI's chat completions, as the fake cloud writes them.

The shapes are those of `openai.types.chat` of August 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from palaver.testing.fake_cloud_words import Words, data

__all__ = ["OpenAIWords"]


class OpenAIWords(Words):
    """Chat completions."""

    name = "openai"
    chat = "/chat/completions"
    key_header = "Authorization"
    key_prefix = "Bearer "
    reasons: ClassVar = {"stop": "stop", "length": "length", "filter": "content_filter"}
    kinds: ClassVar = {
        401: "invalid_request_error",
        429: "requests",
        500: "server_error",
        503: "service_unavailable_error",
    }
    too_long: ClassVar = {
        "message": "This model's maximum context length is 1024 tokens. However, your messages "
        "resulted in 2000 tokens. Please reduce the length of the messages.",
        "code": "context_length_exceeded",
        "param": "messages",
    }

    def _chunk(self, **fields: Any) -> str:
        return data(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": f"{self.model}-2026-08-07",
                "service_tier": "default",
                "system_fingerprint": "fp_1",
                **fields,
                "obfuscation": "qX2",
            }
        )

    def _choice(self, delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._chunk(choices=[choice], usage=None)

    def first(self) -> str:
        """Return the chunk with the role."""
        return self._choice({"role": "assistant", "content": "", "refusal": None})

    def token(self, text: str) -> str:
        """Return one token."""
        return self._choice({"content": text})

    def thought(self, text: str) -> str:
        """Return what DeepSeek, vLLM and others send beside the content, and a tool call."""
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"arguments": text}}
        return self._choice({"reasoning_content": text, "content": None}) + self._choice(
            {"tool_calls": [call]}
        )

    def last(self, finish: str) -> str:
        """Return the finish reason, and the usage in a chunk of its own."""
        usage = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt_tokens + self.tokens,
            "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }
        return self._choice({}, self.reasons.get(finish, finish)) + self._chunk(
            choices=[], usage=usage
        )

    def end(self) -> str:
        """Return the end of a stream."""
        return "data: [DONE]\n\n"

    def error(self, status: int, message: str, **more: Any) -> dict[str, Any]:
        """Return an error."""
        kind = self.kinds.get(status, "invalid_request_error")
        fields = {"message": message, "type": kind, "param": None, "code": None, **more}
        return {"error": fields}

    def cards(self, context_tokens: int) -> dict[str, Any]:
        """Return the list of models, with the context window that Groq tells."""
        card = {"id": self.model, "object": "model", "created": 1, "owned_by": "fake"}
        return {"object": "list", "data": [{**card, "context_window": context_tokens}]}

    @staticmethod
    def texts(body: Mapping[str, Any]) -> list[str]:
        """Return the texts of a prompt."""
        return [message["content"] for message in body["messages"]]

    @staticmethod
    def limit(body: Mapping[str, Any]) -> int | None:
        """Return the longest reply in tokens."""
        return body.get("max_completion_tokens") or body.get("max_tokens")
