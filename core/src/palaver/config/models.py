"""The settings of `palaver.toml`, each with its unit, default and meaning.

The reference page is generated from these models. A backend's own settings belong to its type and
are checked by the plugin that registers it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from palaver.hints import did_you_mean

__all__ = ["Limits", "MemorySettings", "Server", "Settings", "Tier", "Token", "default_tiers"]

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
Milliseconds = Annotated[int, Field(ge=1, le=600_000)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Token(_Settings):
    """One `[[server.tokens]]`: who may connect, and as what."""

    role: Literal["engine", "player"] = Field(
        description="`engine` may do everything; `player` may only speak as its own player."
    )
    player: Name | None = Field(
        default=None, description="The player that a `player` token speaks for."
    )
    env: str | None = Field(
        default=None, description="Environment variable that holds the token itself."
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="SHA-256 of the token, in hexadecimal, instead of `env`."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.env is None) == (self.sha256 is None):
            raise ValueError("give either `env` or `sha256`")
        if (self.role == "player") != (self.player is not None):
            raise ValueError('`player` goes with role = "player", and only with it')
        return self


class Server(_Settings):
    """`[server]`: where Palaver listens, and for whom."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8765, ge=0, le=65535, description="Port for WebSocket and HTTP; 0 takes a free one."
    )
    hosts: list[str] = Field(
        default=["localhost", "127.0.0.1", "[::1]"],
        description="Names by which clients may address this server (the `Host` header).",
    )
    origins: list[str] = Field(
        default=[],
        description="Web pages that may connect (the `Origin` header), such as "
        "`https://play.example.org`. Clients that send no `Origin` are not affected.",
    )
    tokens: list[Token] = Field(
        default=[],
        description="Who may connect. Without tokens everybody on this machine may, and Palaver "
        "refuses to listen on any other address.",
    )
    tls_cert: Path | None = Field(
        default=None, description="TLS certificate chain, a PEM file; relative to `palaver.toml`."
    )
    tls_key: Path | None = Field(default=None, description="TLS private key, a PEM file, likewise.")
    detect: bool = Field(
        default=True,
        description="Whether to look for a model server on this machine when no backend but "
        "static is configured.",
    )

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("give both `tls_cert` and `tls_key`, or neither")
        return self


class Limits(_Settings):
    """`[limits]`: bounds that keep one client or plugin from harming the others."""

    message_bytes: int = Field(
        default=60_000, ge=1_000, le=60_000, description="Largest message, in bytes."
    )
    start_ms: Milliseconds = Field(
        default=5_000, description="Time for a client's first message, in milliseconds."
    )
    silence_ms: Milliseconds = Field(
        default=60_000, description="Silence after which a connection is closed, in milliseconds."
    )
    resume_ms: int = Field(
        default=60_000,
        ge=0,
        le=600_000,
        description="How long a session lives on without a connection, in milliseconds.",
    )
    replay_bytes: int = Field(
        default=1_000_000,
        ge=120_000,
        description="Messages kept for a client that resumes, in bytes for each session.",
    )
    send_bytes: int = Field(
        default=1_000_000,
        ge=120_000,
        description="Messages waiting for a client that does not read, in bytes; then it is "
        "disconnected.",
    )
    sessions: int = Field(default=1_000, ge=1, description="Sessions at once.")
    messages_per_s: float = Field(
        default=200, gt=0, description="Messages that one session may send per second, on average."
    )
    turns: int = Field(default=64, ge=1, description="Turns in flight in one session.")
    queue: int = Field(
        default=4, ge=0, description="Turns waiting for the same NPC and player to finish another."
    )
    games: int = Field(default=1_000, ge=1, description="Games at once.")
    npcs: int = Field(default=10_000, ge=1, description="NPCs in one game.")
    players: int = Field(default=10_000, ge=1, description="Players in one game.")
    facts: int = Field(default=200, ge=1, description="Facts of one NPC, player or game.")
    fact_bytes: int = Field(default=4_000, ge=10, description="Size of one fact, as JSON.")
    actions: int = Field(default=64, ge=1, description="Actions declared for one NPC or game.")
    hook_ms: Milliseconds = Field(
        default=250, description="Time for one plugin in one turn, in milliseconds."
    )


class MemorySettings(_Settings):
    """`[memory]`: what NPCs remember, and where."""

    path: Path | None = Field(
        default=None,
        description="SQLite file, relative to `palaver.toml`. The default is "
        "`data/memory.sqlite3` in the world's folder, or in the user's data folder for a world "
        "that is not a folder of one's own.",
    )
    keep: int = Field(
        default=1_000,
        ge=1,
        description="Exchanges kept for each NPC and player; older ones are forgotten.",
    )


class Tier(_Settings):
    """`[tiers.NAME]`: the policy of a turn."""

    chain: list[Name] = Field(
        min_length=1,
        max_length=16,
        description="Backends in the order to try; names that are not configured are skipped.",
    )
    first_text_ms: Milliseconds = Field(
        default=1_500,
        description="By when the player sees the first words, in milliseconds; from the turn's "
        "acceptance, or from when the turns before it with the same NPC and player are over.",
    )
    first_token_ms: Milliseconds | dict[Name, Milliseconds] = Field(
        default=500,
        description="By when a backend must have begun, from the moment it was asked, in "
        "milliseconds; one number, or one for each backend.",
    )
    stall_ms: Milliseconds = Field(
        default=2_000, description="Longest pause inside a reply, in milliseconds."
    )
    total_ms: Milliseconds = Field(
        default=15_000, description="By when the whole reply is there, in milliseconds."
    )
    max_tokens: int = Field(default=120, ge=1, le=8_000, description="Longest reply, in tokens.")
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Used where the persona does not say."
    )
    memory: int = Field(
        default=6, ge=0, le=100, description="Earlier exchanges that go into the prompt."
    )

    def first_token_s(self, backend: str) -> float:
        """Return the first-token limit of a backend, in seconds."""
        if isinstance(self.first_token_ms, int):
            return self.first_token_ms / 1000
        return self.first_token_ms.get(backend, 500) / 1000


def default_tiers() -> dict[str, dict[str, Any]]:
    """Return the shipped tiers; a `[tiers.NAME]` table changes single keys of them."""
    return {
        "grunt": {
            "chain": ["local", "static"],
            "first_text_ms": 800,
            "first_token_ms": {"local": 250},
            "max_tokens": 48,
            "memory": 2,
        },
        "elite": {
            "chain": ["local", "fast", "premium", "static"],
            "first_text_ms": 1_500,
            "first_token_ms": {"local": 350, "fast": 900, "premium": 1_200},
            "max_tokens": 120,
            "memory": 6,
        },
        "boss": {
            "chain": ["local", "fast", "premium", "static"],
            "first_text_ms": 2_000,
            "first_token_ms": {"local": 600, "fast": 1_000, "premium": 1_500},
            "max_tokens": 200,
            "memory": 12,
        },
        "story": {
            "chain": ["premium", "fast", "local", "static"],
            "first_text_ms": 5_000,
            "first_token_ms": {"premium": 3_000, "fast": 1_200, "local": 600},
            "total_ms": 30_000,
            "max_tokens": 400,
            "memory": 20,
        },
    }


class Settings(_Settings):
    """All of `palaver.toml`."""

    server: Server = Server()
    limits: Limits = Limits()
    memory: MemorySettings = MemorySettings()
    default_tier: Name = Field(default="elite", description="Tier of a persona that names none.")
    plugins: dict[Literal["block"], list[Name]] = Field(
        default={}, description="`block` lists plugins that are not loaded."
    )
    backends: dict[Name, dict[str, Any]] = Field(
        default={}, description="Sources of text by name; the keys depend on `type`."
    )
    tiers: dict[Name, Tier] = Field(default={}, description="Policies by name.")

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.tiers and self.default_tier not in self.tiers:
            hint = did_you_mean(self.default_tier, self.tiers)
            raise ValueError(f"`default_tier`: there is no tier {self.default_tier!r}{hint}")
        return self
