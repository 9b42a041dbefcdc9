"""Where gateways keep what they share: small values with an expiry, and sums.

The default lives in the process. A plugin may offer another kind (`palaver_register_stores`),
which `[store]` in `palaver.toml` then names.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MemoryStore", "Store", "StoreSettings", "StoreType"]


class StoreSettings(BaseModel):
    """What every `[store]` table may hold; a type's own settings extend it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(
        default="memory",
        description="What kind of store this is: `memory`, or a name that a plugin registers.",
    )


class Store(Protocol):
    """Values and sums by key. All methods are called on the server's event loop.

    Every method returns within a short time limit of its own, or raises `StoreError`: whoever
    calls goes on without the store.
    """

    shared: bool
    """Whether other gateways see it."""

    async def start(self) -> None:
        """Get ready; it must not fail if the server is away."""

    async def close(self) -> None:
        """Release everything; safe to call twice."""

    async def get(self, key: str) -> bytes | None:
        """Return a value, or None where there is none any more."""

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for so many seconds."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget values."""

    async def add(self, key: str, amount: float, ttl_s: float) -> float:
        """Add to a sum, which begins at 0, and return it; it is forgotten after so many seconds."""


@dataclass(frozen=True, slots=True)
class StoreType:
    """A kind of store, as a plugin registers it.

    Attributes:
        name: The `type` in `[store]`.
        settings: Model of the table, a subclass of `StoreSettings`.
        create: Makes a store of its settings; must not block.
        addresses: Names of the settings that say which machine it talks to, as for backends.
    """

    name: str
    settings: type[StoreSettings]
    create: Callable[[Any], Store]
    addresses: frozenset[str] = frozenset()


class MemoryStore:
    """A store in the process; what was not used the longest is forgotten first.

    Args:
        keys: How many keys are kept.
    """

    shared = False

    def __init__(self, keys: int = 100_000) -> None:
        self._keys = keys
        self._values: OrderedDict[str, tuple[float, bytes | float]] = OrderedDict()

    async def start(self) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Forget everything; safe to call twice."""
        self._values.clear()

    async def get(self, key: str) -> bytes | None:
        """Return a value, or None where there is none any more."""
        value = self._read(key)
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for so many seconds."""
        self._write(key, value, ttl_s)

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget values."""
        for key in keys:
            self._values.pop(key, None)

    async def add(self, key: str, amount: float, ttl_s: float) -> float:
        """Add to a sum, which begins at 0, and return it; it is forgotten after so many seconds."""
        before = self._read(key)
        total = amount + (before if isinstance(before, float) else 0.0)
        self._write(key, total, ttl_s)
        return total

    def _read(self, key: str) -> bytes | float | None:
        found = self._values.get(key)
        if found is None:
            return None
        if found[0] <= asyncio.get_running_loop().time():
            del self._values[key]
            return None
        self._values.move_to_end(key)
        return found[1]

    def _write(self, key: str, value: bytes | float, ttl_s: float) -> None:
        self._values[key] = (asyncio.get_running_loop().time() + ttl_s, value)
        self._values.move_to_end(key)
        if len(self._values) > self._keys:
            self._values.popitem(last=False)
