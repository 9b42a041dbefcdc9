"""The servers that a command is about."""

from __future__ import annotations

import os
from dataclasses import dataclass

import click

from palaver.config.load import parse_backend
from palaver.errors import ConfigError
from palaver.plugins import make_plugin_manager
from palaver.startup import locate
from palaver.world.trust import TrustStore, world_settings
from palaver_ollama.config import DEFAULT_URL, OllamaSettings

__all__ = ["Target", "targets"]


@dataclass(frozen=True, slots=True)
class Target:
    """A server.

    Attributes:
        backend: The backend that uses it; `ollama` where none is configured.
        url: Its address.
        settings: Settings of the backend.
    """

    backend: str
    url: str
    settings: OllamaSettings


def targets(world: str | None, url: str | None) -> list[Target]:
    """Return the servers of a world, each once, or the one on this machine.

    A world that is not trusted has none off this machine: nobody's key is sent there.

    Args:
        world: Folder or name of the world; see `palaver.startup.locate`.
        url: The only server, whatever the world says, or None.

    Raises:
        ConfigError: The settings cannot be used.
        WorldError: There is no such world.
    """
    if url is not None:
        try:
            settings = OllamaSettings(type="ollama", url=url)
        except ValueError as err:
            raise ConfigError(f"write an address such as {DEFAULT_URL}", key="--url") from err
        return [Target("ollama", settings.addresses[0], settings)]
    plugins = make_plugin_manager(world_plugins=None)
    located = locate(world, plugins)
    trusted = located.shipped or TrustStore().is_trusted(located.folder)
    kinds = plugins.backend_types
    settings_of, left_out = world_settings(
        located.folder, trusted=trusted, environ=os.environ, types=kinds
    )
    for line in left_out:
        click.echo(f"note: {line}; `palaver trust {located.folder}` allows it", err=True)
    found: dict[str, Target] = {}
    for name, table in settings_of.backends.items():
        if table.get("type") == "ollama":
            own = parse_backend(name, table, kinds["ollama"], file=located.folder / "palaver.toml")
            assert isinstance(own, OllamaSettings)
            for address in own.addresses:
                found.setdefault(address, Target(name, address, own))
    here = OllamaSettings(type="ollama")
    return list(found.values()) or [Target("ollama", here.addresses[0], here)]
