"""Requests to Gemini's `streamGenerateContent`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import quote

import msgspec

from palaver.chain.backend import GenerateRequest, ModelInfo
from palaver_cloud.gemini_stream import GeminiReader
from palaver_cloud.provider import Provider
from palaver_cloud.wire import Asked, alternating, encode, merged, spoken

__all__ = ["Gemini"]

MAX_STOPS = 5
"""More stop sequences are refused."""


class _Card(msgspec.Struct, rename="camel"):
    name: str
    input_token_limit: int | None = None


class _Models(msgspec.Struct):
    models: list[_Card]


_decode = msgspec.json.Decoder(_Models).decode


class Gemini(Provider):
    """Content."""

    host = "https://generativelanguage.googleapis.com"
    version = "/v1beta"
    key_env = "GEMINI_API_KEY"
    # Never in the address, where proxies and logs would see it.
    key_header = "x-goog-api-key"

    def chat_url(self) -> str:
        """Return where content is asked for."""
        model = self.settings.model
        path = model if "/" in model else f"models/{model}"
        return f"{self.base}/{quote(path)}:streamGenerateContent?alt=sse"

    def list_url(self) -> str:
        """Return where models are listed."""
        return f"{self.base}/models?pageSize=1000"

    def ask(self, request: GenerateRequest, omit: Collection[str]) -> Asked:
        """Return the JSON of a request for content."""
        sampling, thinking = request.sampling, self.settings.thinking_tokens
        if "thinkingConfig" in self.settings.extra_body.get("generationConfig", {}):
            # Newer models have a level instead, and refuse both together.
            thinking = None
        wanted = {
            "temperature": sampling.temperature,
            "topP": sampling.top_p,
            "maxOutputTokens": self.longest(request),
            "stopSequences": sampling.stop[:MAX_STOPS] or None,
            # A signed number of 32 bits.
            "seed": None if request.seed is None else request.seed & 0x7FFF_FFFF,
            "thinkingConfig": None if thinking is None else {"thinkingBudget": thinking},
        }
        can_omit: dict[str, Any] = {
            name: value for name, value in wanted.items() if value is not None and name not in omit
        }
        config = dict(can_omit)
        if request.schema is not None:
            config["responseMimeType"] = "application/json"
            config["responseJsonSchema"] = request.schema
        system, turns = alternating(spoken(request))
        body: dict[str, Any] = {
            "contents": [
                {"role": "model" if role == "assistant" else role, "parts": [{"text": text}]}
                for role, text in turns
            ]
        }
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        if config:
            body["generationConfig"] = config
        return Asked(
            encode(merged(self.settings.extra_body, body)),
            frozenset(can_omit),
            sampling.stop[MAX_STOPS:] if "stopSequences" in can_omit else sampling.stop,
        )

    def reader(self) -> GeminiReader:
        """Return a reader for one stream."""
        return GeminiReader()

    def read_models(self, body: bytes) -> list[ModelInfo]:
        """Return the models of a list."""
        return [
            ModelInfo(card.name.removeprefix("models/"), context_tokens=card.input_token_limit)
            for card in _decode(body).models
        ]
