"""The race for one turn's words: who is asked when, who goes on beside whom, who is heard.

Backends are asked in the tier's order. One that fails, refuses or is objected to hands over at
once. A late one goes on while the next starts beside it, as long as there is hedge budget; else it
is dropped and replaced. The first whose opening passes the checks is heard, and the others are
cancelled. What answers from memory (`instant`) never races: it speaks when all before it have
failed, or just before the first text is due.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from palaver.chain.attempt import Attempt, Limits
from palaver.chain.backend import Purpose
from palaver.chain.filler import INSTANT_S, MakeFilters, speak_filler
from palaver.chain.lineup import LineUp
from palaver.chain.request import build_request, flight_key, urgency_of
from palaver.chain.trail import Trail, failure
from palaver.errors import BackendError, BackendUnauthorized, PromptTooLong
from palaver.hookcalls import CORE

if TYPE_CHECKING:
    from palaver.chain.opening import Named, Opening
    from palaver.chain.servers import Entry, Server
    from palaver.chain.shared import Chain
    from palaver.turn.confirm import Refusal
    from palaver.turn.deliver import Reply
    from palaver.turn.filters import FilterChain
    from palaver.turn.model import Outcome, Turn

__all__ = ["Race"]

log = logging.getLogger("palaver.chain")

RESERVE_S = 0.03
"""Kept free before the first text is due, for an instant backend to speak, in seconds."""
LEAST_S = 0.005
"""A backend is not asked when it would have less time than this, in seconds."""


class Race:
    """The attempts of one turn.

    Args:
        chain: What all turns share.
        turn: The turn.
        reply: Where what is said is shown.
        make_filters: Makes the filters of one attempt.

    Attributes:
        attempts: All attempts so far.
        winner: The one that is heard, or None.
        filled: Characters of the reply that are a filler.
    """

    def __init__(self, chain: Chain, turn: Turn, reply: Reply, make_filters: MakeFilters) -> None:
        self.reply = reply
        self.trail = Trail(turn, chain.governor)
        self.attempts: list[Attempt] = []
        self.winner: Attempt | None = None
        self.filled = 0
        self._chain, self._turn, self._make_filters = chain, turn, make_filters
        self._loop = asyncio.get_running_loop()
        self._lineup = LineUp()
        self._running: list[Attempt] = []
        self._losers: list[Attempt] = []
        self._wake: asyncio.Future[None] = self._loop.create_future()
        self._earned = False
        self._hurry = False
        """Whether only instant backends may still be asked."""
        self._rescuing = False
        self._refusal: Refusal | None = None
        self._filling = False
        self._filler_at: float | None = None
        """When the filler is due; None when there is none, or it was spoken."""
        self._words_by = 0.0

    def line_up(self, entries: Sequence[Entry]) -> None:
        """Say who may be asked; the turn's limits are set by now.

        Args:
            entries: Backends in the order to try.
        """
        turn = self._turn
        self._lineup.extend(entries)
        self._words_by = turn.first_text_at - RESERVE_S
        if turn.tier.filler_ms is not None and self._lineup.instants:
            self._filler_at = turn.begun_at + turn.tier.filler_ms / 1000

    async def next_winner(self) -> Attempt | None:
        """Ask backends until the opening of one has passed; None when nobody is left."""
        self.winner = None
        self._rescuing = bool(self.reply.length)
        if self._rescuing:
            self._call_back()
            # The line is open: a rescue may take as long as a first token may.
            self._words_by = self._turn.ends_at - RESERVE_S
        elif self._refusal is not None:
            # Still without a word; what the game took does not count.
            due = self._turn.first_text_at + self._turn.game_ms / 1000
            self._words_by = min(due, self._turn.ends_at) - RESERVE_S
        while True:
            if self._wake.done():
                self._wake = self._loop.create_future()
            await self._harvest()
            if (winner := self._heard()) is not None:
                return winner
            now = self._loop.time()
            if self._filler_at is not None and now >= self._filler_at:
                await self._fill(now)
                continue
            if now >= self._words_by and not self._hurry:
                self._out_of_time()
                if (winner := self._heard()) is not None:
                    return winner
            if all(one.late for one in self._running):
                if self._rescuing and self._lineup.authored:
                    # Nobody waits longer than that in the middle of a line.
                    for attempt in list(self._running):
                        self._drop_late(attempt)
                if self._start_next(now):
                    continue
            if not self._running:
                return None
            await self._wait()

    def refused(self, attempt: Attempt | None, refusal: Refusal) -> None:
        """Let the line go on knowing what the game refused; who spoke so far is asked first.

        Args:
            attempt: Who spoke; None for the dialogue cache.
            refusal: What the game refused.
        """
        self._refusal = refusal
        if attempt is None or not attempt.entry.type.instant:
            # It spoke in time; the time for the first words is not what ended it.
            self._hurry = False
        self._call_back()
        if attempt is not None:
            self._lineup.call_back(attempt.entry, attempt.server)

    def _call_back(self) -> None:
        """Let those who lost to the one that died speak after all."""
        for loser in self._losers:
            self._lineup.call_back(loser.entry, loser.server)
        self._losers.clear()

    async def over(self, attempt: Attempt) -> None:
        """Wait until an attempt has ended."""
        while not attempt.over:
            if self._wake.done():
                self._wake = self._loop.create_future()
            await self._wake

    def only_instants(self) -> None:
        """Ask no model any more."""
        self._losers.clear()
        self._lineup.only_instants()

    def cancel(self) -> None:
        """Give all up because the turn was cancelled, and say so in the trail."""
        winner = self.winner
        if winner is not None and winner in self._running:
            self.trail.served(winner)
            winner.drop()
            self.end(winner, "served", "the turn was cancelled")
        for attempt in list(self._running):
            attempt.drop()
            self.end(attempt, "skipped", "the turn was cancelled")

    def end(self, attempt: Attempt, outcome: Outcome, reason: str | None = None) -> None:
        """Take an attempt out and say in the trail what became of it."""
        self._running.remove(attempt)
        self.trail.close(attempt, outcome, reason)

    async def let_go(self) -> None:
        """Wait until every server has let go."""
        for attempt in self.attempts:
            attempt.drop()
        if len(self.attempts) == 1:
            await self.attempts[0].let_go()
        else:
            # Together: the NPC's next turn waits for the slowest of them, not for their sum.
            await asyncio.gather(*(attempt.let_go() for attempt in self.attempts))

    # What an attempt asks and tells; see `palaver.chain.attempt.Host`.

    def checkers(self, *, plugins_only: bool = False) -> list[Named]:
        """Return new checkers of an opening.

        Args:
            plugins_only: Whether to leave out the core's own.
        """
        found: list[Named] = []
        for call in self._chain.checks:
            if plugins_only and call.plugin == CORE:
                continue
            try:
                checker = call(turn=self._turn)
            except Exception:
                log.exception("plugin %s failed in %s", call.plugin, call.hook)
                self._turn.note(f"plugin {call.plugin} failed in {call.hook}")
                continue
            if checker is not None:
                found.append((call.plugin, checker))
        return found

    def filters(self, opening: Opening, *, authored: bool) -> FilterChain:
        """Return new filters whose text goes into an opening."""
        self._turn.authored = authored
        return self._make_filters(opening.show, opening.say)

    def passed(self, attempt: Attempt) -> None:
        """Hear the first attempt whose opening has passed; the others have lost."""
        if self.winner is None and not self._filling and attempt in self._running:
            self.winner = attempt
            for other in list(self._running):
                if other is not attempt:
                    other.drop()
                    by = attempt.name if attempt.name != other.name else attempt.server.name
                    self.end(other, "lost", f"{by} was faster")
                    self._losers.append(other)
            self.reply.begin()
            attempt.hear()
        self.news()

    def news(self) -> None:
        """Look at the race again."""
        if not self._wake.done():
            self._wake.set_result(None)

    # The race itself.

    async def _wait(self) -> None:
        # Once nobody but authored lines may speak, each attempt's own limit is all there is to wait
        # for: a timer for what is past would go off at once, again and again.
        due = [] if self._hurry else [self._words_by]
        if self._filler_at is not None:
            due.append(self._filler_at)
        timer = self._loop.call_at(min(due), self.news) if due else None
        try:
            await self._wake
        finally:
            if timer is not None:
                timer.cancel()

    def _heard(self) -> Attempt | None:
        return self.winner

    async def _harvest(self) -> None:
        """Take out what has ended without being heard, and see who may come in its place."""
        for attempt in list(self._running):
            if self._heard() is not None:
                return
            whole = attempt.over and attempt.error is None and attempt.cut is None
            if whole and not attempt.opening.passed and not await attempt.close_soon():
                # What was held back may be all there is, and good enough; the clock goes on.
                continue
            if self._heard() is not None:
                return
            if attempt.opening.passed:
                # It passed while a filler was spoken.
                self.passed(attempt)
            elif attempt.opening.objection is not None:
                attempt.drop()
                self.end(attempt, "objected", attempt.opening.objection.reason)
                self._lineup.again(attempt.entry, attempt.server, self._turn.tier.retries)
            elif attempt.over:
                self._failed(attempt)
            elif attempt.late and attempt.entry.type.instant:
                self._drop_late(attempt)
            elif attempt.late:
                self._lineup.another_server_later(attempt.entry)

    def _failed(self, attempt: Attempt) -> None:
        outcome, reason = failure(
            attempt,
            "nothing in its reply could be shown" if attempt.flight.chars else "answered nothing",
        )
        self.end(attempt, outcome, reason)
        if not isinstance(attempt.error, PromptTooLong | BackendUnauthorized) and isinstance(
            attempt.error, BackendError
        ):
            # Another of its servers may be well; the same one is not asked again.
            self._lineup.another_server(attempt.entry)

    def _out_of_time(self) -> None:
        """The first text is due: drop what is not heard yet, and let authored lines speak."""
        self._hurry = True
        for attempt in list(self._running):
            if attempt.opening.hold_no_longer():
                # It was held back, and is better than any line that answers nothing.
                return
        for attempt in list(self._running):
            if not attempt.entry.type.instant:
                self._drop_late(attempt)
        while self._lineup and not self._lineup.first.type.instant:
            self._skip("no time left for it")

    def _drop_late(self, attempt: Attempt, because: str = "") -> None:
        attempt.drop()
        waited_ms = (self._loop.time() - attempt.asked_at) * 1000
        what = "no first token" if attempt.first is None else "nothing to show"
        self.end(attempt, "late", f"{what} within {waited_ms:.0f} ms{because}")

    def _start_next(self, now: float) -> bool:
        """Ask the next backend that can be asked; returns whether there was one."""
        lineup = self._lineup
        while lineup:
            entry = lineup.first
            name = entry.backend.name
            if entry.type.instant:
                if self._running:
                    return False
                return self._ask(entry, entry.servers[0], now, now + INSTANT_S)
            limit = min(now + self._turn.tier.first_token_s(name), self._words_by)
            if self._hurry or limit - now < LEAST_S:
                self._skip("no time left for it")
                continue
            tried = lineup.tried(name)
            server = entry.pick(self._turn.persona.front.adapter, tried)
            if server is None:
                if tried:
                    lineup.pop()
                else:
                    self._skip(entry.why_not())
                continue
            if self._ask(entry, server, now, limit):
                return True
        return False

    def _skip(self, reason: str) -> None:
        self.trail.note(self._lineup.pop().backend.name, "skipped", reason)

    def _ask(self, entry: Entry, server: Server, now: float, limit: float) -> bool:
        """Ask a server of the backend that is next; returns whether it may be asked."""
        turn, chain, name = self._turn, self._chain, entry.backend.name
        self._lineup.pop()
        retry = self._lineup.retries(name)
        # After a filler the player still waits for an answer; only a line that broke off is closed.
        going_on = self._rescuing or self._refusal is not None
        purpose: Purpose = "closing" if entry.type.instant and going_on else "reply"
        request = build_request(
            turn,
            entry,
            shown=self.reply.text,
            purpose=purpose,
            retry=retry,
            refusal=self._refusal,
        )
        key = flight_key(entry, request, retry)
        urgency = urgency_of(turn)
        flight = chain.flights.find(key, urgency, turn.ends_at) if key is not None else None
        if flight is not None and flight.server in self._lineup.tried(name):
            flight = None  # its own, for which it waited in vain
        own, reservation = flight is None, None
        if own and chain.governor is not None and not entry.type.instant:
            answer = chain.governor.reserve(turn, name, request)
            if isinstance(answer, str):
                self.trail.note(name, "refused", answer)
                return False
            reservation = answer
        if not entry.type.instant:
            self._make_room()
        if flight is None:
            flight = chain.flights.open(key, server, request, urgency)
        attempt = Attempt(
            entry,
            flight,
            Limits(
                limit,
                min(turn.tier.first_token_s(name), turn.tier.first_text_ms / 1000 - RESERVE_S),
                turn.tier.stall_ms / 1000,
                max(turn.ends_at, now + INSTANT_S),
            ),
            own=own,
            reservation=reservation,
            request=request,
            max_tokens=request.sampling.max_tokens or turn.tier.max_tokens,
            host=self,
        )
        self._lineup.asked(name, flight.server)
        self.attempts.append(attempt)
        self._running.append(attempt)
        attempt.start()
        return True

    def _make_room(self) -> None:
        """Let the late ones go on beside the next if there is budget for that, else drop them."""
        hedges = self._chain.hedges
        if not self._earned:
            self._earned = True
            hedges.earn()
        if self._running and not hedges.take():
            for attempt in list(self._running):
                self._drop_late(attempt, ", and no hedge was left")

    async def _fill(self, now: float) -> None:
        """Speak an authored filler while backends work; it buys them the same time again."""
        self._filler_at = None
        if self.reply.length or self._hurry:
            return
        self._filling = True
        try:
            spoken = await speak_filler(
                self._turn, self._lineup.instants, self.reply, self._make_filters, self._words_by
            )
        finally:
            self._filling = False
        if spoken is not None:
            self.filled = self.reply.length
            self.trail.note(spoken, "served", "filler")
            wait_s = self._turn.first_text_at - self._turn.begun_at
            self._words_by = min(now + wait_s, self._turn.ends_at) - RESERVE_S
