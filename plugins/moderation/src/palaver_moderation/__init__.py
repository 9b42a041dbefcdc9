"""Moderation: what players say to NPCs, and what NPCs say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from palaver.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from palaver.bridge import Bridge
    from palaver.plugins import PluginSettings

__version__ = "0.1.0"

__all__ = ["__version__"]

# Everything heavy is imported where it is used: every `palaver` command loads this module.


@hookimpl
def palaver_register_settings(register: Callable[[PluginSettings], None]) -> None:
    """Tell what may stand in `[plugins.moderation]`."""
    from palaver.plugins import PluginSettings
    from palaver_moderation.config import ModerationSettings

    register(PluginSettings("moderation", ModerationSettings))


@hookimpl
def palaver_register_bridges(register: Callable[[Bridge], None]) -> None:
    """Offer the bridge `moderation`, whose methods are the hooks of turns."""
    from palaver_moderation.bridge import ModerationBridge

    register(ModerationBridge())


@hookimpl
def palaver_register_commands(register: Callable[[click.Command], None]) -> None:
    """Add `palaver moderation`."""
    from palaver_moderation.cli import moderation

    register(moderation)
