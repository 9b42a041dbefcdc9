"""New replies for situations whose replies have aged: in the background, one at a time."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from palaver.turn.model import TurnResult

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["Renewer", "rehearsal"]

log = logging.getLogger("palaver.cache")

MAX_WAITING = 64
"""Situations that wait for a new reply; beyond, they have to come up again."""
LIMIT_S = 120.0
"""Time for one reply, in seconds: its tier's limits end it long before."""
CLOSE_S = 2.0

_numbers = itertools.count(1)


class Renewer:
    """Asks models for replies that nobody waits for.

    Args:
        speak: Lets a model answer a turn that nobody hears.
        done: Called with the turn when it is over.
    """

    def __init__(
        self, speak: Callable[[Turn], Awaitable[None]], done: Callable[[Turn], None]
    ) -> None:
        self._speak = speak
        self._done = done
        self._waiting: OrderedDict[str, Turn] = OrderedDict()
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="renew the cache")

    def ask(self, key: str, turn: Turn) -> None:
        """Make a new reply for the situation of a turn, soon."""
        if key not in self._waiting and len(self._waiting) < MAX_WAITING:
            self._waiting[key] = rehearsal(turn)
            self._wake.set()

    async def close(self) -> None:
        """Stop; safe to call twice."""
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=CLOSE_S)

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            _, turn = self._waiting.popitem(last=False)
            try:
                async with asyncio.timeout(LIMIT_S):
                    await self._speak(turn)
                self._done(turn)
            except TimeoutError:
                log.warning("a reply for the cache took longer than %.0f s", LIMIT_S)
            except Exception:
                log.exception("no reply could be made for the cache")


def rehearsal(turn: Turn) -> Turn:
    """Return a turn like another, that nobody hears and no player pays for.

    What these two said before stays out of it, so that the reply fits others, too.
    """
    rule, said = turn.tier.cache, turn.situation
    leans = rule is not None and ("before" in rule.facts or (said is not None and said.leans))
    return replace(
        turn,
        id=f"renew-{next(_numbers)}",
        player=None,
        session=None,
        audience=(),
        priority="background",
        first_text_ms=None,
        # Nobody waits: a filler would only be in the way, and it may take all its time.
        tier=turn.tier.model_copy(update={"filler_ms": None, "first_text_ms": turn.tier.total_ms}),
        history=turn.history[-1:] if leans else (),
        accepted_at=perf_counter(),
        prompt=None,
        raw=None,
        calls=0,
        trace=[],
        result=TurnResult(),
    )
