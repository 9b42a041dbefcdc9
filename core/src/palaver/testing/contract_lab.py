"""What the contract suite works with: a lab that brings about what a test needs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palaver.chain.backend import Backend, Finish, GenerateRequest
from palaver.errors import (
    BackendError,
    BackendOverloaded,
    BackendRefused,
    BackendResponseError,
    BackendUnauthorized,
    BackendUnavailable,
    ModelNotFound,
    PromptTooLong,
    StreamBroken,
)
from palaver.testing import UNIT_S

__all__ = [
    "ABILITIES",
    "FAILURES",
    "IN_STREAM",
    "LIMIT_S",
    "TRIES",
    "BackendLab",
    "Case",
    "Said",
    "ask",
    "cancelled",
    "nothing_left",
    "seen_running",
    "until_running",
]

LIMIT_S = 2000 * UNIT_S
"""Time for anything in this suite, in seconds; a backend that needs more hangs."""
SOON_S = 200 * UNIT_S
"""Time for a server to say that it is at work, in seconds."""
TRIES = 4
"""How often it is asked for a reply that it is still at work on."""

FAILURES: dict[str, type[BackendError]] = {
    "gone": BackendUnavailable,  # nobody listens there
    "cut before": BackendUnavailable,  # the connection breaks before an answer
    "overloaded": BackendOverloaded,  # a full queue, with `Retry-After: 7`
    "unauthorized": BackendUnauthorized,  # a wrong key
    "no model": ModelNotFound,  # another model than what is there
    "too long": PromptTooLong,  # more than the context window holds
    "bad request": BackendRefused,  # a field that the server does not take
    "error status": BackendResponseError,  # 500
    "error event": BackendResponseError,  # an error in the middle of a stream
    "garbage": BackendResponseError,  # bytes that are no answer
    "no finish": StreamBroken,  # a stream that ends without its end
    "cut": StreamBroken,  # the connection breaks in the middle of a stream
}
"""Ways to fail, and the error that each has to be."""

ABILITIES = frozenset(FAILURES) | {
    "script",  # say exactly what is wanted
    "split",  # send bytes one by one
    "echo",  # repeat what is asked
    "stream",  # answer in more than one piece
    "length",  # cut a reply at `max_tokens`
    "usage",  # count tokens
    "endless",  # begin, and go on for a long time
    "silent",  # say nothing for a long time
    "running",  # tell how many generations run
    "deadline",  # end at the request's deadline
    "models",  # list models
}
"""What a lab may be able to bring about: all of this, and each of `FAILURES`."""

IN_STREAM = ("error event", "garbage", "no finish", "cut")
"""Those that come after some text."""


@dataclass(frozen=True, slots=True)
class Case:
    """A backend and what to ask it."""

    backend: Backend
    request: GenerateRequest

    def generate(self) -> AsyncGenerator[str | Finish, None]:
        """Ask it."""
        return self.backend.generate(self.request)


@dataclass(slots=True)
class Said:
    """What a backend answered."""

    pieces: list[str] = field(default_factory=list)
    finish: Finish | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


class BackendLab:
    """Brings about what the contract needs; override what the backend under test can do.

    Attributes:
        facts: What was seen, for comparing two servers.
    """

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    async def make(self) -> Backend:
        """Return a new backend that is not started; whoever asks closes it."""
        raise NotImplementedError

    async def whole(self) -> Case:
        """Return a case whose reply is short and ends by itself or at `max_tokens`."""
        raise NotImplementedError

    async def saying(
        self, tokens: Sequence[str], *, split_bytes: int | None = None, together: int = 1
    ) -> Case:
        """Return a case whose reply is exactly these tokens."""
        raise NotImplementedError

    async def echoing(self) -> Backend:
        """Return a backend that answers with what it was asked, word by word."""
        raise NotImplementedError

    async def endless(self) -> Case:
        """Return a case whose reply begins, and does not end for a long time."""
        raise NotImplementedError

    async def silent(self) -> Case:
        """Return a case whose reply does not begin for a long time."""
        raise NotImplementedError

    async def failing(self, how: str) -> Case:
        """Return a case that fails in one of the ways of `FAILURES`."""
        raise NotImplementedError

    async def running(self) -> int:
        """Return how many generations run at the server now."""
        raise NotImplementedError


async def ask(case: Case) -> Said:
    """Ask, check every piece, and return what was said."""
    said = Said()
    async with asyncio.timeout(LIMIT_S), aclosing(case.generate()) as stream:
        async for piece in stream:
            assert said.finish is None, "nothing comes after the Finish"
            if isinstance(piece, Finish):
                said.finish = piece
            else:
                assert type(piece) is str
                assert piece, "a piece of text is never empty"
                said.pieces.append(piece)
    return said


async def until_running(lab: BackendLab, count: int) -> None:
    """Wait until the server runs exactly so many generations."""
    async with asyncio.timeout(LIMIT_S):
        while await lab.running() != count:  # noqa: ASYNC110  # a real server tells nobody
            await asyncio.sleep(UNIT_S)


async def seen_running(lab: BackendLab, stream: AsyncIterator[str | Finish]) -> bool:
    """Wait for the first piece, and return whether the server then runs this one generation.

    On a busy machine a server may give all it has in one go, and be at its end by then.
    """
    try:
        async with asyncio.timeout(LIMIT_S):
            assert isinstance(await anext(stream), str)
        async with asyncio.timeout(SOON_S):
            await until_running(lab, 1)
    except TimeoutError:
        return False
    return True


async def cancelled(reading: Awaitable[Any], begun: Awaitable[Any]) -> None:
    """Cancel a task once it has begun, and see that the cancellation came through."""
    task = asyncio.ensure_future(reading)
    async with asyncio.timeout(LIMIT_S):
        await begun
    assert not task.done()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=LIMIT_S)
    assert done, "a cancelled reply has to end"
    assert task.cancelled()


def _sockets() -> set[str]:
    folder = Path("/proc/self/fd")
    found = set()
    for entry in os.listdir(folder) if folder.is_dir() else []:
        try:
            target = os.readlink(folder / entry)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Check that no task and no socket is left of what happens inside."""
    tasks, sockets = asyncio.all_tasks(), _sockets()
    yield
    try:
        async with asyncio.timeout(LIMIT_S):
            # The other end of a closed connection goes a moment later.
            while asyncio.all_tasks() - tasks or _sockets() - sockets:  # noqa: ASYNC110  # no event
                await asyncio.sleep(UNIT_S)
    except TimeoutError:
        left = [*(asyncio.all_tasks() - tasks), *(_sockets() - sockets)]
        raise AssertionError(f"left behind: {left}") from None
