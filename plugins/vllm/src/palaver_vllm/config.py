"""Settings of a `[backends.NAME]` table with `type = "vllm"`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from palaver.chain.backend import BackendSettings
from palaver.config.urls import server_url

__all__ = ["DEFAULT_URL", "ServeSettings", "VllmSettings"]

DEFAULT_URL = "http://127.0.0.1:8000"
"""Where `vllm serve` listens when it is not told otherwise."""

_OURS = {
    "continue_final_message",
    "add_generation_prompt",
    "messages",
    "model",
    "n",
    "stream",
    "stream_options",
}


def _url(value: str) -> str:
    return server_url(value, DEFAULT_URL, "/v1")


Url = Annotated[str, AfterValidator(_url)]


class ServeSettings(BaseModel):
    """`[backends.NAME.serve]`: how `palaver vllm up` starts the server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        description="Folder of the model, relative to the world, or a name on the Hugging Face Hub."
    )
    max_model_len: int | None = Field(
        default=None, ge=64, description="Context window in tokens; None takes the model's own."
    )
    dtype: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9]+$",
        description="Type of the numbers, such as `bfloat16`; None lets vLLM choose.",
    )
    max_loras: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Adapters that can be used at the same time. None makes room for all adapters "
        "of the world, at most 8.",
    )
    args: list[str] = Field(
        default=[], description="Further arguments for the server, such as `--enforce-eager`."
    )
    env: dict[str, str] = Field(
        default={}, description="Further environment variables for the server."
    )


class VllmSettings(BackendSettings):
    """One or more vLLM servers with the same model."""

    url: Url | None = Field(
        default=None, description=f"Address of the server. The default is `{DEFAULT_URL}`."
    )
    urls: list[Url] = Field(
        default=[],
        max_length=64,
        description="Addresses of several servers with the same model, instead of `url`.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Name under which the base model is served. None asks the server.",
    )
    api_key_env: str | None = Field(
        default=None, description="Environment variable that holds the server's API key."
    )
    connect_ms: int = Field(
        default=500, ge=1, le=60_000, description="Time to connect, in milliseconds."
    )
    priority: bool = Field(
        default=False,
        description="Whether to send how urgent a turn is. Only for a server that was started "
        "with `--scheduling-policy priority`.",
    )
    adapters: Literal["auto", "off"] = Field(
        default="auto",
        description="`auto` uses the adapters of personas and loads them when the server is idle; "
        "`off` uses the base model for all.",
    )
    max_loras: int | None = Field(
        default=None,
        ge=1,
        description="The server's `--max-loras`: how many adapters it can use at the same time. "
        "With more of them in use a turn takes the base model instead of waiting. None does not "
        "look at it.",
    )
    load_wait_ms: int = Field(
        default=5_000,
        ge=0,
        le=600_000,
        description="An adapter that is not loaded waits for a moment without streams, but not "
        "longer than this, in milliseconds.",
    )
    load_ms: int = Field(
        default=30_000, ge=1, le=600_000, description="Time to load an adapter, in milliseconds."
    )
    extra_body: dict[str, Any] = Field(
        default={},
        description="Further fields of every request, such as "
        "`{ repetition_penalty = 1.1, chat_template_kwargs = { enable_thinking = false } }`.",
    )
    serve: ServeSettings | None = Field(
        default=None, description="How `palaver vllm up` starts a server; see below."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.url is not None and self.urls:
            raise ValueError("give either `url` or `urls`")
        for key in self.extra_body:
            if key.startswith("guided_"):
                raise ValueError(
                    f"vLLM ignores `{key}`; write `structured_outputs` in `extra_body` instead"
                )
            if key in _OURS:
                raise ValueError(f"`{key}` is set by Palaver; take it out of `extra_body`")
        return self

    @property
    def addresses(self) -> list[str]:
        """The servers' addresses, without a path at the end."""
        return list(dict.fromkeys(self.urls)) or [self.url or DEFAULT_URL]
