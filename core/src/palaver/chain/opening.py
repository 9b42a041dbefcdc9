"""The opening gate: the first words of a reply are held back until every check has passed.

Until then several backends may be at work on the same reply; the first whose opening passes is
heard. Afterwards only checkers that asked to go on see the text, at the end of each sentence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from palaver.chain.checks import GO, OK, WAIT, Checker, Objection
from palaver.turn.events import Event, Text
from palaver.turn.sentences import MARK, SentenceSplitter

if TYPE_CHECKING:
    from palaver.turn.deliver import Reply
    from palaver.turn.filters import FilterChain

__all__ = ["HOLD_CHARS", "HOLD_S", "Named", "Opening"]

log = logging.getLogger("palaver.plugins")

HOLD_CHARS = 80
"""Most characters that an opening is held back."""
HOLD_S = 0.5
"""Longest time that an opening is held back, in seconds, from its first character.

Checks say yes as early as they can, so this is for openings that look bad so far: "I'm sorry, but I
can't ..." has to be heard a little further.
"""

CLOSING_CHARS = 4
"""As far behind a mark its sentence may still be about to end: quotation marks and brackets."""

Named = tuple[str, Checker]
"""A checker with the name of its plugin."""


class Opening:
    """What one attempt wants to show.

    Args:
        reply: Where it is shown once it is heard.
        checkers: The checks, with their plugins' names.
        decided: Called once, when the opening has passed or was objected to.

    Attributes:
        passed: Whether every check has passed; the text may be shown.
        objection: What a check has against it, or None.
    """

    def __init__(
        self, reply: Reply, checkers: Sequence[Named], decided: Callable[[], None]
    ) -> None:
        self._reply = reply
        self._checkers = list(checkers)
        self._decided = decided
        self._held: list[Event] = []
        self._text = ""
        self._live = False
        self._timer: asyncio.TimerHandle | None = None
        self._splitter: SentenceSplitter | None = None
        self._filters: FilterChain | None = None
        self._quiet: list[str] = []
        """What was shown and looked at by nobody yet, for it ends no sentence."""
        self._after_mark = True
        self.passed = False
        self.objection: Objection | None = None

    def say(self, text: str) -> None:
        """Take a piece of text."""
        if self._live:
            self._go_on(text)
            return
        self._held.append(Text(text))
        self._text += text
        if not self.passed and self.objection is None and not self._text.isspace():
            self._judge()

    def show(self, event: Event) -> None:
        """Take one event."""
        if type(event) is Text:
            if event.text:
                self.say(event.text)
        elif self._live:
            self._reply.show(event)
        else:
            self._held.append(event)

    def close(self) -> None:
        """Take the end of the reply: whatever could not tell yet has to now."""
        if self._quiet:
            self._text += "".join(self._quiet)
            self._quiet.clear()
        if self.objection is None:
            self._ask(whole=True)
        if not self.passed:
            if self._text and not self._text.isspace():
                self._pass()
            else:
                self._settle()

    def hear(self, filters: FilterChain) -> None:
        """Show what was held, and from now on everything as it comes.

        Args:
            filters: What the text comes out of; where no check goes on, it is led past this.
        """
        self._live = True
        reply, held = self._reply, self._held
        self._held = []
        for event in held:
            reply.show(event)
        self._filters = filters
        if self._checkers:
            self._splitter = SentenceSplitter()
            self._splitter.feed(self._text)
        else:
            self._step_aside()

    def drop(self) -> None:
        """Forget it: another one is heard, or nobody."""
        self._settle()
        self._held.clear()

    def _judge(self) -> None:
        if self._ask(whole=False) or len(self._text) >= HOLD_CHARS:
            self._pass()
        elif self.objection is not None:
            self._settle()
            self._decided()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HOLD_S, self.hold_no_longer)

    def hold_no_longer(self) -> bool:
        """Let out what is held back, for it is time; returns whether there was anything."""
        if not self.passed and self.objection is None and self._text and not self._text.isspace():
            self._pass()
        return self.passed

    def _pass(self) -> None:
        if self.objection is not None:
            self._settle()
            self._decided()
            return
        self._settle()
        self.passed = True
        self._decided()

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self, *, whole: bool) -> bool:
        """Ask those that are not content yet; returns whether all would show it."""
        still: list[Named] = []
        show = True
        for name, checker in self._checkers:
            try:
                verdict: object = checker(self._text, whole)
            except Exception:
                log.exception("the check of plugin %s failed; the reply goes on without it", name)
                continue
            if verdict is OK:
                continue
            if verdict is WAIT:
                show = False
            elif isinstance(verdict, Objection):
                self.objection = verdict
                return False
            elif verdict is not GO:
                log.error(
                    "the check of plugin %s returned %.60r, which is no verdict; the reply goes on "
                    "without it",
                    name,
                    verdict,
                )
                continue
            still.append((name, checker))
        self._checkers = still
        return show

    def _go_on(self, text: str) -> None:
        """Show text that comes after the opening, and ask again at the end of a sentence."""
        if self.objection is not None:
            return
        if self._splitter is None:
            self._reply.say(text)
        elif self._after_mark or MARK.search(text) is not None:
            self._by_sentences(self._splitter, text)
        else:
            # Most pieces end no sentence, and this is done for every one of them.
            self._quiet.append(text)
            self._reply.say(text)

    def _by_sentences(self, splitter: SentenceSplitter, text: str) -> None:
        quiet = "".join(self._quiet)
        self._quiet.clear()
        # White space after a mark, and what closes a quotation between them, may come alone.
        self._after_mark = MARK.search(text, max(0, len(text) - CLOSING_CHARS)) is not None
        before = len(self._text) + len(quiet)
        self._text += quiet + text
        ended = splitter.feed(quiet + text)
        if ended:
            # What comes after the sentence waits for the verdict on it.
            end = max(0, ended[-1].start + len(ended[-1].text) - before)
            if end:
                self._reply.say(text[:end])
            text = text[end:]
            self._ask(whole=False)
            if self.objection is not None:
                return
        if text:
            self._reply.say(text)
        if ended and not self._checkers:
            self._step_aside()

    def _step_aside(self) -> None:
        """Nobody checks any more: the filters show what they let out themselves."""
        self._splitter, self._text = None, ""
        self._quiet.clear()
        if self._filters is not None:
            self._filters.redirect(self._reply.show, self._reply.say)
