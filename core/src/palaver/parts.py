"""What a gateway is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from palaver.store import MemoryStore, Store

if TYPE_CHECKING:
    from palaver.chain.backend import Backend, BackendType
    from palaver.config.models import Settings
    from palaver.memory import Memory
    from palaver.plugins import Plugins
    from palaver.world.watch import WorldStore

__all__ = ["Parts"]


@dataclass(slots=True)
class Parts:
    """What a gateway is made of; `palaver.startup.prepare` puts it together.

    Attributes:
        settings: The settings, restricted where the world is not trusted.
        worlds: The world, as it is now and as it changes.
        plugins: The plugins.
        backends: Configured backends by name, each with its type.
        memory: Where exchanges are kept.
        data_dir: Folder for what the server writes.
        notes: What whoever starts the server should know.
        store: Where gateways keep what they share.
        trial: Whether nothing that is learned of costs and quality is written down: somebody only
            tries something.
    """

    settings: Settings
    worlds: WorldStore
    plugins: Plugins
    backends: Mapping[str, tuple[Backend, BackendType]]
    memory: Memory
    data_dir: Path
    notes: Sequence[str] = field(default_factory=list)
    store: Store = field(default_factory=MemoryStore)
    trial: bool = False
