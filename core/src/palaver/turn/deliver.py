"""Sixth step: what is shown of a reply, and what has to wait before it is.

White space waits for words, feelings and actions for the first of them, sentences near a reply's
end for their end, and everything behind an action for the game that confirms it.
"""

# ruff: noqa: RUF001  # quotation marks

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from palaver.turn.careful import Careful
from palaver.turn.confirm import Hold, Refusal
from palaver.turn.events import Action, Emotion, Event, Text
from palaver.turn.fitting import Room
from palaver.turn.outgoing import Outgoing, TurnSink
from palaver.turn.sentences import ENDINGS

if TYPE_CHECKING:
    from palaver.turn.model import Turn
    from palaver.turn.pace import Pace

__all__ = ["Reply"]


class Reply:
    """What is shown of one turn.

    Args:
        turn: The turn.
        sink: Where its messages go.
        clock: The time, in seconds.
        pace: How often text goes out after the first; None lets every piece out by itself.
    """

    def __init__(
        self,
        turn: Turn,
        sink: TurnSink,
        clock: Callable[[], float],
        pace: Pace | None = None,
    ) -> None:
        self.first_at: float | None = None
        self._turn = turn
        self._clock = clock
        self._out = Outgoing(turn, sink, pace)
        self._room = Room()
        self._parts: list[str] = []
        self._space = ""
        self._over = False
        self._live = False
        self._waiting: list[Event] = []
        self._careful: Careful | None = None
        self._hold: Hold | None = None
        self._aside = False
        """Whether what comes is held back by one of these two."""
        self.when_refused: Callable[[], None] | None = None
        """Called when the game has refused an action; nothing is shown then until `begin`."""

    @property
    def over(self) -> bool:
        """Whether it has ended, so that nothing is shown any more."""
        return self._over

    @property
    def full(self) -> bool:
        """Whether the longest reply was reached; what comes after is not shown."""
        return self._room.full

    @property
    def length(self) -> int:
        """Characters that were shown so far."""
        return self._room.chars

    @property
    def text(self) -> str:
        """Everything that was shown so far."""
        return "".join(self._parts)

    def show(self, event: Event) -> None:
        """Take one event; after the end nothing is shown any more."""
        if self._over:
            return
        if self._aside:
            for ready in (event,) if self._careful is None else self._careful.feed(event):
                self._pass(ready)
        else:
            self._show(event)

    def _pass(self, event: Event) -> None:
        if self._hold is not None:
            self._hold.keep(event)
        else:
            self._show(event)

    def _show(self, event: Event) -> None:
        if type(event) is Text:
            if event.text:
                self._text(event.text)
        elif not self._live:
            self._waiting.append(event)
        elif type(event) is Emotion:
            self._out.emotion(event, after_sentence=self._at_end)
        elif type(event) is Action and self._out.acts:
            self._act(event)

    def _act(self, action: Action) -> None:
        declared, answers = self._turn.actions.get(action.name), self._turn.answers
        confirmed = declared is not None and declared.confirm and answers is not None
        if not action.call:
            # A plugin made it; without a name nobody could answer.
            self._turn.calls += 1
            action.call = f"{self._turn.id}.{self._turn.calls}"
        self._out.action(action, after_sentence=confirmed and self._at_end)
        if confirmed and declared is not None and answers is not None:
            self._aside = True
            self._hold = Hold(
                self._turn,
                answers,
                action,
                declared.confirm_ms,
                shown=self._room.chars,
                settled=self._settled,
            )

    def _settled(self, hold: Hold) -> None:
        """Let go on what was held behind an action, if the game has accepted it."""
        if hold.refusal is not None:
            # The hold stays, and swallows what still comes of this attempt.
            if self.when_refused is not None:
                self.when_refused()
            return
        self._hold = None
        self._aside = self._careful is not None
        for event in hold.release():
            # One of these may be the next action that has to be confirmed.
            self._pass(event)

    @property
    def refusal(self) -> Refusal | None:
        """What the game has refused of this attempt, or None."""
        return None if self._hold is None else self._hold.refusal

    async def confirmed(self) -> bool:
        """Wait until the game has answered; returns whether it refused nothing."""
        while self._hold is not None and self._hold.open:
            await self._hold.over()
        return self.refusal is None

    def say(self, text: str) -> None:
        """Take text that is not empty; the same as to show it, without an event around it."""
        if self._aside:
            self.show(Text(text))
        elif not self._over:
            self._text(text)

    def begin(self) -> None:
        """Another attempt begins: what it does and feels waits for its first words.

        Otherwise a backend that fails without a word would have acted, and the next one would
        speak under its feelings.
        """
        self._live = False
        self._waiting.clear()
        self._drop_hold()

    def _drop_hold(self) -> None:
        if self._hold is not None:
            self._hold.drop()
            self._hold = None
            self._aside = self._careful is not None

    @property
    def _at_end(self) -> bool:
        """Whether the last piece of text ends a sentence."""
        return bool(self._parts) and self._parts[-1][-1] in ENDINGS

    @property
    def whole(self) -> bool:
        """Whether there are words, and the last sentence of them is whole."""
        last = "".join(self._parts[-8:])
        if not last:
            return False
        return last[-1] in ENDINGS or last.rstrip("\"'”’»)]")[-1:] in ENDINGS

    def close_sentence(self) -> None:
        """End an open sentence with an ellipsis; a whole one stays as it is."""
        # A sentence that nobody will finish is better left out.
        self._careful = None
        self._aside = self._hold is not None
        if not self._parts:
            return
        if not self.whole:
            self._space = ""
            self._write("…")
        self._space = " "

    def let_out(self, *, cut: bool = False) -> None:
        """Show the sentences that are held back, for the reply has come to its end.

        Args:
            cut: Whether a length limit cut it; then it ends at its last sentence, as far as that
                was held back.
        """
        if self._careful is not None:
            held, self._careful = self._careful.rest(), None
            self._aside = self._hold is not None
            if not cut or not self._parts:
                for event in held:
                    self._pass(event)

    def cut_short(self) -> None:
        """End a reply that a length limit cut: at its last sentence, as far as that was held back.

        What was shown cannot be taken back: a sentence that is open then ends with an ellipsis.
        """
        self.let_out(cut=True)
        self.close_sentence()

    def hold_sentences(self) -> None:
        """Show only whole sentences from the next one on: the reply may soon be cut."""
        if self._careful is None and not self._over:
            # With the white space that waits: without it the last sentence would seem open.
            before = "".join(self._parts[-8:]) + self._space
            if self._hold is not None:
                before += self._hold.text
            self._careful = Careful(before)
            self._aside = True

    def finish(self) -> None:
        """Let out the last sentence and end the reply; white space at its end is never shown.

        What waits for the game is thrown away.
        """
        if self._hold is None:
            self.let_out()
        self._careful = None
        self._drop_hold()
        if not self._over:
            self._out.end()
        self._over = True
        self._space = ""

    def _text(self, text: str) -> None:
        # White space waits for what follows it, so that a reply neither begins nor ends with it.
        if not self._parts:
            text = text.lstrip()
            if not text:
                return
        if text[-1].isspace():
            shown = text.rstrip()
            if not shown:
                self._space += text
                return
            text, after = self._space + shown, text[len(shown) :]
            self._space = after
        elif self._space:
            text, self._space = self._space + text, ""
        self._write(text)

    def _write(self, text: str) -> None:
        if self._room.full or not (self._live or self._come_alive(text)):
            return
        text = self._room.take(text, self._parts)
        if not text:
            return
        if self.first_at is None:
            self.first_at = self._clock()
        self._parts.append(text)
        self._out.text(text)

    def _come_alive(self, text: str) -> bool:
        """Let out what waited for the first words; returns whether these may follow at once."""
        self._live = True
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._pass(event)
        if self._hold is None:
            return True
        # The game is asked before the first word; the white space after it stays behind it.
        self._hold.keep(Text(text + self._space))
        self._space = ""
        return False
