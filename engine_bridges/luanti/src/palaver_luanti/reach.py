"""Whether the gateway can be reached: the log says when that ends and when it is so again, once."""

from __future__ import annotations

import asyncio
import logging

__all__ = ["Reach"]

log = logging.getLogger("palaver.luanti")


class Reach:
    """What is known of one gateway, for all lines to it together."""

    def __init__(self) -> None:
        self._away = asyncio.Event()

    def lost(self, problem: str | None = None) -> None:
        """Note that it cannot be reached.

        Args:
            problem: What to log of it, or None where somebody was told already.
        """
        if not self._away.is_set():
            self._away.set()
            if problem is not None:
                log.warning("%s; trying again", problem)

    def found(self, url: str) -> None:
        """Note that it has answered."""
        if self._away.is_set():
            self._away.clear()
            # As loud as what it takes back.
            log.warning("connected to %s", url)

    @property
    def away(self) -> bool:
        """Whether it was lost and not found yet."""
        return self._away.is_set()

    async def until_lost(self) -> None:
        """Wait until it is lost."""
        await self._away.wait()
