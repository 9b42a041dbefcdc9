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
from palaver.turn.tags import without_tags

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
Repeated = Literal["said", "objected", "unsaid", "refused"]
"""What became of a reply out of the dialogue cache."""
End = Literal["whole", "died", "refused"]
"""What became of a backend's reply: it is whole, it broke off, the game refused an action of it."""
RESCUES = 1
"""How often a model may end the line of another that died; then authored lines do."""
REFUSALS = 1
"""How often a model may go on after the game has refused an action; then authored lines do."""


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
        self._refusals = 0
        self._open = True
        """Whether the line was open, or without a word, when the game refused an action."""
        reply.when_refused = self._stop

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
                end = await self._speak(winner)
                if end == "whole":
                    return
                if end == "died":
                    rescues += 1
                if rescues > RESCUES or self._refusals > REFUSALS:
                    race.only_instants()
                if self._refusals > REFUSALS and not self._open:
                    # What was said stands for itself.
                    self._reply.finish()
                    return
            await self._nobody_left()
        except asyncio.CancelledError:
            race.cancel()
            raise

    async def _nobody_left(self) -> None:
        if self._refusals and not self._open:
            self._reply.finish()
        elif self._refusals:
            await self.last_words("nobody could go on with what the game refused")
        else:
            await self.last_words("every backend of the chain failed")

    async def repeat(self, raw: str, model: str | None, adapter: str | None) -> Repeated:
        """Say a reply again that a model gave before.

        Args:
            raw: What the model wrote, tags and all.
            model: The model.
            adapter: Its adapter, or None.

        Returns:
            Whether it was said; a check may have something against it, or a filter have taken it
            or not have come to its end. The game may have refused an action of it: then `run` goes
            on with what was said of it so far.
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
        try:
            confirmed = await self._reply.confirmed()
        except asyncio.CancelledError:
            self._race.trail.note(CACHE, "served", "the turn was cancelled")
            raise
        refusal = self._reply.refusal
        self._race.trail.note(CACHE, "served", None if refusal is None else refusal.reason)
        if not confirmed:
            self._turn.result.cached = False
            self._refused(None)
            return "refused"
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
            self._reply.begin()
            self._reply.show(Text(without_tags(words)))
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
        await self._reply.confirmed()

    async def _speak(self, attempt: Attempt) -> End:
        """Follow a reply to its end; returns what became of it."""
        reply, race = self._reply, self._race
        await race.over(attempt)
        if reply.refusal is None:
            await attempt.close()
            await reply.confirmed()
        broken = attempt.cut is not None or attempt.error is not None
        if reply.refusal is None and not broken:
            # The last sentences may hold an action that has to be confirmed too.
            reply.let_out(cut=self._cut(attempt))
            await reply.confirmed()
        race.trail.served(attempt)
        if reply.refusal is not None:
            race.end(attempt, "served", reply.refusal.reason)
            self._refused(attempt)
            return "refused"
        if broken:
            _, reason = failure(attempt)
            race.end(attempt, "died", reason)
            self._turn.result.status = "rescued"
            reply.close_sentence()
            return "died"
        self._whole(attempt)
        return "whole"

    def _stop(self) -> None:
        """Want no more of who speaks: the game has refused what all the rest is built on."""
        if self._race.winner is not None:
            self._race.winner.drop()

    def _refused(self, attempt: Attempt | None) -> None:
        """Let the line go on, once, knowing what the game has refused.

        Args:
            attempt: Who spoke so far; None for the dialogue cache.
        """
        refusal, reply = self._reply.refusal, self._reply
        assert refusal is not None
        filters = attempt.filters if attempt is not None else self._own
        if filters is not None:
            # One that waits may still be at work on what nobody is to hear.
            filters.redirect(_nothing, _nothing)
        self._refusals += 1
        # A filler alone answers nothing.
        self._open = not reply.whole or reply.length <= self._race.filled
        reply.close_sentence()
        if self._refusals <= REFUSALS:
            self._race.refused(attempt, refusal)

    def _cut(self, attempt: Attempt) -> bool:
        """Return whether a reply ends before its own end."""
        finish = attempt.finish
        too_long = finish is not None and finish.reason == "length" and not attempt.enough
        return self._reply.full or too_long or attempt.opening.objection is not None

    def _whole(self, attempt: Attempt) -> None:
        result, finish, objection = self._turn.result, attempt.finish, attempt.opening.objection
        note = finish.note if finish else None
        if objection is not None:
            note = OBJECTED + objection.reason
        self._race.end(attempt, "served", note)
        if self._cut(attempt):
            self._reply.cut_short()
            if result.status == "completed":
                result.status = "truncated"
        if result.status == "completed" and not attempt.entry.type.instant and attempt.alone:
            # What follows a refusal belongs to this turn alone.
            self._turn.raw = "".join(attempt.flight.pieces) if not self._refusals else None
        self._reply.finish()


def _nothing(_: object) -> None:
    """Show it to nobody."""
