"""What `/info` tells: which backends and models there are, and which one speaks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from palaver._version import __version__ as palaver_version

if TYPE_CHECKING:
    from palaver.chain.backend import Backend
    from palaver.gateway import Gateway

__all__ = ["Info"]

ASK_S = 2.0
"""Time for a backend to say how it is, in seconds."""
FRESH_S = 5.0
"""How long an answer is good, in seconds: a mod that asks on every step harms no backend."""


class Info:
    """Asks all backends, not too often.

    Args:
        gateway: The gateway.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._known: dict[str, dict[str, Any]] = {}
        self._known_at = float("-inf")
        self._lock = asyncio.Lock()

    async def read(self) -> dict[str, Any]:
        """Return everything as plain data."""
        backends = await self._backends()
        gateway = self._gateway
        settings = gateway.settings
        chain = [name for name in settings.tiers[settings.default_tier].chain if name in backends]
        speaker = next((name for name in chain if backends[name]["ok"]), None)
        models = backends[speaker]["models"] if speaker else []
        return {
            "server": {"name": "palaver", "version": palaver_version},
            "world": gateway.world.name,
            "personas": {id_: one.front.name for id_, one in gateway.world.personas.items()},
            "active": {"backend": speaker, "model": models[0] if models else None},
            "backends": backends,
        }

    async def _backends(self) -> dict[str, dict[str, Any]]:
        async with self._lock:
            if time.monotonic() - self._known_at > FRESH_S:
                entries = self._gateway.backends
                told = await asyncio.gather(*(_ask(one.backend) for one in entries.values()))
                self._known = {
                    name: {"type": entry.type.name, **about}
                    for (name, entry), about in zip(entries.items(), told, strict=True)
                }
                self._known_at = time.monotonic()
            return self._known


async def _ask(backend: Backend) -> dict[str, Any]:
    try:
        async with asyncio.timeout(ASK_S):
            health = await backend.health()
            models = [model.name for model in await backend.models()] if health.ok else []
    except TimeoutError:
        return {"ok": False, "detail": "it does not say in time how it is", "models": []}
    except Exception as err:  # one backend's bug must not hide the others
        return {"ok": False, "detail": f"it failed: {type(err).__name__}", "models": []}
    return {"ok": health.ok, "detail": health.detail, "models": models}
