"""What every server that is a fake keeps for tests: what it was asked, and news of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Asked", "Watched"]


@dataclass(eq=False, slots=True)
class Asked:
    """A reply that was asked for.

    Attributes:
        body: The request's JSON.
        headers: Its headers.
        sent: Text that was sent so far.
        aborted: Set when the client left before the end.
        ended: Set when it is over, whatever happened.
    """

    body: dict[str, Any]
    headers: Mapping[str, str]
    sent: str = ""
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> str:
        """The model or adapter that was asked for."""
        return str(self.body.get("model", ""))


class Watched:
    """Something on a port of the loopback that tests can wait for.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    async def until(self, check: Callable[[], bool]) -> None:
        """Wait until something is true of the server; looked at whenever it does something."""
        async with self._changed:
            await self._changed.wait_for(check)

    async def notify(self) -> None:
        """Let those look who wait for something."""
        async with self._changed:
            self._changed.notify_all()
