"""Sharing sums between gateways, in the background.

One task tells the store what was spent and takes the total of all gateways from its answer. While
the store is away, turns notice nothing: what was not told is told when it is back, and until then
each gateway keeps to the ceilings with what it knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from palaver.spend.sums import Sum

if TYPE_CHECKING:
    from palaver.store import Store

__all__ = ["Sharing", "store_key"]

log = logging.getLogger("palaver.spend")

TTL_S = 172_800.0
"""For how long a sum is kept in the store, in seconds: its day, and one more for clocks that
differ."""
REFRESH_S = 2.0
"""How old what is known of other gateways may get for a sum that is in use, in seconds."""
PUSH_S = 5.0
"""Time for the store to answer, in seconds; a bound on stores that break their promise."""
RETRY_S = (0.5, 15.0)
"""Shortest and longest pause before a store that is away is tried again, in seconds."""
CLOSE_S = 2.0
"""Time to tell what was not told yet when Palaver stops, in seconds."""
MAX_WAITING = 50_000
"""Sums that wait to be told; more are not waited for until some of those are through."""
MAX_REFUSED = 3
"""How often a sum may fail while others get through, before it is left until more is spent."""


def store_key(one: Sum) -> str:
    """Return the name of a sum in the store."""
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=one.day)
    return f"spend:{day:%Y-%m-%d}:{one.kind}:{one.name}"


class Sharing:
    """Tells a store what was spent.

    Args:
        store: The store.
        clock: Seconds, for how old what is known is.
        told: Told of sums that the store has taken.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        told: Callable[[tuple[Sum]], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._told = told
        self._waiting: dict[Sum, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False

    def start(self) -> None:
        """Begin; calls before only wait."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="share the spend")

    async def close(self) -> None:
        """Tell what was not told yet, but not for long; safe to call twice."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        # What fails here is in the day's book, and told when a gateway starts again.
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await self._round()

    def push(self, one: Sum) -> None:
        """Tell of a sum soon; also brings what the others have spent."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting[one] = None
            self._wake.set()

    def refresh(self, one: Sum) -> None:
        """Ask for a sum soon, where what is known of it is old."""
        if abs(self._clock() - one.learned_at) > REFRESH_S:
            self.push(one)

    async def _run(self) -> None:
        pause = RETRY_S[0]
        while True:
            await self._wake.wait()
            self._wake.clear()
            if await self._round():
                pause = RETRY_S[0]
                if not self._waiting:
                    continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_S[1])
            self._wake.set()

    async def _round(self) -> bool:
        """Tell of all that waits, as far as the store answers.

        Returns:
            Whether it does. What waits then, it does not want.
        """
        failed: dict[Sum, Exception] = {}
        told = in_a_row = 0
        while one := next((one for one in self._waiting if one not in failed), None):
            try:
                await self._tell(one)
            except Exception as err:
                # A store of a plugin may break in its own ways; the sums must not stop for it.
                # The others go first from now on, in case it is this one that it does not like.
                self._waiting.pop(one, None)
                self._waiting[one] = None
                failed[one] = err
                in_a_row += 1
                if in_a_row > MAX_REFUSED:
                    break
            else:
                told += 1
                in_a_row = 0
        if told:
            for one, error in failed.items():
                self._refused(one, error)
        elif not self._away and any(not one.refused for one in failed):
            # One that it has refused before says nothing about the others.
            self._away = True
            error = next(iter(failed.values()))
            log.warning(
                "the store does not answer (%s); until it does, each gateway keeps to the "
                "spend ceilings with what it knows",
                str(error) or type(error).__name__,
            )
        return bool(told) or not failed

    def _refused(self, one: Sum, err: Exception) -> None:
        """Give a sum up that the store does not take, though it takes others."""
        one.refused += 1
        if one.refused < MAX_REFUSED:
            return
        self._waiting.pop(one, None)
        if one.refused == MAX_REFUSED:
            log.warning(
                "the store does not take the sum %s (%s), so other gateways do not know of it; "
                "delete that key in the store",
                store_key(one),
                str(err) or type(err).__name__,
            )

    async def _tell(self, one: Sum) -> None:
        """Tell the store of one sum.

        A call that fails may have been counted all the same; then it counts twice: rather too
        much than too little.
        """
        amount, one.unpushed = one.unpushed, 0.0
        told = False
        try:
            async with asyncio.timeout(PUSH_S):
                total = await self._store.add(store_key(one), amount, TTL_S)
            told = True
        finally:
            if not told:
                one.unpushed += amount
        one.refused = 0
        before = one.spent
        one.learn(total, self._clock())
        if (amount or one.spent != before) and self._told is not None:
            # Who starts after this one must not tell it again; who reads it sees all gateways'.
            self._told((one,))
        if not one.unpushed:
            self._waiting.pop(one, None)
        if self._away:
            self._away = False
            log.warning("the store answers again; gateways share what they spend")
