"""Requests to Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from palaver.chain.backend import GenerateRequest, ModelInfo
from palaver_cloud.anthropic_stream import AnthropicReader
from palaver_cloud.provider import Provider
from palaver_cloud.wire import Asked, alternating, encode, merged, spoken

__all__ = ["Anthropic"]

API_VERSION = "2023-06-01"
"""Header `anthropic-version`."""
MAX_TOKENS = 1024
"""Longest reply where nobody says: unlike the others, this API wants to be told."""


class _Card(msgspec.Struct):
    id: str
    max_input_tokens: int | None = None


class _Models(msgspec.Struct):
    data: list[_Card]


_decode = msgspec.json.Decoder(_Models).decode


class Anthropic(Provider):
    """Messages."""

    host = "https://api.anthropic.com"
    version = "/v1"
    key_env = "ANTHROPIC_API_KEY"
    key_header = "x-api-key"

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the headers of every request."""
        return {"anthropic-version": API_VERSION, **super().headers(key)}

    def chat_url(self) -> str:
        """Return where messages are asked for."""
        return f"{self.base}/messages"

    def list_url(self) -> str:
        """Return where models are listed."""
        return f"{self.base}/models?limit=1000"

    def ask(self, request: GenerateRequest, omit: Collection[str]) -> Asked:
        """Return the JSON of a message.

        There is no seed. Of `temperature` and `top_p` only the first is sent where both are
        wanted, because models since Claude 4.1 refuse both; newer ones refuse even one, which the
        backend learns from their first answer.
        """
        sampling = request.sampling
        heat = sampling.temperature
        # Stop sequences of white space alone are refused.
        stops = [stop for stop in sampling.stop if stop.strip()]
        wanted = {
            # It ends at 1, where others end at 2.
            "temperature": None if heat is None else min(heat, 1.0),
            "top_p": sampling.top_p if heat is None or "temperature" in omit else None,
            "stop_sequences": stops or None,
        }
        can_omit = {
            name: value for name, value in wanted.items() if value is not None and name not in omit
        }
        system, turns = alternating(spoken(request))
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [{"role": role, "content": text} for role, text in turns],
            "max_tokens": self.longest(request) or MAX_TOKENS,
            "stream": True,
            **can_omit,
        }
        if system:
            body["system"] = system
        if request.schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": request.schema}}
        sent = stops if "stop_sequences" in can_omit else []
        return Asked(
            encode(merged(self.settings.extra_body, body)),
            frozenset(can_omit),
            tuple(stop for stop in sampling.stop if stop not in sent),
        )

    def reader(self) -> AnthropicReader:
        """Return a reader for one stream."""
        return AnthropicReader()

    def read_models(self, body: bytes) -> list[ModelInfo]:
        """Return the models of a list."""
        return [
            ModelInfo(card.id, context_tokens=card.max_input_tokens) for card in _decode(body).data
        ]
