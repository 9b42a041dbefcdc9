"""A backend inside the process that plays a script.

    backend = ScriptedBackend("local", ["Good ", Pause(2), "evening.", Finish()])
    held = asyncio.Event()
    backend.replies = [["Leave", held, " now."], [BackendUnavailable("local", "is down")]]

Each call of `generate` takes the next reply out of `backend.replies` and plays it; the last one
stays and is repeated. What was asked, and whether it was closed early, is in `backend.calls`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from palaver.chain.backend import (
    BackendSettings,
    BackendType,
    Finish,
    GenerateRequest,
    Health,
    ModelInfo,
)
from palaver.errors import ConfigError
from palaver.hints import listed
from palaver.testing import UNIT_S

__all__ = ["Call", "Pause", "Reply", "ScriptedBackend", "ScriptedSettings", "Step", "scripted_type"]


@dataclass(frozen=True, slots=True)
class Pause:
    """A delay in a script.

    Attributes:
        units: How long, in units of test time (`palaver.testing.UNIT_S`, 10 ms by default).
    """

    units: float


Step: TypeAlias = str | Finish | BaseException | type[BaseException] | asyncio.Event | Pause
"""What a script is made of: text to yield, a `Finish`, an exception to raise, an event to wait
for, a pause."""

Reply: TypeAlias = str | Sequence[Step] | Callable[[GenerateRequest], "str | Sequence[Step]"]
"""A script, a single text (which ends with `Finish()`), or a function of the request that
returns one of these."""


@dataclass(eq=False, slots=True)
class Call:
    """One call of `generate`.

    Attributes:
        request: What was asked.
        outcome: `running`, `whole` (the script was played to its end), `failed` (the script
            raised) or `closed` (nobody wanted the rest).
        said: The text that was taken so far.
        ended: Set when the call is over.
    """

    request: GenerateRequest
    outcome: Literal["running", "whole", "failed", "closed"] = "running"
    said: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def closed_early(self) -> bool:
        """Whether the reply was closed or cancelled before the script was at its end."""
        return self.outcome == "closed"


class ScriptedSettings(BackendSettings):
    """Settings of a scripted backend: none of its own."""


class ScriptedBackend:
    """A backend that plays scripts.

    Args:
        name: Name in `palaver.toml`.
        replies: What to play, one for each call; the last is repeated. None at all says nothing
            and ends without a `Finish`.
        settings: Its settings, or None for the defaults.
        health: What `health` answers.
        models: What `models` answers.
    """

    def __init__(
        self,
        name: str = "scripted",
        *replies: Reply,
        settings: BackendSettings | None = None,
        health: Health | None = None,
        models: Sequence[ModelInfo] = (),
    ) -> None:
        self.name = name
        self.settings: BackendSettings = settings or ScriptedSettings(type="scripted")
        self.replies: list[Reply] = list(replies)
        self.calls: list[Call] = []
        self.started = False
        self.closed = False
        self._health = health or Health(ok=True, detail="plays its script")
        self._models = models
        self._called = asyncio.Event()

    @property
    def requests(self) -> list[GenerateRequest]:
        """Everything that was asked, in order."""
        return [call.request for call in self.calls]

    async def called(self, times: int = 1) -> Call:
        """Wait until `generate` was called that often, and return that call."""
        while len(self.calls) < times:
            self._called.clear()
            await self._called.wait()
        return self.calls[times - 1]

    async def start(self) -> None:
        """Note that it was started."""
        self.started = True

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Play the next script."""
        steps = self._next(request)
        call = Call(request)
        self.calls.append(call)
        self._called.set()
        left = len(steps)
        before: Step | None = None
        try:
            for step in steps:
                left -= 1
                if isinstance(step, str) and isinstance(before, str):
                    # Two texts are two pieces; without a turn of the loop they would be joined.
                    await asyncio.sleep(0)
                before = step
                if isinstance(step, str):
                    call.said += step
                    yield step
                elif isinstance(step, Finish):
                    yield step
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.units * UNIT_S)
                else:
                    call.outcome = "failed"
                    raise step
            call.outcome = "whole"
        except (GeneratorExit, asyncio.CancelledError):
            # Whoever stops after the last step has not stopped early.
            if call.outcome == "running":
                call.outcome = "closed" if left or not _last_is_taken(steps) else "whole"
            raise
        finally:
            call.ended.set()

    def _next(self, request: GenerateRequest) -> Sequence[Step]:
        if not self.replies:
            return ()
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if callable(reply):
            reply = reply(request)
        return (reply, Finish()) if isinstance(reply, str) else reply

    async def health(self) -> Health:
        """Answer what it was told to."""
        return self._health

    async def models(self) -> Sequence[ModelInfo]:
        """Answer what it was told to."""
        return self._models


def _last_is_taken(steps: Sequence[Step]) -> bool:
    return bool(steps) and isinstance(steps[-1], str | Finish)


def scripted_type(
    backends: Iterable[ScriptedBackend] | Mapping[str, ScriptedBackend],
    *,
    name: str = "scripted",
    instant: bool = False,
) -> BackendType:
    """Return a backend type for `palaver.toml` that hands out these backends by their names.

    Args:
        backends: The backends; a `[backends.NAME]` table of this type gets the one of its name.
        name: Name of the type.
        instant: Whether the core may treat it as one that answers from memory.
    """
    known = (
        dict(backends)
        if isinstance(backends, Mapping)
        else {backend.name: backend for backend in backends}
    )

    def create(backend: str, settings: BackendSettings, _context: object) -> ScriptedBackend:
        if backend not in known:
            raise ConfigError(
                f"no scripted backend has the name {backend!r}; {listed(sorted(known))}",
                key=f"backends.{backend}",
            )
        made = known[backend]
        made.settings = settings
        return made

    return BackendType(name, ScriptedSettings, create, instant=instant, addresses=frozenset())
