"""Requests to OpenAI, and to all that are compatible with its chat completions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from palaver.chain.backend import GenerateRequest, ModelInfo
from palaver_cloud.config import CloudSettings
from palaver_cloud.openai_stream import OpenAIReader
from palaver_cloud.provider import Provider
from palaver_cloud.wire import Asked, encode, merged, spoken

__all__ = ["OpenAI"]

MAX_STOPS = 4
"""More stop strings are refused."""


class _Card(msgspec.Struct):
    """A model; OpenAI says only `id`, others say how much it reads."""

    id: str
    context_length: int | None = None  # OpenRouter, Together
    context_window: int | None = None  # Groq
    max_context_length: int | None = None  # Mistral
    max_model_len: int | None = None  # vLLM


class _Models(msgspec.Struct):
    data: list[_Card]


# Together lists without the object around it.
_decode = msgspec.json.Decoder(_Models | list[_Card], strict=False).decode


class OpenAI(Provider):
    """Chat completions."""

    host = "https://api.openai.com"
    version = "/v1"
    key_env = "OPENAI_API_KEY"
    key_header = "Authorization"
    key_prefix = "Bearer "

    def __init__(self, settings: CloudSettings) -> None:
        super().__init__(settings)
        field = settings.max_tokens_field
        if field == "auto":
            field = "max_completion_tokens" if self.own else "max_tokens"
        self._max_tokens_field = field

    def chat_url(self) -> str:
        """Return where chat completions are asked for."""
        return f"{self.base}/chat/completions"

    def ask(self, request: GenerateRequest, omit: Collection[str]) -> Asked:
        """Return a chat completion's JSON."""
        sampling = request.sampling
        wanted = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._limit_field(omit): self.longest(request),
            "stop": sampling.stop[:MAX_STOPS] or None,
            "seed": request.seed,
            "stream_options": {"include_usage": True},
        }
        can_omit = {
            name: value for name, value in wanted.items() if value is not None and name not in omit
        }
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [{"role": role, "content": text} for role, text in spoken(request)],
            "stream": True,
            **can_omit,
        }
        if request.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "reply",
                    "schema": request.schema,
                    "strict": _is_strict(request.schema),
                },
            }
        return Asked(
            encode(merged(self.settings.extra_body, body)),
            frozenset(can_omit),
            sampling.stop[MAX_STOPS:] if "stop" in can_omit else sampling.stop,
        )

    def reader(self) -> OpenAIReader:
        """Return a reader for one stream."""
        return OpenAIReader()

    def read_models(self, body: bytes) -> list[ModelInfo]:
        """Return the models of a list."""
        listed = _decode(body)
        cards = listed.data if isinstance(listed, _Models) else listed
        return [
            ModelInfo(
                card.id,
                context_tokens=card.context_length
                or card.context_window
                or card.max_context_length
                or card.max_model_len,
            )
            for card in cards
        ]

    def _limit_field(self, omit: Collection[str]) -> str:
        """Return the name for the longest reply; one that was refused makes way for the other."""
        names = ("max_completion_tokens", "max_tokens")
        if self._max_tokens_field in omit:
            return next(name for name in names if name != self._max_tokens_field)
        return self._max_tokens_field


def _is_strict(schema: Any) -> bool:
    """Return whether a schema may be called strict: closed objects, whose properties all are there.

    OpenAI refuses any other (https://platform.openai.com/docs/guides/structured-outputs).
    """
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if isinstance(properties, Mapping) or schema.get("type") == "object":
        names = set(properties or ())
        if schema.get("additionalProperties") is not False:
            return False
        if names != set(schema.get("required") or ()):
            return False
    return all(map(_is_strict, schema.values()))
