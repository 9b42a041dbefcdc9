"""Holding back sentences that may never be finished.

A reply that comes near its longest length is shown sentence by sentence, so that a cut falls
between two of them and not into the middle of one.
"""

from __future__ import annotations

from palaver.turn.events import Event, Text
from palaver.turn.sentences import SentenceSplitter

__all__ = ["Careful"]


class Careful:
    """Lets the open sentence flow to its end, and what follows out by whole sentences.

    Args:
        before: The end of what was shown, which may be an open sentence.
    """

    def __init__(self, before: str) -> None:
        self._splitter = SentenceSplitter()
        found = self._splitter.feed(before)
        self._fed = len(before)
        self._free = self._fed
        """Offset up to which everything may be shown."""
        ended = found[-1].start + len(found[-1].text) if found else 0
        # The last sentence is over where nothing but white space follows it.
        self._flowing = ended < len(before.rstrip())
        self._held: list[tuple[int, Event]] = []

    def feed(self, event: Event) -> list[Event]:
        """Take an event and return what may be shown now."""
        if type(event) is not Text:
            if self._flowing or not self._held:
                return [event]
            self._held.append((self._fed, event))
            return []
        start = self._fed
        self._fed += len(event.text)
        sentences = self._splitter.feed(event.text)
        if sentences:
            self._free = sentences[-1].start + len(sentences[-1].text)
        if self._flowing:
            if not sentences:
                return [event]
            self._flowing = False
        self._held.append((start, event))
        return self._ready()

    def rest(self) -> list[Event]:
        """Return what is held back, and hold nothing any more."""
        held, self._held = self._held, []
        return [event for _, event in held]

    def _ready(self) -> list[Event]:
        ready: list[Event] = []
        while self._held:
            start, event = self._held[0]
            if type(event) is not Text:
                if start > self._free:
                    break
                ready.append(event)
            elif start + len(event.text) <= self._free:
                ready.append(event)
            elif start < self._free:
                cut = self._free - start
                ready.append(Text(event.text[:cut]))
                self._held[0] = (self._free, Text(event.text[cut:]))
                break
            else:
                break
            self._held.pop(0)
        return ready
