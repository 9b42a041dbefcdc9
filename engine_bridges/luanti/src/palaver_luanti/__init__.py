"""The bridge to the Luanti engine (formerly Minetest)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from palaver.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from palaver.bridge import Bridge

__version__ = "0.1.0"

__all__ = ["__version__"]


@hookimpl
def palaver_register_bridges(register: Callable[[Bridge], None]) -> None:
    """Offer the bridge `luanti`."""
    from palaver_luanti.bridge import LuantiBridge

    register(LuantiBridge())


@hookimpl
def palaver_register_commands(register: Callable[[click.Command], None]) -> None:
    """Add `palaver luanti`."""
    from palaver_luanti.cli import luanti

    register(luanti)
