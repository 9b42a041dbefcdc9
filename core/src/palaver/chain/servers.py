"""What the chain knows of a backend's servers: which is well, which has room, whom to ask."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from time import monotonic

from palaver.chain.backend import Backend, BackendType, Replica, replicas_of
from palaver.chain.breaker import Breaker
from palaver.chain.lane import Lane

__all__ = ["Entry", "Server"]

NEVER = 2**63
"""More failures in a row than there will be."""


class Server:
    """One server of a backend.

    Attributes:
        backend: Name of the backend.
        name: The server's own name, such as its address.
        replica: Takes requests.
        breaker: Whether it is worth asking.
        lane: Who is at it and who waits.
    """

    def __init__(self, entry: Entry, replica: Replica | Backend) -> None:
        settings = entry.backend.settings
        self.backend = entry.backend.name
        self.name = replica.name
        self.replica = replica
        several = self.name != self.backend
        self.breaker = Breaker(
            f"backend {self.backend} ({self.name})" if several else f"backend {self.backend}",
            # What answers from memory is asked whatever happened before.
            NEVER if entry.type.instant else settings.breaker_failures,
            settings.breaker_ms / 1000,
            max(settings.breaker_ms, settings.breaker_max_ms) / 1000,
            _now,
        )
        self.lane = Lane(self.backend, settings.concurrency, settings.queue)
        self.alive_at: float | None = None

    @property
    def active(self) -> int:
        """Requests that are at it now."""
        return self.lane.active

    @property
    def waiting(self) -> int:
        """Requests that wait for it."""
        return self.lane.waiting

    def asked(self) -> None:
        """Note that a request was sent."""
        if self.alive_at is None:
            self.alive_at = _now()

    def heard(self) -> None:
        """Note a sign of life: a first token, or an answer of any kind."""
        self.alive_at = _now()

    def left(self) -> None:
        """Note that a request is over."""
        if not self.lane.active:
            self.alive_at = None

    def silent_s(self) -> float:
        """Return how long it has had requests without a sign of life, in seconds.

        Whose requests is all the same: one that waited in the lane may be with a server that
        hangs for only a moment.
        """
        return 0.0 if self.alive_at is None else _now() - self.alive_at

    def warm(self, adapter: str | None) -> bool:
        """Return whether it could use an adapter at once."""
        if adapter is None:
            return True
        warm = getattr(self.replica, "warm", None)
        return warm is None or bool(warm(adapter))


class Entry:
    """A configured backend with its type and its servers.

    Args:
        backend: The backend.
        kind: Its type.
    """

    def __init__(self, backend: Backend, kind: BackendType) -> None:
        self.backend = backend
        self.type = kind
        self.servers = [Server(self, replica) for replica in replicas_of(backend)]
        self._turns = 0

    def pick(self, adapter: str | None, tried: Collection[Server] = ()) -> Server | None:
        """Return the server to ask: one that is well, has the adapter and room, in turn.

        Args:
            adapter: The adapter that is wanted, or None.
            tried: Servers that were asked for this turn already.
        """
        servers = self.servers
        if len(servers) == 1:
            only = servers[0]
            usable = self.type.instant or only.breaker.allows()
            return only if usable and only not in tried else None
        self._turns += 1
        count = len(servers)
        best: tuple[tuple[bool, bool, int, int], Server] | None = None
        for index, server in enumerate(servers):
            if server in tried or not server.breaker.allows():
                continue
            load = server.active + server.waiting
            rank = (
                server.lane.full,
                not server.warm(adapter),
                load,
                (index + self._turns) % count,
            )
            if best is None or rank < best[0]:
                best = (rank, server)
        return best[1] if best else None

    def why_not(self) -> str:
        """Return why no server can be asked, in words."""
        server = min(self.servers, key=lambda one: one.breaker.rest_s)
        reason = server.breaker.reason or "it failed"
        if server.breaker.state == "half_open":
            return f"another turn tries it just now ({reason})"
        return f"left alone for another {server.breaker.rest_s:.1f} s: {reason}"


def _now() -> float:
    """Return the running loop's time, or the clock's where none runs (tests, tools)."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return monotonic()
