"""The grouping window: requests for one server wait here, and go to it in groups.

Ollama works off one request after the other (`OLLAMA_NUM_PARALLEL` is 1 by default) and keeps what
it has read of the last prompt only. What waits here instead of there can still be put in order:
the most urgent first, and those of one persona after each other, so that its prompt is read once
for all of them. And giving up one that waits here costs nothing.

It is no second queue: the chain's lane lets only a few more in than there is room for, and the many
wait there, where tiers have ranks and every player has a share.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from palaver.chain.backend import GenerateRequest
from palaver.errors import BackendOverloaded, BackendTimeout

__all__ = ["MAX_WAITING", "Window"]

MAX_WAITING = 1_024
"""Requests that wait for one server at most, whatever `concurrency` lets in."""
MAX_RUN = 8
"""Requests with one persona's prompt in a row, while older ones with another wait."""


@dataclass(eq=False, slots=True)
class _Ticket:
    priority: int
    prefix: str
    since: float
    number: int
    let_go: asyncio.Future[None] = field(repr=False)


class Window:
    """Lets requests go to a server in groups.

    Args:
        backend: Name of the backend, for its errors.
        size: Requests in a group, and at the server at once.
        window_s: How long a request waits for others at most, in seconds, while there is room.
        bound: Requests that may wait.

    Attributes:
        active: Requests at the server.
    """

    def __init__(self, backend: str, size: int, window_s: float, bound: int = MAX_WAITING) -> None:
        self._backend, self._size, self._window_s, self._bound = backend, size, window_s, bound
        self._waiting: list[_Ticket] = []
        self._count = 0
        self._last: str | None = None
        self._run = 0
        self._timer: asyncio.TimerHandle | None = None
        self.active = 0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    async def enter(self, request: GenerateRequest) -> None:
        """Wait until the request may go; after it, whatever happens, call `leave`.

        Raises:
            BackendOverloaded: Too many wait.
            BackendTimeout: Its deadline is over.
        """
        if len(self._waiting) >= self._bound:
            raise BackendOverloaded(
                self._backend,
                f"{self._bound:,} requests wait for it already; add a server to `urls`",
            )
        loop = asyncio.get_running_loop()
        now = loop.time()
        prefix = request.messages[0].content if request.messages else ""
        ticket = _Ticket(request.priority, prefix, now, self._count, loop.create_future())
        self._count += 1
        self._waiting.append(ticket)
        self._look()
        try:
            async with asyncio.timeout_at(request.deadline):
                if ticket.let_go.done():
                    # Those who waited longer in the same group go first.
                    await asyncio.sleep(0)
                await ticket.let_go
        except BaseException as err:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            elif not ticket.let_go.cancelled():
                # It was let go in the moment it was given up.
                self.leave()
            if isinstance(err, TimeoutError):
                limit_s = max(0.0, (request.deadline or now) - now)
                raise BackendTimeout(self._backend, "total", limit_s) from err
            raise

    def leave(self) -> None:
        """Make room for another request."""
        self.active -= 1
        self._look()

    def close(self) -> None:
        """Stop the clock; safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Let a group go if it is whole or its time is over, as far as there is room."""
        self.close()
        loop = asyncio.get_running_loop()
        while self._waiting and self.active < self._size:
            over_at = min(ticket.since for ticket in self._waiting) + self._window_s
            if len(self._waiting) < self._size and loop.time() < over_at:
                self._timer = loop.call_at(over_at, self._look_late)
                return
            self._let_go(self._size - self.active)

    def _look_late(self) -> None:
        # A timer may ring a clock tick early, and would be set again for nothing.
        self._let_go(self._size - self.active)
        self._look()

    def _let_go(self, room: int) -> None:
        """Let the first in order go."""
        first: dict[tuple[int, str], int] = {}
        for ticket in self._waiting:
            first.setdefault((ticket.priority, ticket.prefix), ticket.number)
        stay = self._last if self._run < MAX_RUN else None

        def rank(ticket: _Ticket) -> tuple[int, bool, int, int]:
            since = first[ticket.priority, ticket.prefix]
            return ticket.priority, ticket.prefix != stay, since, ticket.number

        # One that was given up a moment ago takes nobody's place, whenever its task notices.
        self._waiting = [ticket for ticket in self._waiting if not ticket.let_go.done()]
        for ticket in sorted(self._waiting, key=rank)[:room]:
            self._waiting.remove(ticket)
            self._run = self._run + 1 if ticket.prefix == self._last else 1
            self._last = ticket.prefix
            self.active += 1
            ticket.let_go.set_result(None)
