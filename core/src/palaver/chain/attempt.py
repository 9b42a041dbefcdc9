"""One attempt: a backend's stream in a task of its own.

Text is held until the attempt is accepted, then passed on with plain calls. That is what allows
several attempts beside each other of which only one is heard.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from palaver.chain.backend import Backend, BackendType, Finish, GenerateRequest
from palaver.errors import BackendResponseError

__all__ = ["Attempt", "Entry"]

log = logging.getLogger("palaver.chain")

CLOSE_S = 1.0
"""Time for a backend to give up a stream, in seconds."""
MAX_HELD_CHARS = 100_000
"""Text held for an attempt that is not accepted yet; more than any reply."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A configured backend with its type."""

    backend: Backend
    type: BackendType


class _Enough(Exception):
    """Raised inside the stream's loop to leave it: the rest is not wanted."""


class Attempt:
    """A backend at work on one request.

    Attributes:
        entry: The backend.
        first: Done when the first text is there, or when the attempt has ended without any.
        ended: Done when the attempt has ended or was given up.
        error: Why it failed, or None.
        finish: How the reply ended, as far as the backend said.
        last_at: `loop.time()` of the last sign of life.
        enough: Whether it was ended because nothing more was wanted.
        late: Whether its first text did not come in time.
    """

    def __init__(self, entry: Entry, request: GenerateRequest) -> None:
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._held: list[str] = []
        self._held_chars = 0
        self._take: Callable[[str], bool] | None = None
        self._dropped = False
        self.entry = entry
        self.first: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.error: Exception | None = None
        self.finish: Finish | None = None
        self.enough = False
        self.late = False
        self.last_at = self._loop.time()
        self.task = self._loop.create_task(self._run(), name=f"backend {entry.backend.name}")

    @property
    def has_text(self) -> bool:
        """Whether text is there to be accepted."""
        return bool(self._held)

    def accept(self, take: Callable[[str], bool]) -> None:
        """Pass on what is held, and from now on every piece as it comes.

        Args:
            take: Takes a piece of text; returns False when nothing more is wanted.
        """
        held, self._held = self._held, []
        self._take = take
        if held and not take("".join(held)):
            self.enough = True
            self.drop()

    def too_late(self) -> None:
        """End the wait for its first text, if that is not there yet."""
        if not self.first.done():
            self.late = True
            self.drop()

    def drop(self) -> None:
        """Give it up at once, down to the backend's socket; nothing more of it is taken.

        How long the backend takes to let go is no concern of whoever waits for `first` or
        `ended`; see `gone`.
        """
        self._dropped = True
        self._take = None
        self.task.cancel()
        self._release()

    async def gone(self) -> None:
        """Wait until the backend has let go; one that does not is named in the log."""
        if not self.task.done():
            await asyncio.wait({self.task}, timeout=CLOSE_S)
        if not self.task.done():
            log.error(
                "backend %s does not let go of a stream within %.0f s",
                self.entry.backend.name,
                CLOSE_S,
            )

    def _release(self) -> None:
        for future in (self.first, self.ended):
            if not future.done():
                future.set_result(None)

    async def _run(self) -> None:
        time = self._loop.time
        try:
            async with aclosing(self.entry.backend.generate(self._request)) as stream:
                async for piece in stream:
                    self.last_at = time()
                    if self._dropped:
                        raise _Enough
                    if type(piece) is Finish:
                        self.finish = piece
                    elif self._take is not None:
                        if not self._take(piece):  # type: ignore[arg-type]  # text, or the backend breaks its contract
                            raise _Enough
                    elif piece:
                        self._hold(piece)  # type: ignore[arg-type]  # as above
        except _Enough:
            self.enough = not self._dropped
        except Exception as err:
            # A `BackendError` is the backend's fault, anything else a bug: the chain tells.
            self.error = err
        finally:
            self._release()

    def _hold(self, piece: str) -> None:
        self._held.append(piece)
        self._held_chars += len(piece)
        if self._held_chars > MAX_HELD_CHARS:
            raise BackendResponseError(
                self.entry.backend.name, f"sent more than {MAX_HELD_CHARS} characters"
            )
        if not self.first.done():
            self.first.set_result(None)
