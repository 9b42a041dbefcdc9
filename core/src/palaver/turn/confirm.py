"""Actions that the game confirms: nothing is spoken of before it is true.

An action that was declared with `confirm` is shown, and what comes after it is held until the
engine has answered. If it accepts, the line goes on as it came. If it refuses, or does not answer
in time, what was held is thrown away, and the line goes on knowing that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palaver.messages import MAX_REPLY_CHARS
from palaver.prompt.neutralize import neutralize
from palaver.prompt.sections import Place, Prompt, Section
from palaver.turn.events import Action, Event, Text

if TYPE_CHECKING:
    from palaver.actions import DeclaredAction
    from palaver.turn.model import Turn

__all__ = ["Answers", "Hold", "Refusal", "offered", "with_refusal"]

MAX_WHY_CHARS = 300
"""Longest part of the engine's own words that a model is told."""
TOLD_PRIORITY = 100
"""Never dropped from a prompt: a model that does not know it would say what is not true."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An action that the game did not carry out.

    Attributes:
        action: Its name.
        why: The engine's words, harmless to a model; empty where it gave none.
        late_ms: How long nobody answered, or None where the engine did.
    """

    action: str
    why: str = ""
    late_ms: int | None = None

    @property
    def reason(self) -> str:
        """What became of it, for the trail."""
        if self.late_ms is not None:
            return f"the game did not answer to {self.action} within {self.late_ms} ms"
        return f"the game refused {self.action}" + (f": {self.why}" if self.why else "")

    @property
    def told(self) -> str:
        """What became of it, for the model that goes on with the line."""
        why = f' ("{self.why}")' if self.why else ""
        return (
            f"(You wanted to do {self.action}, but the game did not let it happen{why}. Go on as "
            "it really is: never say that it happened, and do not try it again.)"
        )


class Answers:
    """Where the engine's answers to the actions of one turn arrive.

    A turn that has it waits for them; one without does not, because nobody could answer.
    """

    __slots__ = ("_call", "_take")

    def __init__(self) -> None:
        self._call: str | None = None
        self._take: Callable[[bool, str | None], None] | None = None

    def expect(self, call: str, take: Callable[[bool, str | None], None]) -> None:
        """Wait for the answer to a call; what comes after it waits, so there is one at a time.

        Args:
            call: Id of the call.
            take: Called with the answer, at most once.
        """
        self._call, self._take = call, take

    def forget(self) -> None:
        """Wait no longer."""
        self._call = self._take = None

    def answer(self, call: str, *, ok: bool, message: str | None = None) -> bool:
        """Take an answer of the engine.

        Args:
            call: Id of the call.
            ok: Whether the engine carries it out.
            message: Why, in its own words, or None.

        Returns:
            Whether anybody waited for it; one that is late, unknown or repeated does no harm.
        """
        take = self._take
        if take is None or call != self._call:
            return False
        self.forget()
        take(ok, message)
        return True


class Hold:
    """One action that waits for the game, and what comes after it.

    Args:
        turn: The turn.
        answers: Where its answer arrives.
        action: The action; it was sent just now.
        limit_ms: How long the engine may take.
        shown: Characters of the reply that were shown already.
        settled: Called once it is known what became of it.

    Attributes:
        refusal: Why it was not carried out, or None.
        open: Whether nothing is known yet.
    """

    def __init__(
        self,
        turn: Turn,
        answers: Answers,
        action: Action,
        limit_ms: int,
        *,
        shown: int,
        settled: Callable[[Hold], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.refusal: Refusal | None = None
        self.open = True
        self._turn, self._answers, self._action = turn, answers, action
        self._settled = settled
        self._room = MAX_REPLY_CHARS - shown
        self._events: list[Event] = []
        self._time = loop.time
        self._began = loop.time()
        self._done = loop.create_future()
        # The turn's own end is the end of every wait.
        limit_s = max(0.0, min(limit_ms / 1000, turn.ends_at - self._began))
        self._timer = loop.call_later(limit_s, self._late)
        answers.expect(action.call, self._answered)

    @property
    def text(self) -> str:
        """The text that is held."""
        return "".join(event.text for event in self._events if type(event) is Text)

    def keep(self, event: Event) -> None:
        """Hold an event; beyond the longest reply nothing would be shown anyway."""
        if self._room >= 0:
            self._events.append(event)
            if type(event) is Text:
                self._room -= len(event.text)

    def release(self) -> list[Event]:
        """Return what was held, in order, and hold it no more."""
        events, self._events = self._events, []
        return events

    async def over(self) -> None:
        """Wait until it is known what became of it."""
        if self.open:
            await self._done

    def drop(self) -> None:
        """Wait no longer, and throw away what is held."""
        if self.open:
            self._answers.forget()
        self._close()

    def _answered(self, ok: bool, message: str | None) -> None:
        name = self._action.name
        if ok:
            self._settle(f"{name} accepted")
            return
        why = neutralize(" ".join((message or "").split())[:MAX_WHY_CHARS])
        self.refusal = Refusal(name, why)
        self._settle(f"{name} refused" + (f": {why}" if why else ""))

    def _late(self) -> None:
        self._answers.forget()
        name, waited_ms = self._action.name, round((self._time() - self._began) * 1000)
        self.refusal = Refusal(name, late_ms=waited_ms)
        self._settle(f"no answer to {name}, which counts as refused")

    def _settle(self, became: str) -> None:
        waited_ms = (self._time() - self._began) * 1000
        self._turn.game_ms += waited_ms
        self._turn.note(f"waited {waited_ms:.0f} ms for the game: {became}")
        try:
            self._settled(self)
        finally:
            self._close()

    def _close(self) -> None:
        self.open = False
        self._timer.cancel()
        self._room = -1
        self._events.clear()
        if not self._done.done():
            self._done.set_result(None)


def offered(actions: Mapping[str, DeclaredAction]) -> dict[str, DeclaredAction]:
    """Return the actions of a turn whose client never gets to see any.

    What nobody can carry out or confirm could not be spoken of truly, so it is not offered; the
    others stay, because they are for show.
    """
    return {name: action for name, action in actions.items() if not action.confirm}


def with_refusal(prompt: Prompt, refusal: Refusal) -> Prompt:
    """Return a prompt that tells what the game refused, right before the line goes on."""
    told = Section("refused", "user", refusal.told, TOLD_PRIORITY, "the game", Place.UTTERANCE)
    return Prompt([*prompt.sections, told])
