"""A gateway and its server inside a command, on a free port that only this machine sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from palaver.config.models import Server as ServerSettings
from palaver.gateway import Gateway, Parts
from palaver.server.app import Server
from palaver.startup import prepare

__all__ = ["local_server", "on_loopback"]


def on_loopback(parts: Parts) -> Parts:
    """Let a server of these parts listen on a free port, for this machine only, without tokens."""
    parts.settings = parts.settings.model_copy(update={"server": ServerSettings(port=0)})
    return parts


@asynccontextmanager
async def local_server(
    world: str | None, overrides: Mapping[str, Any], *, trial: bool = False
) -> AsyncIterator[tuple[Gateway, Server, Parts]]:
    """Serve a world while the context is open.

    Args:
        world: A folder, the name of an example, or None.
        overrides: Settings by dotted key.
        trial: Whether costs and quality are not written down.

    Raises:
        PalaverError: The world or a setting cannot be used.
    """
    parts = on_loopback(await prepare(world, overrides=overrides))
    parts.trial = trial
    async with Gateway(parts) as gateway, Server(gateway) as server:
        yield gateway, server, parts
