"""One request under way to a server, and every turn that listens to it.

Turns that ask the same at the same time share one request (single-flight): a crowd that greets
the same zombie at once costs one reply. A request ends when nobody listens any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal, Protocol

from palaver.chain.backend import Finish, GenerateRequest
from palaver.chain.lane import Urgency
from palaver.errors import (
    BackendError,
    BackendOverloaded,
    BackendRefused,
    BackendResponseError,
    BackendUnauthorized,
    PromptTooLong,
    StreamBroken,
)

if TYPE_CHECKING:
    from palaver.chain.servers import Server
    from palaver.spend import Reservation

__all__ = ["Flight", "Flights", "Listener"]

log = logging.getLogger("palaver.chain")

CLOSE_S = 1.0
"""Time for a backend to give up a stream, in seconds."""
EARLY_S = 0.02
"""What timers and a busy loop make of a limit, in seconds."""
MAX_CHARS = 100_000
"""Longest text of one request; more than any reply."""


class Listener(Protocol):
    """A turn's attempt, which takes what comes."""

    def on_text(self, text: str) -> None:
        """Take a piece of text, never empty."""

    def on_end(self, error: Exception | None, finish: Finish | None) -> None:
        """Take the end; nothing comes after it."""

    def pay(self, reservation: Reservation | None) -> None:
        """Pay for the request from now on, because the turn that began it has left."""


class Flight:
    """A request to a server in a task of its own.

    Args:
        server: The server.
        request: The request.
        urgency: How it stands among others that want the same server.

    Attributes:
        task: Its task.
        pieces: What came so far.
        chars: How many characters that is.
        last_at: `loop.time()` of the last piece.
        sent: Whether the server was really asked.
        error: Why it failed, or None.
        finish: How the reply ended, as far as the server said.
    """

    __slots__ = (
        "_listeners",
        "_probe",
        "_request",
        "_told",
        "_urgency",
        "chars",
        "error",
        "finish",
        "last_at",
        "over",
        "pieces",
        "sent",
        "server",
        "task",
    )

    def __init__(self, server: Server, request: GenerateRequest, urgency: Urgency) -> None:
        self.server, self._request, self._urgency = server, request, urgency
        self._listeners: list[Listener] = []
        self.chars = 0
        self.last_at = 0.0
        self._told = False
        self.pieces: list[str] = []
        self.sent = False
        self.over = False
        self.error: Exception | None = None
        self.finish: Finish | None = None
        self._probe = server.breaker.enter()
        self.task = asyncio.get_running_loop().create_task(
            self._run(), name=f"backend {server.backend} {server.name}"
        )

    @property
    def listeners(self) -> int:
        """Turns that listen."""
        return len(self._listeners)

    def join(self, listener: Listener) -> None:
        """Listen: takes at once what came already, then every piece."""
        self._listeners.append(listener)
        if self.pieces:
            listener.on_text("".join(self.pieces))

    def leave(self, listener: Listener) -> Listener | None:
        """Listen no more; when nobody does, the request is given up, down to its socket.

        Returns:
            One who still listens, or None.
        """
        if listener in self._listeners:
            # A new list: the one at hand may be being walked.
            self._listeners = [one for one in self._listeners if one is not listener]
            if not self._listeners and not self.over:
                self.over = True
                # Here, because a task that is cancelled before its first step never runs.
                self._tell(None)
                self.task.cancel()
        return self._listeners[0] if self._listeners else None

    def suits(self, urgency: Urgency, ends_at: float) -> bool:
        """Return whether another turn may listen too.

        Args:
            urgency: How that turn stands among others.
            ends_at: `loop.time()` by which that turn's reply has to be whole.
        """
        if self.over or self._told:
            # Over, or too slow for somebody else already: each one who hopes for it would wait
            # in vain, and the server would count as failed only once.
            return False
        deadline = self._request.deadline
        if deadline is not None:
            now = asyncio.get_running_loop().time()
            if deadline - now < (ends_at - now) / 2:
                # It would be cut long before that turn's own time is over.
                return False
        mine = self._urgency
        # A player must not wait in a scene's place.
        return self.sent or (mine.priority <= urgency.priority and mine.rank >= urgency.rank)

    def too_slow(self, reason: str) -> None:
        """Tell the breaker that the first token did not come in time, or that the stream stalls."""
        if not self._told:
            self._told = True
            self.server.breaker.failed(reason, probe=self._probe)

    def no_first_token(self, limit_s: float) -> None:
        """Tell the breaker that the first token did not come, if the server is to blame.

        It is not where the request waited in our own queue, nor where a turn had less time than
        the server may take.

        Args:
            limit_s: How long the server may take, in seconds.
        """
        # What a timer is early by must not excuse anybody.
        if self.sent and not self.pieces and self.server.silent_s() >= limit_s - EARLY_S:
            self.too_slow("no first token in time")

    async def gone(self) -> None:
        """Wait until the server has let go; one that does not is named in the log."""
        if self._listeners or self.task.done():
            return
        await asyncio.wait({self.task}, timeout=CLOSE_S)
        if not self.task.done():
            log.error(
                "backend %s does not let go of a stream within %.0f s",
                self.server.backend,
                CLOSE_S,
            )

    async def _run(self) -> None:
        lane = self.server.lane
        try:
            await lane.enter(self._urgency)
        except BackendOverloaded as err:
            # The server was not asked: nothing is known of it.
            self._tell(None)
            self._end(err)
            return
        except asyncio.CancelledError:
            self._cancelled()
            raise
        error: Exception | None = None
        try:
            self.sent = True
            self.server.asked()
            await self._read()
        except asyncio.CancelledError:
            self._cancelled()
            raise
        except Exception as err:
            # A `BackendError` is the backend's fault, anything else a bug: the chain tells.
            error = err
            self.server.heard()
        finally:
            lane.leave()
            self.server.left()
        self._tell(error or True)
        self._end(error)

    async def _read(self) -> None:
        pieces, server, time = self.pieces, self.server, asyncio.get_running_loop().time
        async with aclosing(self.server.replica.generate(self._request)) as stream:
            async for piece in stream:
                if type(piece) is Finish:
                    self.finish = piece
                elif piece:
                    # Each one: who waits behind a long reply waits for no silent server.
                    self.last_at = server.alive_at = time()
                    self.chars += len(piece)  # type: ignore[arg-type]  # text, or the backend breaks its contract
                    pieces.append(piece)  # type: ignore[arg-type]  # as above
                    for listener in self._listeners:
                        listener.on_text(piece)  # type: ignore[arg-type]  # as above
                    if self.chars > MAX_CHARS:
                        raise BackendResponseError(
                            self.server.backend, f"sent more than {MAX_CHARS} characters"
                        )
                if self.over:
                    return

    def _cancelled(self) -> None:
        if self._listeners:
            # Not by us, but by the backend itself: whoever listens must not wait for more.
            error = StreamBroken(self.server.backend, "the request was cancelled")
            self._tell(error)
            self._end(error)
        else:
            self._tell(None)

    def _end(self, error: Exception | None) -> None:
        self.over = True
        self.error = error
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.on_end(error, self.finish)

    def _tell(self, outcome: Exception | Literal[True] | None) -> None:
        """Tell the breaker once: whether it worked, why it did not, or nothing."""
        if self._told:
            return
        self._told = True
        breaker, probe = self.server.breaker, self._probe
        if outcome is True or (outcome is None and self.pieces):
            breaker.succeeded(probe=probe)
        elif outcome is None:
            breaker.left(probe=probe)
        elif isinstance(outcome, BackendUnauthorized):
            breaker.unauthorized(outcome.reason)
        elif isinstance(outcome, BackendOverloaded) and outcome.retry_after_s is not None:
            breaker.rest(outcome.retry_after_s, outcome.reason)
        elif isinstance(outcome, PromptTooLong):
            breaker.left(probe=probe)
        elif isinstance(outcome, BackendRefused) and not isinstance(
            outcome, BackendOverloaded | LookupError
        ):
            # It refuses this request, not every one.
            breaker.left(probe=probe)
        else:
            reason = outcome.reason if isinstance(outcome, BackendError) else repr(outcome)[:200]
            breaker.failed(reason, probe=probe)


class Flights:
    """The requests under way, by what they ask for."""

    def __init__(self) -> None:
        self._flying: dict[Hashable, Flight] = {}

    @property
    def listeners(self) -> int:
        """Turns that listen to requests which may be shared."""
        return sum(flight.listeners for flight in self._flying.values())

    def find(self, key: Hashable, urgency: Urgency, ends_at: float) -> Flight | None:
        """Return a request under way that asks for the same, or None.

        Args:
            key: What it asks for.
            urgency: How the turn that wants it stands among others.
            ends_at: `loop.time()` by which that turn's reply has to be whole.
        """
        flight = self._flying.get(key)
        return flight if flight is not None and flight.suits(urgency, ends_at) else None

    def open(
        self, key: Hashable | None, server: Server, request: GenerateRequest, urgency: Urgency
    ) -> Flight:
        """Begin a request.

        Args:
            key: What it asks for; None shares it with nobody.
            server: Who is asked.
            request: The request.
            urgency: How it stands among others.
        """
        flight = Flight(server, request, urgency)
        if key is not None:
            self._flying[key] = flight
            flight.task.add_done_callback(lambda _: self._landed(key, flight))
        return flight

    def _landed(self, key: Hashable, flight: Flight) -> None:
        if self._flying.get(key) is flight:
            del self._flying[key]
