"""What NPCs say: a check as it is spoken, or a filter that lets out whole sentences only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from palaver.chain.checks import GO, WAIT, Checker, Objection, Verdict
from palaver.turn.events import Event, Stop, Text

if TYPE_CHECKING:
    from palaver_moderation.remote import Remote
    from palaver_moderation.rules import Hit, Rules

__all__ = ["UNCHECKED", "Objects", "Stopper", "checker"]

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
        least = max(0, begin - OVERLAP)
        while begin > least and text[begin - 1].isalnum():
            begin -= 1
        part = text[begin:]
        found = rules.find(part)
        # The last word may go on, and be a harmless one.
        goes_on = len(part) if not whole and part[-1:].isalnum() else None
        hits = [hit for hit in found if hit.end != goes_on]
        if found and not hits:
            return WAIT
        seen = len(text)
        new = [hit for hit in hits if (hit.category, hit.text) not in known]
        known.update((hit.category, hit.text) for hit in new)
        reason = objects(dict.fromkeys(hit.category for hit in new), new) if new else None
        return GO if reason is None else Objection(reason)

    return check


class Stopper:
    """A filter for a strict tier: a sentence is shown when it is checked, or the line ends.

    A filter that is late is taken out, and what it held is shown. The service has a limit of its
    own, so that this one is not; where the machine is so slow that it is all the same, it ends the
    line as it is taken out.

    Args:
        rules: What is looked for.
        objects: What is done about it.
        remote: The service, or None.
    """

    def __init__(self, rules: Rules, objects: Objects, remote: Remote | None) -> None:
        self._rules, self._objects, self._remote = rules, objects, remote
        self._before = ""
        self._asking = False

    async def feed(self, event: Event, /) -> Iterable[Event]:
        """Take a sentence, or any other event."""
        if not isinstance(event, Text):
            return (event,)
        # What was said before may be the first half of a phrase.
        before = self._before
        begin = len(before) + 1 if before else 0
        said = f"{before} {event.text}" if before else event.text
        self._before = said if len(said) <= OVERLAP else said[-OVERLAP:].partition(" ")[2]
        hits = [hit for hit in self._rules.find(said) if hit.end > begin]
        if hits and (why := self._objects(dict.fromkeys(hit.category for hit in hits), hits)):
            return (Stop(why),)
        if self._remote is None:
            return (event,)
        self._asking = True
        found = await self._remote.categories(event.text)
        self._asking = False
        if found is None:
            return (Stop(UNCHECKED),) if self._closed else (event,)
        if found and (why := self._objects(sorted(found), ())):
            return (Stop(why),)
        return (event,)

    async def flush(self) -> Iterable[Event]:
        """Let out nothing: sentences come whole, and one that is asked about is not shown."""
        return (Stop(UNCHECKED),) if self._asking and self._closed else ()

    @property
    def _closed(self) -> bool:
        return self._remote is not None and self._remote.settings.npcs_without == "closed"
