"""What is sent to Ollama, and what it says of its models.

The fields are those of docs/api.md and api/types.go in https://github.com/ollama/ollama.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from palaver.chain.backend import GenerateRequest
from palaver_ollama.config import OllamaSettings

__all__ = [
    "Loaded",
    "Progress",
    "Shown",
    "Tag",
    "chat_body",
    "choose",
    "decode_ps",
    "decode_show",
    "decode_tags",
    "decode_version",
    "encode",
    "load_body",
    "same_model",
]

encode = msgspec.json.encode

THINK_TOKENS = 1_024
"""Room for thoughts, which `num_predict` counts too: a reply would end before it began."""
_EMBEDS = ("bert", "nomic-bert")
_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)\s*$", re.MULTILINE)


class _Details(msgspec.Struct):
    family: str = ""
    parameter_size: str = ""
    quantization_level: str = ""


class Tag(msgspec.Struct):
    """A model on disk, in `/api/tags`."""

    name: str
    size: int = 0
    details: _Details = msgspec.field(default_factory=_Details)
    capabilities: list[str] | None = None

    @property
    def speaks(self) -> bool:
        """Whether it writes text; one for embeddings does not."""
        if self.capabilities is not None:
            return "completion" in self.capabilities
        return self.details.family not in _EMBEDS


class Loaded(msgspec.Struct):
    """A model in memory, in `/api/ps`; an older server does not tell the context window."""

    name: str
    size: int = 0
    size_vram: int = 0
    context_length: int | None = None
    expires_at: str = ""
    details: _Details = msgspec.field(default_factory=_Details)


class Shown(msgspec.Struct):
    """A model, in `/api/show`."""

    parameters: str = ""
    model_info: dict[str, Any] = {}
    capabilities: list[str] | None = None

    @property
    def trained_tokens(self) -> int | None:
        """The longest context window that the model was trained for."""
        length = self.model_info.get(
            f"{self.model_info.get('general.architecture')}.context_length"
        )
        return length if isinstance(length, int) and length > 0 else None

    @property
    def num_ctx(self) -> int | None:
        """The context window that its Modelfile sets, or None."""
        found = _NUM_CTX.search(self.parameters)
        return int(found[1]) if found else None


class Progress(msgspec.Struct):
    """One line of `/api/pull`."""

    status: str = ""
    digest: str = ""
    total: int = 0
    completed: int = 0
    error: Any = None


class _Tags(msgspec.Struct):
    models: list[Tag] | None


class _Ps(msgspec.Struct):
    models: list[Loaded] | None


class _Version(msgspec.Struct):
    version: str


_tags = msgspec.json.Decoder(_Tags).decode
_ps = msgspec.json.Decoder(_Ps).decode
_version = msgspec.json.Decoder(_Version).decode
decode_show = msgspec.json.Decoder(Shown).decode


def decode_tags(data: bytes) -> list[Tag]:
    """Return the models on disk; the one that was changed last comes first."""
    return _tags(data).models or []


def decode_ps(data: bytes) -> list[Loaded]:
    """Return the models in memory."""
    return _ps(data).models or []


def decode_version(data: bytes) -> str:
    """Return the server's version."""
    return _version(data).version


def same_model(one: str, other: str) -> bool:
    """Return whether two names mean the same model: without a tag it is `latest`."""
    return _full(one) == _full(other)


def _full(name: str) -> str:
    return (name if ":" in name.rpartition("/")[2] else f"{name}:latest").lower()


def choose(loaded: Iterable[Loaded], tags: Iterable[Tag]) -> str | None:
    """Return the model to use where none is named: one in memory, or the one changed last."""
    speaking = [tag.name for tag in tags if tag.speaks]
    in_memory = [one.name for one in loaded if one.name in speaking]
    return next(iter(in_memory or speaking), None)


def _base(settings: OllamaSettings, model: str) -> dict[str, Any]:
    """Return what is the same in every request: another `num_ctx` loads the model anew."""
    options = dict(settings.options)
    if settings.num_ctx is not None:
        options["num_ctx"] = settings.num_ctx
    return {"model": model, "keep_alive": settings.keep_alive, "options": options}


def load_body(settings: OllamaSettings, model: str) -> bytes:
    """Return the JSON that loads a model, as the next turn will want it."""
    return encode({**_base(settings, model), "messages": []})


def chat_body(request: GenerateRequest, settings: OllamaSettings, model: str) -> bytes:
    """Return the JSON of a chat.

    Args:
        request: What is wanted.
        settings: Settings of the backend.
        model: Model to ask for.
    """
    messages = [{"role": role, "content": content} for role, content in request.messages]
    body = {**_base(settings, model), "messages": messages, "stream": True}
    options = body["options"]
    sampling = request.sampling
    if sampling.temperature is not None:
        options["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        options["top_p"] = sampling.top_p
    if sampling.max_tokens is not None:
        room = THINK_TOKENS if settings.think else 0
        options["num_predict"] = sampling.max_tokens + room
    if sampling.stop:
        options["stop"] = sampling.stop
    if request.seed is not None:
        options["seed"] = request.seed
    if settings.think is not None:
        # Without it a model that can think does so.
        body["think"] = settings.think
    if request.schema is not None:
        body["format"] = request.schema
    if request.shown and (not messages or messages[-1]["role"] != "assistant"):
        # A last message of the assistant is continued.
        messages.append({"role": "assistant", "content": request.shown})
    return encode(body)
