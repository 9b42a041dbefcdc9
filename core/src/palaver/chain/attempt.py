"""One attempt: what one server does for one turn, from being asked to its end.

It listens to a request under way, leads its text through the turn's filters to the opening gate,
and watches the clock: the first token, the pauses, the whole.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from palaver.chain.opening import Named, Opening

if TYPE_CHECKING:
    from palaver.chain.backend import Finish, GenerateRequest
    from palaver.chain.flights import Flight
    from palaver.chain.servers import Entry
    from palaver.spend import Reservation
    from palaver.turn.deliver import Reply
    from palaver.turn.filters import FilterChain

__all__ = ["Attempt", "Host", "Limits"]


class Host(Protocol):
    """What an attempt needs of the turn that it works for."""

    reply: Reply

    def checkers(self) -> Sequence[Named]:
        """Return new checkers of an opening."""

    def filters(self, opening: Opening, *, authored: bool) -> FilterChain:
        """Return new filters whose text goes into an opening."""

    def passed(self, attempt: Attempt) -> None:
        """Learn that an attempt's opening has passed every check."""

    def news(self) -> None:
        """Learn that something has changed."""


NEAR_END = 0.6
"""From this part of its longest length on a reply is shown by whole sentences."""


class Limits:
    """Until when an attempt may do what; all in `loop.time()`.

    Attributes:
        first_at: First token; sooner than the tier's own limit where the turn has less time.
        first_s: The tier's own limit for it, in seconds.
        stall_s: Longest pause after it, in seconds.
        ends_at: End.
    """

    __slots__ = ("ends_at", "first_at", "first_s", "stall_s")

    def __init__(self, first_at: float, first_s: float, stall_s: float, ends_at: float) -> None:
        self.first_at, self.first_s = first_at, first_s
        self.stall_s, self.ends_at = stall_s, ends_at


class Attempt:
    """A server at work for one turn.

    Attributes:
        entry: The backend.
        server: The one of its servers that was asked.
        flight: The request.
        own: Whether the request was begun for this turn; else another turn pays for it.
        opening: What it wants to show.
        filters: What its text passes before.
        reservation: What was set aside for its cost, or None.
        request: What it was asked for.
        asked_at: `loop.time()` of when it was asked.
        begun: `time.perf_counter()` of when it was asked.
        first: Likewise of its first text, or None.
        late: Whether its first text did not come in time.
        over: Whether it has ended or was given up.
        enough: Whether it was ended because nothing more was wanted.
        cut: Why it was cut, in words, or None.
        error: Why it failed, or None.
        finish: How the reply ended, as far as the server said.
        heard: Whether its opening has passed, and what it says is shown.
        alone: Whether nothing had been shown before it was heard.
    """

    def __init__(
        self,
        entry: Entry,
        flight: Flight,
        limits: Limits,
        *,
        own: bool,
        reservation: Reservation | None,
        request: GenerateRequest,
        max_tokens: int,
        host: Host,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits, self._host = limits, host
        self._reply = host.reply
        self.asked_at = self._loop.time()
        self.entry, self.server, self.flight, self.own = entry, flight.server, flight, own
        self.reservation, self.request = reservation, request
        self._near_pieces = NEAR_END * max_tokens
        self._near_chars = self._near_pieces * entry.backend.settings.chars_per_token
        self.begun = perf_counter()
        self.first: float | None = None
        self.late = False
        self.over = False
        self.enough = False
        self.cut: str | None = None
        self.error: Exception | None = None
        self.finish: Finish | None = None
        self.heard = self.alone = False
        self._closing: asyncio.Task[None] | None = None
        checkers = () if entry.type.instant else host.checkers()
        self.opening = Opening(host.reply, checkers, self._decided)
        self.filters = host.filters(self.opening, authored=entry.type.instant)
        self._timer = self._loop.call_at(min(limits.first_at, limits.ends_at), self._watch)

    def start(self) -> None:
        """Begin to listen; what came already is taken at once."""
        self.flight.join(self)

    @property
    def name(self) -> str:
        """Name of the backend."""
        return self.entry.backend.name

    def on_text(self, text: str) -> None:
        """Take a piece of text from the server."""
        if self.first is None:
            self.first = perf_counter()
            self._timer.cancel()
            self._watch()
        filters = self.filters
        try:
            filters.feed(text)
        except Exception as err:
            # A bug of ours must not become the server's, nor that of others who listen to it.
            self._end(err)
            self._leave()
            return
        if self.heard:
            self._look_for_its_end()
        if filters.stopped is not None or self._reply.full or self.opening.objection is not None:
            self.enough = True
            self.drop()

    def on_end(self, error: Exception | None, finish: Finish | None) -> None:
        """Take the end of the stream."""
        self.finish = finish
        self._end(error)

    def pay(self, reservation: Reservation | None) -> None:
        """Pay for the request from now on, because the turn that began it has left."""
        self.own, self.reservation = True, reservation

    def hear(self) -> None:
        """Show what it says from now on."""
        self.heard, self.alone = True, not self._reply.length
        # A backend that gives much at once may be near its end already.
        self._look_for_its_end()
        self.opening.hear(self.filters)

    def drop(self, cut: str | None = None) -> None:
        """Give it up at once, down to the server's socket, unless others listen too.

        Args:
            cut: Why, where it should have gone on.
        """
        if self._closing is not None:
            self._closing.cancel()
        if not self.over:
            if self.late:
                self.flight.no_first_token(self._limits.first_s)
            self.cut = cut
            self._end(None)
            self._leave()

    async def close_soon(self) -> bool:
        """Let out what is held back; where a filter takes its time, beside everything else.

        Returns:
            Whether that is done; if not, the host has news when it is.
        """
        if not self.filters.waits:
            await self.close()
            return True
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(), name=f"close {self.name}")
            self._closing.add_done_callback(self._closed)
        return self._closing.done()

    async def close(self) -> None:
        """Let out what the filters hold back, and ask the checks for the last time."""
        if self._closing is None:
            await self._close()
        else:
            await asyncio.wait({self._closing})

    async def _close(self) -> None:
        await self.filters.finish()
        self.opening.close()

    def _closed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.error = self.error or error
        self._host.news()

    async def let_go(self) -> None:
        """Wait until the server has let go, and throw away what is held back."""
        await self.flight.gone()
        self.opening.drop()
        if self._closing is not None and not self._closing.done():
            self._closing.cancel()
            await asyncio.wait({self._closing})
        await self.filters.abort()

    def _decided(self) -> None:
        if self.opening.passed:
            self._host.passed(self)
        else:
            self._host.news()

    def _end(self, error: Exception | None) -> None:
        if not self.over:
            self.over = True
            self.error = error
            self._timer.cancel()
            self._host.news()

    def _leave(self) -> None:
        heir = self.flight.leave(self)
        if heir is not None and self.own:
            # The request goes on for others: what it costs is known only at its end.
            heir.pay(self.reservation)
            self.own, self.reservation = False, None

    def _look_for_its_end(self) -> None:
        if self.flight.chars >= self._near_chars or len(self.flight.pieces) >= self._near_pieces:
            self._near_pieces = self._near_chars = math.inf
            if not self.entry.type.instant:
                self._reply.hold_sentences()

    def _watch(self) -> None:
        """Look at the clock; one timer that moves on by itself, for nothing is set per token."""
        now, limits = self._loop.time(), self._limits
        if now >= limits.ends_at:
            reason = "the reply took longer than total_ms allows"
            # One that drips would else be asked for ever.
            if self.first is not None:
                self.flight.too_slow(reason)
            self.drop(reason)
            return
        if self.first is None:
            if not self.late and now >= limits.first_at:
                self.late = True
                self.flight.no_first_token(limits.first_s)
                self._host.news()
            due = limits.ends_at if self.late else limits.first_at
        else:
            due = self.flight.last_at + limits.stall_s
            if now >= due:
                reason = f"silent for {limits.stall_s * 1000:.0f} ms"
                self.flight.too_slow(reason)
                self.drop(reason)
                return
        self._timer = self._loop.call_at(min(due, limits.ends_at), self._watch)
