"""`[store]` with `type = "redis"`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from palaver.store import StoreSettings

__all__ = ["RedisSettings"]

SCHEMES = ("redis", "rediss", "unix")
Milliseconds = Annotated[int, Field(ge=1, le=60_000)]


class RedisSettings(StoreSettings):
    """Where Redis is, and how long it may take."""

    type: str = Field(default="redis", description="`redis`.")
    url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="Address: `redis://HOST:PORT/DB`, `rediss://` for TLS, or "
        "`unix:///path/to/redis.sock`. Without a password; see `password_env`.",
    )
    username: str | None = Field(
        default=None, description="User of Redis 6 and newer; None is the default user."
    )
    password_env: str | None = Field(
        default=None, description="Environment variable that holds the password."
    )
    prefix: str = Field(
        default="palaver:",
        max_length=100,
        description="What all keys begin with. Gateways that share have the same; others that use "
        "the same Redis have another.",
    )
    connect_ms: Milliseconds = Field(default=250, description="Time to connect, in milliseconds.")
    response_ms: Milliseconds = Field(
        default=50, description="Time for one answer, in milliseconds."
    )
    connections: int = Field(default=16, ge=1, le=1_000, description="Connections at once.")
    tls_ca: Path | None = Field(
        default=None,
        description="Certificates that the server's is checked against, a PEM file. None takes "
        "the system's.",
    )
    tls_cert: Path | None = Field(
        default=None, description="Certificate of this client, a PEM file, if Redis asks for one."
    )
    tls_key: Path | None = Field(default=None, description="Its private key, a PEM file.")

    @field_validator("url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError as err:
            raise ValueError(f"this is no address: {err}") from None
        if parts.scheme not in SCHEMES:
            raise ValueError("it begins with `redis://`, `rediss://` (TLS) or `unix://`")
        if parts.username or parts.password:
            # Not quoted: it holds the password.
            raise ValueError(
                "leave user and password out; give `username`, and with `password_env` the name "
                "of a variable that holds the password"
            )
        if parts.query or parts.fragment:
            raise ValueError("leave out what stands behind `?`; there are settings for it")
        if parts.scheme == "unix":
            if not parts.path or parts.netloc:
                raise ValueError("a socket is written as `unix:///path/to/redis.sock`")
        elif not parts.hostname:
            raise ValueError("the name of the machine is missing, as in `redis://127.0.0.1:6379/0`")
        elif parts.path.strip("/") and not parts.path.strip("/").isdecimal():
            raise ValueError("behind the port stands the number of the database, such as `/0`")
        return value

    @model_validator(mode="after")
    def _tls_goes_together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("give both `tls_cert` and `tls_key`, or neither")
        if (self.tls_ca or self.tls_cert) and not self.url.startswith("rediss://"):
            raise ValueError("certificates are for TLS: let `url` begin with `rediss://`")
        return self

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("rediss://")
