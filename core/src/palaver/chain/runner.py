"""Walking the chain: every turn gets words, in time, and a trail that says who spoke and why.

Backends are asked in the tier's order. One that fails or refuses before any text was shown hands
over at once; one that misses its first-token limit is dropped and replaced. What answers from
memory (`instant`) never races: it speaks when all before it have failed, or just before the
first text is due. If even that fails, the persona's last words are spoken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from palaver.chain.attempt import Attempt, Entry
from palaver.chain.backend import GenerateRequest, Sampling
from palaver.errors import BackendError, BackendRefused, BackendTimeout
from palaver.prompt.trim import budget_chars, trim
from palaver.turn.events import Text
from palaver.turn.model import PRIORITIES, Outcome, ServedBy
from palaver.turn.model import Attempt as TrailEntry

if TYPE_CHECKING:
    from palaver.turn.deliver import Reply
    from palaver.turn.filters import FilterChain
    from palaver.turn.model import Turn

__all__ = ["LAST_WORDS", "ChainRunner"]

log = logging.getLogger("palaver.chain")

LAST_WORDS = "last_words"
"""Name in the trail for the persona's last words."""
RESERVE_S = 0.03
"""Kept free before the first text is due, for an instant backend to speak, in seconds."""
LEAST_S = 0.005
"""A backend is not asked when it would have less time than this, in seconds."""
INSTANT_S = 0.5
"""Time for an instant backend, in seconds: far more than it needs, and a bound all the same."""


class ChainRunner:
    """Gets one turn spoken.

    Args:
        turn: The turn; its prompt is there by the time `run` is called.
        entries: Configured backends by name.
        reply: Where what is said is shown.
        make_filters: Makes the filters of one attempt.
    """

    def __init__(
        self,
        turn: Turn,
        entries: Mapping[str, Entry],
        reply: Reply,
        make_filters: Callable[[], FilterChain],
    ) -> None:
        self._turn = turn
        self._entries = entries
        self._reply = reply
        self._make_filters = make_filters
        self._loop = asyncio.get_running_loop()
        self._attempts: list[Attempt] = []
        self._current: Attempt | None = None
        """The attempt that is not in the trail yet."""
        self._shown_before = 0
        self._filters: FilterChain | None = None

    async def run(self, names: Sequence[str]) -> None:
        """Ask the backends in order until one has spoken; sets status, trail and who served.

        Call `let_go` afterwards, whatever happened.

        Args:
            names: Backends in the order to try; names that are not configured are skipped.
        """
        try:
            for name in names:
                entry = self._entries.get(name)
                if entry is not None and await self._ask(entry):
                    return
            await self.last_words("every backend of the chain failed")
        except asyncio.CancelledError:
            self._cancelled()
            raise

    async def let_go(self) -> None:
        """Wait until every backend that was asked has let go; the turn is over by then."""
        for attempt in self._attempts:
            if not attempt.task.done():
                attempt.drop()
        for attempt in self._attempts:
            await attempt.gone()
        if self._filters is not None:
            await self._filters.abort()

    async def last_words(self, reason: str) -> None:
        """Speak the persona's last words, unless text was shown already."""
        if not self._reply.length:
            self._reply.begin()
            self._filters = self._make_filters()
            self._filters.feed(self._turn.persona.front.last_words)
            await self._filters.finish()
            if not self._reply.length:
                # A filter took even these; a turn without words would break the promise.
                self._reply.show(Text(self._turn.persona.front.last_words))
            self._turn.result.served_by = ServedBy(LAST_WORDS, LAST_WORDS)
            self._trail(LAST_WORDS, "served", reason)
        self._reply.finish()

    async def _ask(self, entry: Entry) -> bool:
        """Ask one backend; returns whether the reply is over."""
        name = entry.backend.name
        now = self._loop.time()
        if entry.type.instant:
            limit = max(now, min(self._turn.first_text_at, self._turn.ends_at)) + INSTANT_S
        else:
            limit = min(
                now + self._turn.tier.first_token_s(name), self._turn.first_text_at - RESERVE_S
            )
            if self._reply.length:
                # The line is open: a rescue may take as long as a first token may.
                limit = min(now + self._turn.tier.first_token_s(name), self._turn.ends_at)
            if limit - now < LEAST_S:
                self._trail(name, "skipped", "no time left for it")
                return False
        attempt = self._current = Attempt(entry, self._request(entry))
        self._attempts.append(attempt)
        self._shown_before = self._reply.length
        # A plain timer: it is cheaper than a time limit around the wait, and just as final.
        timer = self._loop.call_at(limit, attempt.too_late)
        try:
            await attempt.first
        finally:
            timer.cancel()
        if attempt.late:
            self._trail(name, "late", BackendTimeout(name, "first_token", limit - now).reason)
            return False
        if not attempt.has_text:
            await attempt.ended
            self._failed(attempt)
            return False
        return await self._speak(attempt)

    async def _speak(self, attempt: Attempt) -> bool:
        """Show an attempt's text to its end; returns whether the reply is over."""
        filters = self._filters = self._make_filters()
        reply = self._reply
        reply.begin()

        def take(text: str) -> bool:
            filters.feed(text)
            return filters.stopped is None and not reply.full

        attempt.accept(take)
        cut = await self._until_end(attempt)
        if cut is not None and not self._has_shown():
            # What its filters still hold would come too late.
            await filters.abort()
            self._trail(attempt.entry.backend.name, "late", cut)
            return False
        await filters.finish()
        if attempt.finish is not None:
            usage = self._turn.result.usage
            usage.prompt_tokens += attempt.finish.prompt_tokens or 0
            usage.completion_tokens += attempt.finish.completion_tokens or 0
        if not self._has_shown():
            self._failed(attempt, "nothing in its reply could be shown")
            return False
        self._served(attempt)
        if cut is not None or attempt.error is not None:
            return self._died(attempt, cut)
        self._whole(attempt)
        return True

    def _has_shown(self) -> bool:
        """Return whether the attempt at work has shown any text."""
        return self._reply.length > self._shown_before

    def _whole(self, attempt: Attempt) -> None:
        name, finish = attempt.entry.backend.name, attempt.finish
        self._trail(name, "served", finish.note if finish else None)
        length = self._reply.full or (
            finish is not None and finish.reason == "length" and not attempt.enough
        )
        if length:
            self._reply.close_sentence()
        if self._turn.result.status == "completed" and length:
            self._turn.result.status = "truncated"
        self._reply.finish()

    def _died(self, attempt: Attempt, cut: str | None) -> bool:
        """Close the line of a backend that died after text was shown; the next one goes on."""
        reason = cut or self._reason(attempt)
        self._trail(attempt.entry.backend.name, "died", reason)
        self._turn.result.status = "rescued"
        self._reply.close_sentence()
        return False

    def _cancelled(self) -> None:
        """Say in the trail who was at it when the turn was cancelled."""
        attempt = self._current
        if attempt is None:
            return
        if self._has_shown():
            self._served(attempt)
            self._trail(attempt.entry.backend.name, "served", "the turn was cancelled")
        else:
            self._trail(attempt.entry.backend.name, "skipped", "the turn was cancelled")

    async def _until_end(self, attempt: Attempt) -> str | None:
        """Wait for an accepted attempt; returns why it was cut, or None if it ended by itself.

        One timer that moves on by itself watches it: a time limit around each wait for the next
        token would cost more than the token.
        """
        loop, turn, reply = self._loop, self._turn, self._reply
        stall_s = turn.tier.stall_ms / 1000
        # A token is not yet a word: white space, a tag, or what a filter holds shows nothing.
        words_by = None if attempt.entry.type.instant else turn.first_text_at - RESERVE_S
        cut: list[str] = []
        timer: asyncio.TimerHandle

        def due() -> float:
            until = min(attempt.last_at + stall_s, turn.ends_at)
            return min(until, words_by) if words_by is not None and not reply.length else until

        def watch() -> None:
            nonlocal timer
            now = loop.time()
            if now < due():
                timer = loop.call_at(due(), watch)
                return
            if now >= turn.ends_at:
                cut.append(f"the reply took longer than {turn.tier.total_ms} ms")
            elif now >= attempt.last_at + stall_s:
                cut.append(f"silent for {turn.tier.stall_ms} ms")
            else:
                cut.append("it had nothing to show in time")
            attempt.drop()

        timer = loop.call_at(due(), watch)
        try:
            await attempt.ended
        finally:
            timer.cancel()
        return cut[0] if cut else None

    def _request(self, entry: Entry) -> GenerateRequest:
        turn, tier = self._turn, self._turn.tier
        sampling = turn.persona.front.sampling
        max_tokens = min(tier.max_tokens, sampling.max_tokens or tier.max_tokens)
        prompt = turn.prompt
        settings = entry.backend.settings
        if settings.context_tokens is not None:
            # The longest reply must leave room for what it answers.
            max_tokens = min(max_tokens, settings.context_tokens // 2)
        if prompt is not None and settings.context_tokens is not None:
            prompt, dropped = trim(
                prompt,
                budget_chars(settings.context_tokens, max_tokens, settings.chars_per_token),
            )
            if dropped:
                turn.note(f"the prompt for {entry.backend.name} left out: {', '.join(dropped)}")
        return GenerateRequest(
            turn=turn,
            messages=prompt.messages() if prompt is not None and not entry.type.instant else (),
            sampling=Sampling(
                temperature=(
                    sampling.temperature if sampling.temperature is not None else tier.temperature
                ),
                top_p=sampling.top_p,
                max_tokens=max_tokens,
                stop=tuple(sampling.stop),
            ),
            adapter=turn.persona.front.adapter,
            seed=turn.seed,
            priority=PRIORITIES.index(turn.priority),
            shown=self._reply.text,
            deadline=turn.ends_at,
        )

    def _served(self, attempt: Attempt) -> None:
        entry, finish = attempt.entry, attempt.finish
        self._turn.result.served_by = ServedBy(
            entry.backend.name,
            entry.type.name,
            finish.model if finish else None,
            finish.adapter if finish else None,
        )

    def _failed(self, attempt: Attempt, otherwise: str = "answered nothing") -> None:
        outcome: Outcome = "refused" if isinstance(attempt.error, BackendRefused) else "failed"
        reason = self._reason(attempt) if attempt.error is not None else otherwise
        self._trail(attempt.entry.backend.name, outcome, reason)

    def _reason(self, attempt: Attempt) -> str:
        error = attempt.error
        if isinstance(error, BackendError):
            return error.reason
        log.error(
            "backend %s has a bug: %r",
            attempt.entry.backend.name,
            error,
            exc_info=error,
        )
        return f"a bug in the backend: {type(error).__name__}"

    def _trail(self, backend: str, outcome: Outcome, reason: str | None = None) -> None:
        self._current = None
        at_ms = (perf_counter() - self._turn.accepted_at) * 1000
        self._turn.result.trail.append(TrailEntry(backend, outcome, at_ms, reason))
        if outcome in ("failed", "refused", "died", "late"):
            log.info("%s: backend %s %s: %s", self._turn.id, backend, outcome, reason)
