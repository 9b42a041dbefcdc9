"""Fillers: an authored sentence that is spoken while slower backends still work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from palaver.chain.backend import Finish
from palaver.chain.request import build_request
from palaver.errors import BackendError
from palaver.turn.events import Action

if TYPE_CHECKING:
    from palaver.chain.servers import Entry
    from palaver.turn.deliver import Reply
    from palaver.turn.events import Event
    from palaver.turn.filters import FilterChain
    from palaver.turn.model import Turn

__all__ = ["INSTANT_S", "MakeFilters", "speak_filler"]

log = logging.getLogger("palaver.chain")

INSTANT_S = 0.5
"""Time for an instant backend, in seconds: far more than it needs, and a bound all the same."""

MakeFilters = Callable[[Callable[["Event"], None], Callable[[str], None]], "FilterChain"]
"""Makes the filters of one attempt, of what takes events and what takes plain text."""


async def speak_filler(
    turn: Turn,
    instants: Sequence[Entry],
    reply: Reply,
    make_filters: MakeFilters,
    until: float,
) -> str | None:
    """Speak a filler as a sentence of its own.

    Args:
        turn: The turn.
        instants: Instant backends of its chain, in order.
        reply: Where it is shown.
        make_filters: Makes the filters that it passes.
        until: `loop.time()` by which filters that wait must be done.

    Returns:
        Name of the backend that had one, or None if nothing was shown.
    """
    for entry in instants:
        text = await _authored(turn, entry)
        if text is None:
            continue
        reply.begin()
        turn.authored = True
        filters = make_filters(partial(_show, turn, reply), reply.say)
        filters.feed(text)
        try:
            async with asyncio.timeout_at(until):
                await filters.finish()
        except TimeoutError:
            await filters.abort()
        if reply.length:
            reply.close_sentence()
            return entry.backend.name
    return None


def _show(turn: Turn, reply: Reply, event: Event) -> None:
    """Show an event, unless the game would have to confirm it: a filler waits for nobody."""
    declared = turn.actions.get(event.name) if type(event) is Action else None
    if declared is not None and declared.confirm:
        turn.note(f"a filler does nothing that the game has to confirm: {declared.name}")
    else:
        reply.show(event)


async def _authored(turn: Turn, entry: Entry) -> str | None:
    """Return a filler of an instant backend, or None if it has none."""
    request = build_request(turn, entry, purpose="filler")
    try:
        async with asyncio.timeout(INSTANT_S):
            async with aclosing(entry.servers[0].replica.generate(request)) as stream:
                pieces = [piece async for piece in stream]
    except (BackendError, TimeoutError) as err:
        turn.note(f"no filler: {err}")
        return None
    except Exception as err:
        # The turn goes on without a filler, as it does without a backend.
        log.exception("backend %s has a bug", entry.backend.name)
        turn.note(f"no filler: a bug in the backend: {type(err).__name__}")
        return None
    return "".join(piece for piece in pieces if not isinstance(piece, Finish)) or None
