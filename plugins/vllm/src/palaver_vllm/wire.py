"""What is sent to vLLM, and what it says of its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from palaver.chain.backend import GenerateRequest

__all__ = ["Card", "chat_body", "decode_models", "decode_version"]

encode = msgspec.json.encode


class Card(msgspec.Struct):
    """A model or adapter in `/v1/models`."""

    id: str
    owned_by: str = ""
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[Card]


class _Version(msgspec.Struct):
    version: str


decode_models = msgspec.json.Decoder(_Models).decode
decode_version = msgspec.json.Decoder(_Version).decode


def chat_body(
    request: GenerateRequest, model: str, *, priority: bool, extra: Mapping[str, Any]
) -> bytes:
    """Return the JSON of a chat completion.

    Args:
        request: What is wanted.
        model: Model or adapter to ask for.
        priority: Whether the server schedules by priority.
        extra: Further fields, for what nothing else sets.
    """
    messages = [{"role": role, "content": content} for role, content in request.messages]
    body: dict[str, Any] = {
        **extra,
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    sampling = request.sampling
    if sampling.temperature is not None:
        body["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.max_tokens is not None:
        body["max_tokens"] = sampling.max_tokens
    if sampling.stop:
        body["stop"] = sampling.stop
    if request.seed is not None:
        body["seed"] = request.seed
    if priority:
        body["priority"] = request.priority
    if request.schema is not None:
        # Not `guided_json`: vLLM ignores that without a word.
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": request.schema, "strict": True},
        }
    if request.shown:
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"role": "assistant", "content": request.shown})
        body["continue_final_message"] = True
        body["add_generation_prompt"] = False
    return encode(body)
