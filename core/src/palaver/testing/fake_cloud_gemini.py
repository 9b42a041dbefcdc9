"""Gemini's content, as the fake cloud writes them.

The shapes are those of `google.genai.types` of August 2026.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from palaver.testing.fake_cloud_words import Words, data

__all__ = ["GeminiWords"]


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
        return data(
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
