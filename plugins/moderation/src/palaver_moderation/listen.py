"""What is done about what a player says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from palaver_moderation.npc import UNCHECKED
from palaver_moderation.rules import Hit, Rules
from palaver_moderation.said import OVERLAP, SLICE, Said, in_slices, masked, pieces

if TYPE_CHECKING:
    from palaver.turn.model import Turn
    from palaver_moderation.config import ModerationSettings
    from palaver_moderation.remote import Remote

__all__ = ["Listener"]

LATE = "moderation: what was said could not be looked at within limits.hook_ms"
AT_ONCE_S = 0.002
"""For how long others wait while much is looked at."""
ASKED_TOGETHER = 8
"""Texts of one turn that the service is asked about at the same time."""
MAX_NOTED = 10_000
"""Turns under way whose categories are known."""

Tell: TypeAlias = "Callable[[Turn, str, Mapping[str, str], Sequence[Hit]], None]"
"""Takes the turn, who spoke, what was done by category, and what was found."""


class Listener:
    """Looks at what players say, and refuses, masks or notes it.

    Args:
        settings: The settings.
        remote: The service, or None where it is not asked about players.
        tell: Counts and logs what was found.
    """

    def __init__(self, settings: ModerationSettings, remote: Remote | None, tell: Tell) -> None:
        self._settings, self._remote, self._tell = settings, remote, tell
        self._noted: dict[int, tuple[str, ...]] = {}

    def noted(self, turn: Turn) -> Sequence[str]:
        """Return the categories of what was said in a turn that is under way."""
        return self._noted.get(id(turn), ())

    def forget(self, turn: Turn) -> None:
        """Forget a turn that is over."""
        self._noted.pop(id(turn), None)

    def listen(self, turn: Turn, rules: Rules) -> Awaitable[None] | None:
        """Look at what is said in a turn, and at what its client says was said before.

        Args:
            turn: The turn.
            rules: What is looked for.

        Returns:
            What has to be awaited, where it takes its time.
        """
        said = Said(turn)
        if not any(said.parts):
            return None
        if said.length > SLICE + OVERLAP:
            return self._long(turn, said, rules)
        for _ in self._search(turn, said, rules):
            pass
        if turn.refused is not None or self._remote is None:
            return None
        return self._ask(turn, said, self._remote)

    async def _long(self, turn: Turn, said: Said, rules: Rules) -> None:
        """Look at much that is said, and let others work meanwhile."""
        # Whoever is late is left behind: until all of it was looked at, no model may see it.
        turn.refused = LATE
        begun = perf_counter()
        for _ in self._search(turn, said, rules):
            if perf_counter() - begun > AT_ONCE_S:
                await asyncio.sleep(0)
                begun = perf_counter()
        if turn.refused == LATE:
            turn.refused = None
            if self._remote is not None:
                await self._ask(turn, said, self._remote)

    def _search(self, turn: Turn, said: Said, rules: Rules) -> Iterator[None]:
        """Look for words and patterns; yields where others may work."""
        before = turn.refused
        for index, text in enumerate(said.parts):
            hits: list[Hit] = []
            for found in in_slices(rules, text):
                hits += found
                yield
            if hits:
                said.put(index, self._without(turn, text, hits, now=index >= said.first_now))
                if turn.refused != before:
                    return
        said.write()

    def _without(self, turn: Turn, text: str, hits: Sequence[Hit], *, now: bool) -> str:
        """Do what the settings say about what a player said; returns what is left of it.

        Args:
            turn: The turn.
            text: What was said.
            hits: What was found in it.
            now: Whether it is said now. What was said in an earlier turn is masked where it would
                be refused, so that a talk can go on.
        """
        done = {hit.category: self._settings.player_action(hit.category) for hit in hits}
        hidden = [hit for hit in hits if done[hit.category] != "allow"]
        if now:
            self._tell(turn, "player", done, hits)
            if len(self._noted) < MAX_NOTED:
                self._noted[id(turn)] = (*self._noted.get(id(turn), ()), *done)
            refused = sorted(name for name, action in done.items() if action == "refuse")
            if refused:
                turn.refuse(f"moderation: {', '.join(refused)}")
                return text
        return masked(text, hidden, self._settings.mask) if hidden else text

    async def _ask(self, turn: Turn, said: Said, remote: Remote) -> None:
        """Ask the service about what a player said, first about what is said now."""
        closed = remote.settings.players_without == "closed"
        if closed:
            # Should this be left behind, it is as if the service did not answer.
            turn.refused = UNCHECKED
        for now in (True, False):
            indexes = [
                index
                for index, text in enumerate(said.parts)
                if text.strip() and (index >= said.first_now) is now
            ]
            for at in range(0, len(indexes), ASKED_TOGETHER):
                some = indexes[at : at + ASKED_TOGETHER]
                verdicts = await asyncio.gather(
                    *(self._verdict(remote, said.parts[index]) for index in some)
                )
                for index, found in zip(some, verdicts, strict=True):
                    if not self._judge(turn, said, index, found, closed=closed):
                        return
                said.write()
        if closed:
            turn.refused = None

    async def _verdict(self, remote: Remote, text: str) -> frozenset[str] | None:
        """Return what the service says of a text, or None where it does not answer."""
        found: frozenset[str] = frozenset()
        for piece in pieces(text):
            categories = await remote.categories(piece)
            if categories is None:
                return None
            found |= categories
        return found

    def _judge(
        self, turn: Turn, said: Said, index: int, found: frozenset[str] | None, *, closed: bool
    ) -> bool:
        """Do what the settings say about a verdict; returns whether to go on."""
        if found is None:
            if UNCHECKED not in turn.trace:
                turn.note(UNCHECKED)
            if closed:
                self._tell(turn, "player", {"unknown": "refuse"}, ())
                turn.refuse(UNCHECKED)
            return not closed
        if found:
            # It says nothing of where; what is masked is all of it.
            text, before = said.parts[index], turn.refused
            hits = [Hit(name, 0, len(text), text, "service") for name in sorted(found)]
            said.put(index, self._without(turn, text, hits, now=index >= said.first_now))
            return turn.refused == before
        return True
