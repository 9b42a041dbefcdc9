"""Settings of a `[backends.NAME]` table with `type = "ollama"`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from palaver.chain.backend import BackendSettings
from palaver.config.urls import server_url

__all__ = ["DEFAULT_URL", "OllamaSettings", "seconds"]

DEFAULT_URL = "http://127.0.0.1:11434"
"""Where `ollama serve` listens when it is not told otherwise."""

LOOK_AHEAD = 4
"""Requests beyond a group that the window gets to choose from. All others wait in the chain's own
queue, where the tiers' ranks and every player's fair share count."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"-?(?:{_PART.pattern})+")


def _url(value: str) -> str:
    return server_url(value, DEFAULT_URL, "/api", "/v1")


def _keep(value: int | str) -> int | str:
    if isinstance(value, str) and not _DURATION.fullmatch(value):
        raise ValueError(f"write `30m`, `24h` or a number of seconds instead of {value!r}")
    if not seconds(value):
        raise ValueError("0 would load the model anew for every turn; write `1m` or more")
    return value


def seconds(keep_alive: int | str) -> float:
    """Return a `keep_alive` in seconds; one below zero means for ever."""
    if isinstance(keep_alive, int):
        value = float(keep_alive)
    else:
        value = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(keep_alive))
        value = -1.0 if keep_alive.startswith("-") else value
    return value if value >= 0 else float("inf")


Url = Annotated[str, AfterValidator(_url)]
KeepAlive = Annotated[int | str, AfterValidator(_keep)]


class OllamaSettings(BackendSettings):
    """One or more Ollama servers with the same model."""

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
        description="The model, as `ollama list` names it. None takes the one that is loaded, or "
        "the one that was changed last.",
    )
    num_ctx: int | None = Field(
        default=None,
        ge=64,
        description="Context window that the model is loaded with, in tokens. It is the same in "
        "every request, because Ollama loads the model anew for another one. None leaves it to "
        "the server.",
    )
    keep_alive: KeepAlive = Field(
        default="30m",
        description="How long the model stays in memory after a reply: `30m`, `24h`, or seconds; "
        "below zero for ever.",
    )
    preload: bool = Field(
        default=True, description="Whether to load the model when Palaver starts."
    )
    think: bool | Literal["low", "medium", "high"] | None = Field(
        default=False,
        description="Whether a model that can think does so before it speaks. What it thinks is "
        "never spoken, and gets 1,024 tokens besides the reply's. Some cannot be stopped and take "
        "`low`; None sends nothing.",
    )
    options: dict[str, Any] = Field(
        default={},
        description="Further options of every request, such as "
        "`{ repeat_penalty = 1.1, num_gpu = 20 }`.",
    )
    batch_size: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Requests at once to each server, which are collected and let go together; "
        f"the next {LOOK_AHEAD} wait to be put in order, the others in the `queue`. 0 sends each "
        "one as it comes.",
    )
    batch_window_ms: int = Field(
        default=20,
        ge=0,
        le=1_000,
        description="How long requests are collected, in milliseconds, unless there are "
        "`batch_size` of them before.",
    )
    api_key_env: str | None = Field(
        default=None,
        description="Environment variable that holds the key of a server behind a proxy.",
    )
    connect_ms: int = Field(
        default=500, ge=1, le=60_000, description="Time to connect, in milliseconds."
    )

    @model_validator(mode="before")
    @classmethod
    def _let_the_chain_queue(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("concurrency") is None:
            size = data.get("batch_size")
            if type(size) is int and size > 0:
                return {**data, "concurrency": size + LOOK_AHEAD}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.url is not None and self.urls:
            raise ValueError("give either `url` or `urls`")
        if self.num_ctx and self.context_tokens and self.context_tokens > self.num_ctx:
            raise ValueError(
                "`context_tokens` is more than `num_ctx`, so that Ollama would cut prompts itself; "
                "leave it out"
            )
        if "num_ctx" in self.options:
            raise ValueError("write `num_ctx` beside `options`, not into it")
        return self

    @property
    def addresses(self) -> list[str]:
        """The servers' addresses, without a path at the end."""
        return list(dict.fromkeys(self.urls)) or [self.url or DEFAULT_URL]
