"""What NPCs say: a check as it is spoken, or a filter that lets out whole sentences only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from palaver.chain.checks import GO, WAIT, Checker, Objection, Verdict
from palaver.turn.events import Event, Stop, Text

if TYPE_CHECKING:
    from palaver_moderation.remote import Remote
    from palaver_moderation.rules import Hit, Rules

__all__ = ["Objects", "Stopper", "checker"]

Objects = Callable[[Iterable[str], "Sequence[Hit]"], str | None]
"""Takes categories and what was found, and says why the NPC has to stop, or None."""

OVERLAP = 120
"""Characters before what is new that are looked at again: a phrase may stand across."""
UNCHECKED = "moderation: the service did not answer"


def checker(rules: Rules, objects: Objects) -> Checker:
    """Return a checker for a tier that holds nothing back but the opening.

    Args:
        rules: What is looked for.
        objects: What is done about it.
    """
    seen = 0
    known: set[tuple[str, str]] = set()

    def check(text: str, whole: bool) -> Verdict:
        nonlocal seen
        begin = max(0, seen - OVERLAP)
        # Not in the middle of a word, or the rest of one is taken for another.
        while begin and text[begin - 1].isalnum():
            begin -= 1
        part = text[begin:]
        hits = rules.find(part)
        if not hits:
            seen = len(text)
            return GO
        if not whole and hits[-1].end == len(part) and part[-1].isalnum():
            # The word may go on, and be a harmless one.
            return WAIT
        new = [hit for hit in hits if (hit.category, hit.text) not in known]
        known.update((hit.category, hit.text) for hit in new)
        seen = len(text)
        reason = objects(dict.fromkeys(hit.category for hit in new), new) if new else None
        return GO if reason is None else Objection(reason)

    return check


class Stopper:
    """A filter for a strict tier: a sentence is shown when it is checked, or the line ends.

    It is never late, for a filter that is would be taken out: the service has a limit of its own.

    Args:
        rules: What is looked for.
        objects: What is done about it.
        remote: The service, or None.
    """

    def __init__(self, rules: Rules, objects: Objects, remote: Remote | None) -> None:
        self._rules, self._objects, self._remote = rules, objects, remote
        self._before = ""

    async def feed(self, event: Event, /) -> Iterable[Event]:
        """Take a sentence, or any other event."""
        if not isinstance(event, Text):
            return (event,)
        # What was said before may be the first half of a phrase.
        before = self._before
        begin = len(before) + 1 if before else 0
        said = f"{before} {event.text}" if before else event.text
        self._before = said[-OVERLAP:].partition(" ")[2]
        hits = [hit for hit in self._rules.find(said) if hit.end > begin]
        if hits and (why := self._objects(dict.fromkeys(hit.category for hit in hits), hits)):
            return (Stop(why),)
        if self._remote is None:
            return (event,)
        found = await self._remote.categories(event.text)
        if found is None:
            closed = self._remote.settings.npcs_without == "closed"
            return (Stop(UNCHECKED),) if closed else (event,)
        if found and (why := self._objects(sorted(found), ())):
            return (Stop(why),)
        return (event,)

    async def flush(self) -> Iterable[Event]:
        """Nothing is held back: sentences come whole."""
        return ()
