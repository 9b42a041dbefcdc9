"""The settings of `palaver.toml`, each with its unit, default and meaning.

The reference page is generated from these models. A backend's own settings belong to its type and
are checked by the plugin that registers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from palaver.config.quality import QualitySettings
from palaver.config.spend import SpendSettings
from palaver.config.tiers import CacheRule, Milliseconds, Name, Tier, default_tiers
from palaver.hints import did_you_mean

__all__ = [
    "CacheRule",
    "Limits",
    "MemorySettings",
    "PluginsTable",
    "QualitySettings",
    "Server",
    "Settings",
    "SpendSettings",
    "StoreTable",
    "Tier",
    "Token",
    "default_tiers",
]


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
    delta_ms: int = Field(
        default=33,
        ge=0,
        le=1_000,
        description="Longest time that text after the first words of a reply waits to be sent "
        "with what follows it, in milliseconds; 0 sends every piece by itself.",
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
    cache_bytes: int = Field(
        default=64_000_000,
        ge=100_000,
        description="Replies kept in memory for the dialogue cache, in bytes; what was not said "
        "for the longest goes first.",
    )
    hook_ms: Milliseconds = Field(
        default=250, description="Time for one plugin in one turn, in milliseconds."
    )
    hedge_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of turns for which a second backend may start beside one that is late; "
        "beyond, the late one is dropped and replaced.",
    )
    stale_ms: Milliseconds = Field(
        default=5_000,
        description="An `ambient` or `background` turn that waited longer than this for its place "
        "is cancelled, in milliseconds: nobody wants a bark about something that is over.",
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


class StoreTable(BaseModel):
    """`[store]`: where gateways keep what they share; the other keys depend on `type`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(
        default="memory",
        description="What kind of store: `memory` is this process alone; plugins bring others, "
        "such as `redis`, which several gateways share.",
    )


class PluginsTable(BaseModel):
    """`[plugins]`: which plugins load; a table `[plugins.NAME]` holds the settings of one."""

    model_config = ConfigDict(extra="allow", frozen=True)

    block: list[Name] = Field(default=[], description="Plugins that are not loaded.")

    @model_validator(mode="before")
    @classmethod
    def _only_tables(cls, data: Any) -> Any:
        """Refuse a misspelt `block`: whatever else stands here is a plugin's table."""
        known = cls.model_fields
        wrong = data.items() if isinstance(data, dict) else ()
        errors: list[InitErrorDetails] = [
            {"type": "extra_forbidden", "loc": (str(name),), "input": value}
            for name, value in wrong
            if name not in known and not isinstance(value, dict)
        ]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return data

    def of(self, name: str) -> dict[str, Any]:
        """Return the table of a plugin; empty where there is none."""
        found: dict[str, Any] = (self.__pydantic_extra__ or {}).get(name, {})
        return found

    @property
    def names(self) -> Sequence[str]:
        """The plugins that have a table."""
        return list(self.__pydantic_extra__ or {})


class Settings(_Settings):
    """All of `palaver.toml`."""

    server: Server = Server()
    limits: Limits = Limits()
    memory: MemorySettings = MemorySettings()
    spend: SpendSettings = SpendSettings()
    store: StoreTable = StoreTable()
    quality: QualitySettings = QualitySettings()
    default_tier: Name = Field(default="elite", description="Tier of a persona that names none.")
    plugins: PluginsTable = PluginsTable()
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
