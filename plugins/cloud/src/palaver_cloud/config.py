"""Settings of a `[backends.NAME]` table with `type = "cloud"`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from palaver.chain.backend import BackendSettings
from palaver.config.urls import server_url

__all__ = ["CloudSettings", "ProviderName"]

ProviderName = Literal["openai", "anthropic", "gemini"]

_OURS = {
    "contents",
    "messages",
    "model",
    "n",
    "stream",
    "system",
    "systemInstruction",
}


def _url(value: str) -> str:
    example = "https://api.openai.com/v1"
    return server_url(value, example, "/chat/completions", "/messages", "/models")


class CloudSettings(BackendSettings):
    """One model of a cloud provider, or of any server that speaks as one of them does."""

    # Without a default, because an untrusted world may not set it: a table of such a world that
    # left it out would spend the money of whoever serves it.
    provider: ProviderName = Field(
        description="How the server speaks: `openai` is OpenAI and all that are compatible with "
        "its chat completions, `anthropic` and `gemini` are these two."
    )
    model: str = Field(min_length=1, description="Name of the model, as the provider writes it.")
    url: Annotated[str, AfterValidator(_url)] | None = Field(
        default=None,
        description="Address of the API with the version in its path, such as "
        "`https://api.groq.com/openai/v1`. Without a path the provider's own is taken. The "
        "default is the provider's server.",
    )
    api_key_env: str | None = Field(
        default=None,
        min_length=1,
        description="Environment variable that holds the key. The default for the provider's own "
        "server is `OPENAI_API_KEY`, `ANTHROPIC_API_KEY` or `GEMINI_API_KEY`; for any other `url` "
        "no key is sent.",
    )
    key_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]+$",
        description="Header that carries the bare key, where a server wants another than its "
        "provider does, such as `api-key`.",
    )
    connect_ms: int = Field(
        default=2_000, ge=1, le=60_000, description="Time to connect, in milliseconds."
    )
    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = Field(
        default="auto",
        description="Under which name `openai` is told the longest reply: OpenAI's newer models "
        "take only `max_completion_tokens`, many compatible servers only `max_tokens`. `auto` "
        "takes the first for OpenAI's own server and the second for others.",
    )
    thinking_tokens: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="Tokens for thinking, which is never spoken. They are added to the longest "
        "reply, because providers count both together. Gemini is told the number as its budget, "
        "unless `extra_body` has a `thinkingConfig`. None leaves it to the model.",
    )
    omit: list[str] = Field(
        default=[],
        max_length=32,
        description="Fields that are never sent, such as `temperature`, for models that refuse "
        "them.",
    )
    extra_body: dict[str, Any] = Field(
        default={},
        description="Further fields of every request, such as "
        '`{ reasoning_effort = "none" }`. Tables are merged, and what Palaver sets stays.',
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key in self.extra_body:
            if key in _OURS:
                raise ValueError(f"`{key}` is set by Palaver; take it out of `extra_body`")
        if not isinstance(self.extra_body.get("generationConfig", {}), dict):
            raise ValueError("`generationConfig` in `extra_body` is a table")
        if self.max_tokens_field != "auto" and self.provider != "openai":
            raise ValueError('`max_tokens_field` goes with provider = "openai" only')
        return self
