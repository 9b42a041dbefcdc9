"""The lane in front of a server: so many requests at once, and who is next among the others.

The most urgent goes first (a player's turn before a scene, before ambient chatter, before work in
the background), and among equals everybody has a share: whoever asked less is served first
(start-time fair queueing, Goyal, Vin & Cheng 1996). The queue is bounded: when it is full, the
least urgent of the lowest tier is turned away, which leaves its turn to authored lines.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import NamedTuple

from palaver.errors import BackendOverloaded

__all__ = ["Lane", "Urgency"]


MOST_KNOWN = 4_096
"""Requesters that are remembered while others wait, before those of the past are forgotten."""


class Urgency(NamedTuple):
    """How a request stands among others.

    Attributes:
        priority: Lower is sooner: 0 player, 1 scene, 2 ambient, 3 background.
        rank: Importance of its tier; the lowest is turned away first.
        who: Whom it is for; requests for the same share one place in the round.
    """

    priority: int
    rank: int
    who: str


class _Ticket:
    __slots__ = ("number", "ready", "tag", "urgency")

    def __init__(
        self, urgency: Urgency, tag: float, number: int, ready: asyncio.Future[None]
    ) -> None:
        self.urgency, self.tag, self.number, self.ready = urgency, tag, number, ready

    @property
    def worth(self) -> tuple[int, int, float, int]:
        """Lowest is turned away first; of equals the one that came last."""
        return (-self.urgency.priority, self.urgency.rank, -self.tag, -self.number)


class Lane:
    """Lets requests through to one server.

    Args:
        backend: Name of the backend, for its error.
        limit: Requests at once, or None for no bound.
        queue: Requests that may wait.

    Attributes:
        active: Requests that are at the server now.
        turned_away: Requests that there was no room for, so far.
    """

    def __init__(self, backend: str, limit: int | None, queue: int) -> None:
        self._backend, self._limit, self._queue = backend, limit, queue
        self._heap: list[tuple[int, float, int, _Ticket]] = []
        self._waiting: set[_Ticket] = set()
        self._numbers = itertools.count()
        self._virtual = 0.0
        self._last: dict[str, float] = {}
        self.active = 0
        self.turned_away = 0

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether a request would have to wait."""
        return self._limit is not None and self.active >= self._limit

    async def enter(self, urgency: Urgency) -> None:
        """Wait until the server has room; `leave` must follow.

        Args:
            urgency: How the request stands among others.

        Raises:
            BackendOverloaded: There is no room, not even to wait.
        """
        if not self.full:
            self.active += 1
            return
        ticket = self._take_ticket(urgency)
        try:
            await ticket.ready
        except BackendOverloaded:
            self._give_back(ticket)
            raise
        except asyncio.CancelledError:
            self._give_back(ticket)
            if ticket.ready.done() and not ticket.ready.cancelled():
                # It had just been let through, or turned away.
                if ticket.ready.exception() is None:
                    self.leave()
            raise
        finally:
            self._waiting.discard(ticket)

    def leave(self) -> None:
        """Make room for the next one."""
        self.active -= 1
        while self._heap:
            _, tag, _, ticket = heapq.heappop(self._heap)
            if ticket not in self._waiting or ticket.ready.done():
                continue
            self._waiting.discard(ticket)
            self._virtual = max(self._virtual, tag)
            self.active += 1
            ticket.ready.set_result(None)
            return
        # Nobody waits: nobody has had more than another.
        self._last.clear()

    def _give_back(self, ticket: _Ticket) -> None:
        """Let one that was not served not count: who interrupts an NPC must not wait for that."""
        who = ticket.urgency.who
        if self._last.get(who) == ticket.tag:
            self._last[who] = ticket.tag - 1.0

    def _take_ticket(self, urgency: Urgency) -> _Ticket:
        tag = max(self._virtual, self._last.get(urgency.who, 0.0)) + 1.0
        number = next(self._numbers)
        ticket = _Ticket(urgency, tag, number, asyncio.get_running_loop().create_future())
        if len(self._waiting) >= self._queue:
            # Whoever gave up just now has not had the time to say so.
            self._waiting = {one for one in self._waiting if not one.ready.done()}
        if len(self._waiting) >= self._queue:
            least = min((*self._waiting, ticket), key=lambda one: one.worth)
            self.turned_away += 1
            error = BackendOverloaded(self._backend, f"{self._queue} requests wait already")
            if least is ticket:
                raise error
            self._waiting.discard(least)
            if not least.ready.done():
                least.ready.set_exception(error)
        if len(self._last) > MOST_KNOWN:
            # What is past says nothing any more.
            self._last = {who: at for who, at in self._last.items() if at > self._virtual}
        self._last[urgency.who] = tag
        self._waiting.add(ticket)
        if len(self._heap) > 4 * (self._queue + 1):
            # Those who gave up are still in it.
            self._heap = [one for one in self._heap if one[3] in self._waiting]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (urgency.priority, tag, number, ticket))
        return ticket
