"""Walking the chain: every turn gets words, in time, and a trail that says who spoke and why.

The race (`palaver.chain.race`) finds who is heard; here that reply is followed to its end. One that
dies after text was shown is rescued once: the open sentence is closed and the next backend goes on
with a new one. If nobody is left, the persona's last words are spoken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from palaver.chain.filler import MakeFilters
from palaver.chain.opening import Opening
from palaver.chain.race import RESERVE_S, Race
from palaver.chain.trail import failure
from palaver.turn.events import Text
from palaver.turn.model import OBJECTED, ServedBy

if TYPE_CHECKING:
    from palaver.chain.attempt import Attempt
    from palaver.chain.shared import Chain
    from palaver.turn.deliver import Reply
    from palaver.turn.filters import FilterChain
    from palaver.turn.model import Turn

__all__ = ["CACHE", "LAST_WORDS", "ChainRunner"]

LAST_WORDS = "last_words"
"""Name in the trail for the persona's last words."""
CACHE = "cache"
"""Name in the trail for a reply out of the dialogue cache."""
Repeated = Literal["said", "objected", "unsaid"]
"""What became of a reply out of the dialogue cache."""
RESCUES = 1
"""How often a model may end the line of another that died; then authored lines do."""


class ChainRunner:
    """Gets one turn spoken.

    Args:
        chain: What all turns share.
        turn: The turn; its prompt is there by the time `run` is called.
        reply: Where what is said is shown.
        make_filters: Makes the filters of one attempt.
    """

    def __init__(self, chain: Chain, turn: Turn, reply: Reply, make_filters: MakeFilters) -> None:
        self._chain, self._turn, self._reply = chain, turn, reply
        self._make_filters = make_filters
        self._race = Race(chain, turn, reply, make_filters)
        self._own: FilterChain | None = None

    async def run(self, names: Sequence[str]) -> None:
        """Ask the backends in order until one has spoken; sets status, trail and who served.

        Call `let_go` afterwards, whatever happened.

        Args:
            names: Backends in the order to try; names that are not configured are skipped.
        """
        entries = [self._chain.entries[name] for name in names if name in self._chain.entries]
        race = self._race
        race.line_up(entries)
        rescues = 0
        try:
            while (winner := await race.next_winner()) is not None:
                if await self._speak(winner):
                    return
                rescues += 1
                if rescues > RESCUES:
                    race.only_instants()
            await self.last_words("every backend of the chain failed")
        except asyncio.CancelledError:
            race.cancel()
            raise

    async def repeat(self, raw: str, model: str | None, adapter: str | None) -> Repeated:
        """Say a reply again that a model gave before.

        Args:
            raw: What the model wrote, tags and all.
            model: The model.
            adapter: Its adapter, or None.

        Returns:
            Whether it was said; a check may have something against it, or a filter have taken it
            or not have come to its end.
        """
        self._turn.authored = False
        # What was kept yesterday must pass what plugins check today; the core's own have seen it.
        checkers = self._race.checkers(plugins_only=True)
        opening = Opening(self._reply, checkers, lambda: None)
        self._own = self._make_filters(opening.show, opening.say)
        self._own.feed(raw)
        try:
            # In time for the authored lines, should a filter not come to its end.
            async with asyncio.timeout_at(self._turn.first_text_at - RESERVE_S):
                await self._own.finish()
        except TimeoutError:
            opening.drop()
            return "unsaid"
        opening.close()
        if opening.objection is not None:
            opening.drop()
            self._race.trail.note(CACHE, "objected", opening.objection.reason)
            return "objected"
        if not opening.passed:
            opening.drop()
            return "unsaid"
        self._reply.begin()
        opening.hear(self._own)
        self._turn.result.served_by = ServedBy(CACHE, CACHE, model, adapter)
        self._turn.result.cached = True
        self._race.trail.note(CACHE, "served")
        self._reply.finish()
        return "said"

    async def last_words(self, reason: str) -> None:
        """Speak the persona's last words, which also end a line that nobody could rescue.

        Args:
            reason: Why, for the trail.
        """
        before = self._reply.length
        words = self._turn.persona.front.last_words
        await self._say(words, authored=True)
        if self._reply.length == before:
            # A filter took even these; a turn without words would break the promise.
            self._reply.show(Text(words))
        self._turn.result.served_by = ServedBy(LAST_WORDS, LAST_WORDS)
        self._race.trail.note(LAST_WORDS, "served", reason)
        self._reply.finish()

    async def let_go(self) -> None:
        """Wait until every backend that was asked has let go; the turn is over by then."""
        await self._race.let_go()
        if self._own is not None:
            await self._own.abort()

    async def _say(self, text: str, *, authored: bool) -> None:
        self._reply.begin()
        self._turn.authored = authored
        self._own = self._make_filters(self._reply.show, self._reply.say)
        self._own.feed(text)
        await self._own.finish()

    async def _speak(self, attempt: Attempt) -> bool:
        """Follow a reply to its end; returns whether it is whole."""
        await self._race.over(attempt)
        await attempt.close()
        self._race.trail.served(attempt)
        if attempt.cut is not None or attempt.error is not None:
            _, reason = failure(attempt)
            self._race.end(attempt, "died", reason)
            self._turn.result.status = "rescued"
            self._reply.close_sentence()
            return False
        self._whole(attempt)
        return True

    def _whole(self, attempt: Attempt) -> None:
        result, finish, objection = self._turn.result, attempt.finish, attempt.opening.objection
        note = finish.note if finish else None
        if objection is not None:
            note = OBJECTED + objection.reason
        self._race.end(attempt, "served", note)
        cut = self._reply.full or (
            finish is not None and finish.reason == "length" and not attempt.enough
        )
        if cut or objection is not None:
            self._reply.cut_short()
        if result.status == "completed" and (cut or objection is not None):
            result.status = "truncated"
        if result.status == "completed" and not attempt.entry.type.instant and attempt.alone:
            self._turn.raw = "".join(attempt.flight.pieces)
        self._reply.finish()
