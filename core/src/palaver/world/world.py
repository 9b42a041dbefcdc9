"""A world as it is at one moment: everything that was read from its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from palaver.errors import WorldError
from palaver.world.lines import Line
from palaver.world.manifest import AdapterManifest
from palaver.world.persona import Persona

__all__ = ["World"]


@dataclass(frozen=True, slots=True)
class World:
    """A snapshot of a world folder; never changed, only replaced.

    Attributes:
        name: Name of the folder.
        folder: The folder.
        personas: Personas by name (the file's name without its ending).
        lines: Authored lines by name (likewise).
        adapters: Manifests by `name@version`.
        problems: What could not be read; the last good version of it is above, if there was one.
        trusted: Whether its owner trusts it, so that its plugins, addresses and keys are used.
    """

    name: str
    folder: Path
    personas: Mapping[str, Persona] = field(default_factory=dict)
    lines: Mapping[str, Sequence[Line]] = field(default_factory=dict)
    adapters: Mapping[str, AdapterManifest] = field(default_factory=dict)
    problems: Sequence[WorldError] = ()
    trusted: bool = False
