"""Replies for situations in the background, one at a time, made from what the situation tells.

They take the place of replies that have aged, and that of what a model said out of one player's
own story, which no other player may hear.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from palaver.cache.situation import past_before
from palaver.turn.model import TurnResult

if TYPE_CHECKING:
    from typing import Any

    from palaver.memory import Exchange
    from palaver.turn.model import Turn

__all__ = ["Renewer", "private", "rehearsal"]

log = logging.getLogger("palaver.cache")

MAX_WAITING = 64
"""Situations that wait for a new reply; beyond, they have to come up again."""
LIMIT_S = 120.0
"""Time for one reply, in seconds: its tier's limits end it long before."""
CLOSE_S = 2.0
MAX_KNOWN = 50_000
"""Situations that are remembered to have come up."""
MAX_TRIES = 3
"""After so many replies in a row of which none could be kept, no more are made."""

_numbers = itertools.count(1)


class Renewer:
    """Asks models for replies that nobody waits for.

    Args:
        speak: Lets a model answer a turn that nobody hears.
        done: Called with the turn when it is over; returns whether its reply is kept.
    """

    def __init__(
        self, speak: Callable[[Turn], Awaitable[None]], done: Callable[[Turn], bool]
    ) -> None:
        self._speak = speak
        self._done = done
        self._tries: OrderedDict[str, int] = OrderedDict()
        self._waiting: OrderedDict[str, Turn] = OrderedDict()
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="renew the cache")

    def ask(self, key: str, turn: Turn) -> bool:
        """Make a new reply for the situation of a turn, soon; returns whether there is room."""
        if key in self._waiting or len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting[key] = rehearsal(turn)
        self._wake.set()
        return True

    def fill(self, key: str, turn: Turn) -> None:
        """Make a reply for a situation in which a turn's own cannot be kept.

        Only from the second time on that it comes up: most never do, and each costs a call.
        """
        tries = self._tries.pop(key, None)
        if tries is not None and tries < MAX_TRIES and self.ask(key, turn):
            tries += 1
        self._tries[key] = tries or 0
        if len(self._tries) > MAX_KNOWN:
            self._tries.popitem(last=False)

    async def close(self) -> None:
        """Stop; safe to call twice."""
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=CLOSE_S)

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            key, turn = self._waiting.popitem(last=False)
            try:
                async with asyncio.timeout(LIMIT_S):
                    await self._speak(turn)
                if self._done(turn) and key in self._tries:
                    self._tries[key] = 0
            except TimeoutError:
                log.warning("a reply for the cache took longer than %.0f s", LIMIT_S)
            except Exception:
                log.exception("no reply could be made for the cache")


def rehearsal(turn: Turn) -> Turn:
    """Return a turn like another, that nobody hears and no player pays for.

    What these two said before stays out of it, and what else belongs to the player: a model
    cannot tell others what it does not know.
    """
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
        history=_history(turn),
        context=(
            context := {name: turn.context[name] for name in turn.context if _told(turn, name)}
        ),
        variables={**turn.variables, "player": _player(turn), "context": context},
        accepted_at=perf_counter(),
        prompt=None,
        raw=None,
        calls=0,
        answers=None,
        game_ms=0.0,
        trace=[],
        result=TurnResult(),
    )


def private(turn: Turn) -> bool:
    """Return whether a model knew more than the situation tells, so that it may have said it."""
    if turn.extended:
        return True
    if turn.given_prompt is not None:
        # Its key has every word of it.
        return False
    return bool(turn.history) or any(
        not _told(turn, name) for name, value in turn.context.items() if value
    )


def _history(turn: Turn) -> tuple[Exchange, ...]:
    """Return the NPC's last line where the situation tells it, without what it replied to."""
    rule, said = turn.tier.cache, turn.situation
    if rule is None or not ("before" in rule.facts or (said is not None and said.leans)):
        return ()
    past = past_before(turn)
    return () if past is None else (replace(past, said="...", cue=False, speaker_name=""),)


def _told(turn: Turn, name: str) -> bool:
    """Return whether what a plugin knows of the moment is part of the situation."""
    return turn.tier.cache is not None and f"context.{name}" in turn.tier.cache.facts


def _player(turn: Turn) -> dict[str, Any]:
    """Return what is known of who speaks, as far as the situation tells it."""
    known: dict[str, Any] = turn.variables["player"]
    if turn.speaker is not None or turn.tier.cache is None:
        return known
    rule, persona = turn.tier.cache.facts, turn.persona
    names = {"lang", *(name.removeprefix("player.") for name in rule)}
    if "declared" in rule:
        names.update(persona.player_facts)
    # The mood and the zone of a rule are the NPC's.
    names -= {name for name in ("mood", "zone") if f"player.{name}" not in rule}
    told = {name: value for name, value in known.items() if name in names}
    return {**persona.player_facts, **told}
