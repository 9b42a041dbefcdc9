"""What happens in a reply: text, emotions, actions, and the end.

A filter is an object with `feed(event) -> events` and `flush() -> events`, made anew for each turn
by the hook `palaver_filter`. It sees every event of the reply in order and returns what goes on.
Returning `Stop` ends the line. A filter whose `feed` is `async` gets whole sentences as `Text`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

__all__ = ["Action", "AsyncFilter", "Emotion", "Event", "Filter", "Stop", "Text"]

EMOTIONS = ("neutral", "joy", "sadness", "anger", "fear", "disgust", "surprise", "contempt")
"""The emotions every client can expect; a persona may name others."""


@dataclass(slots=True)
class Text:
    """A piece of spoken text, never empty."""

    text: str


@dataclass(slots=True)
class Emotion:
    """How the text after it is felt.

    Attributes:
        name: One of `EMOTIONS` or a persona's own.
        intensity: 0 (barely) to 1 (fully).
    """

    name: str
    intensity: float = 1.0


@dataclass(slots=True)
class Action:
    """Something the NPC does, already checked against what the engine declared.

    Attributes:
        name: The declared action.
        args: Arguments that match the action's JSON Schema.
        call: Id of this call, unique in the turn.
    """

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    call: str = ""


@dataclass(slots=True)
class Stop:
    """Ends the line here.

    Attributes:
        reason: Short, for the trace.
    """

    reason: str


Event = Text | Emotion | Action | Stop


@runtime_checkable
class Filter(Protocol):
    """A filter that never waits; called once per event."""

    def feed(self, event: Event, /) -> Iterable[Event]:
        """Take one event and return what goes on."""

    def flush(self) -> Iterable[Event]:
        """Return what is still held back; called once, at the end of the reply."""


@runtime_checkable
class AsyncFilter(Protocol):
    """A filter that has to wait; `Text` events reach it as whole sentences."""

    async def feed(self, event: Event, /) -> Iterable[Event]:
        """Take one event and return what goes on."""

    async def flush(self) -> Iterable[Event]:
        """Return what is still held back; called once, at the end of the reply."""
