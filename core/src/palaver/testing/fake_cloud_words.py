"""How the fake cloud speaks on the wire: one class for each provider.

The shapes are those of the providers' own libraries: `openai.types.chat`, `anthropic.types` and
`google.genai.types` as of August 2026.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = ["WORDS", "AnthropicWords", "GeminiWords", "OpenAIWords", "Words"]


def _data(value: Any) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


class Words:
    """What a provider says, and where.

    Attributes:
        name: What `provider` is set to.
        version: First part of its paths.
        chat: Path of its chat route, after the version; `{model}` stands for the model.
        key_header: Header that carries the key.
        key_prefix: What stands before it.
        reasons: Its words for `stop`, `length` and `filter`.
        kinds: Its names of errors by HTTP status.
        numbers: Names of fields that have to be numbers.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "/v1"
    chat: ClassVar[str]
    key_header: ClassVar[str]
    key_prefix: ClassVar[str] = ""
    reasons: ClassVar[Mapping[str, str]]
    kinds: ClassVar[Mapping[int, str]]
    numbers: ClassVar[tuple[str, ...]] = ("temperature", "top_p")

    def __init__(self, model: str) -> None:
        self.model = model
        self.prompt_tokens = 0
        self.tokens = 0

    def first(self) -> str:
        """Return what comes before the first token."""
        raise NotImplementedError

    def token(self, text: str) -> str:
        """Return one token."""
        raise NotImplementedError

    def thought(self, text: str) -> str:
        """Return something thought and not said."""
        raise NotImplementedError

    def last(self, finish: str) -> str:
        """Return the finish reason and the usage."""
        raise NotImplementedError

    def end(self) -> str:
        """Return the end of a stream."""
        return ""

    def failure(self, status: int) -> str:
        """Return an error inside a stream."""
        return _data(self.error(status, "Something went wrong."))

    def error(self, status: int, message: str, **more: Any) -> dict[str, Any]:
        """Return an error."""
        raise NotImplementedError

    def cards(self, context_tokens: int) -> dict[str, Any]:
        """Return the list of models."""
        raise NotImplementedError

    @staticmethod
    def fields(body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return where in a request sampling stands."""
        return body

    @staticmethod
    def texts(body: Mapping[str, Any]) -> list[str]:
        """Return the texts of a prompt."""
        raise NotImplementedError

    @staticmethod
    def limit(body: Mapping[str, Any]) -> int | None:
        """Return the longest reply in tokens."""
        raise NotImplementedError

    too_long: ClassVar[Mapping[str, Any]] = {}
    """Message and fields of the error for a prompt that does not fit."""


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
        return _data(
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
        return f"event: {kind}\n{_data({'type': kind, **fields})}"

    def _block(self, index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> str:
        events = [self._event("content_block_start", index=index, content_block=block)]
        events += [self._event("content_block_delta", index=index, delta=one) for one in deltas]
        return "".join([*events, self._event("content_block_stop", index=index)])

    def first(self) -> str:
        """Return the beginning: the message, a block of text, and a ping."""
        message = {
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
        return f"event: error\n{_data(self.error(status, 'Something went wrong.'))}"

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


class GeminiWords(Words):
    """Content."""

    name = "gemini"
    version = "/v1beta"
    chat = "/models/{model}:streamGenerateContent"
    key_header = "x-goog-api-key"
    numbers = ("temperature", "topP")
    reasons: ClassVar = {"stop": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"}
    kinds: ClassVar = {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        503: "UNAVAILABLE",
    }
    too_long: ClassVar = {
        "message": "The input token count (2000) exceeds the maximum number of tokens allowed "
        "(1024)."
    }

    def _chunk(self, parts: list[dict[str, Any]], finish: str | None = None) -> str:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        usage: dict[str, Any] = {"promptTokenCount": self.prompt_tokens, "totalTokenCount": 9}
        if finish is not None:
            candidate["finishReason"] = finish
            usage["candidatesTokenCount"] = self.tokens
            usage["cachedContentTokenCount"] = 2
        return _data(
            {
                "candidates": [candidate],
                "usageMetadata": usage,
                "modelVersion": f"{self.model}-001",
                "responseId": "JPozaonvK7yzvdIPrJ7FyAk",
            }
        )

    def first(self) -> str:
        """Return nothing: there is no beginning."""
        return ""

    def token(self, text: str) -> str:
        """Return one token."""
        return self._chunk([{"text": text}])

    def thought(self, text: str) -> str:
        """Return a thought, and a function call."""
        call = {"functionCall": {"name": "look", "args": {"at": text}}, "thoughtSignature": "Cg=="}
        return self._chunk([{"text": text, "thought": True}]) + self._chunk([call])

    def last(self, finish: str) -> str:
        """Return the finish reason and the usage."""
        return self._chunk([{"text": ""}], self.reasons.get(finish, finish))

    def failure(self, status: int) -> str:
        """Return an error inside a stream, which comes without `data:` and over several lines."""
        return json.dumps(self.error(status, "Something went wrong."), indent=2) + "\n"

    def error(self, status: int, message: str, **more: Any) -> dict[str, Any]:
        """Return an error."""
        kind = self.kinds.get(status, "UNKNOWN")
        return {"error": {"code": status, "message": message, "status": kind, **more}}

    def cards(self, context_tokens: int) -> dict[str, Any]:
        """Return the list of models."""
        card = {
            "name": f"models/{self.model}",
            "version": "001",
            "inputTokenLimit": context_tokens,
            "supportedGenerationMethods": ["generateContent"],
        }
        return {"models": [card]}

    @staticmethod
    def fields(body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return where in a request sampling stands."""
        config: Mapping[str, Any] = body.get("generationConfig", {})
        return config

    @staticmethod
    def texts(body: Mapping[str, Any]) -> list[str]:
        """Return the texts of a prompt."""
        contents = [body.get("systemInstruction", {"parts": []}), *body["contents"]]
        return ["".join(part["text"] for part in content["parts"]) for content in contents]

    @staticmethod
    def limit(body: Mapping[str, Any]) -> int | None:
        """Return the longest reply in tokens."""
        limit: int | None = body.get("generationConfig", {}).get("maxOutputTokens")
        return limit


WORDS: dict[str, type[Words]] = {
    words.name: words for words in (OpenAIWords, AnthropicWords, GeminiWords)
}
"""The classes by the names that `provider` has."""
