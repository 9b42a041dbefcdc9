"""Base prompt templates and the two example worlds of Palaver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palaver.hookspecs import hookimpl

if TYPE_CHECKING:
    from palaver.plugins import WorldRegistry

__all__ = ["TEMPLATES", "WORLDS", "palaver_register_world"]

__version__ = "0.1.0"

_HERE = Path(__file__).parent

TEMPLATES: Path = _HERE / "templates"
"""The folder of base templates; a persona begins with `{% extends "npc.j2" %}`."""

WORLDS: dict[str, Path] = {
    "body-broker": _HERE / "worlds" / "body-broker",
    "village": _HERE / "worlds" / "village",
}
"""The example worlds by the name that commands take, each a world folder."""


@hookimpl
def palaver_register_world(register: WorldRegistry) -> None:
    """Offer the base templates and both example worlds."""
    register.templates(TEMPLATES)
    for name, folder in WORLDS.items():
        register.world(name, folder)
