"""What a backend's own servers tell of themselves, for metrics.

A backend may have a method `readings`; whoever shows metrics asks for it from time to time:

    async def readings(self) -> Sequence[Reading]:
        return [Reading("adapters_resident", 3, "Adapters a server has.", server=url)]
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from palaver.chain.backend import Backend

__all__ = ["Reading", "read_all"]

log = logging.getLogger("palaver.chain")

MAX_READINGS = 500
"""Readings taken of one backend; more would be a series for every something."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number that a backend tells.

    Attributes:
        name: What it is, in snake case and with its unit, such as `adapter_load_seconds`; a
            counter's ends with `_total`.
        value: The number; of a summary, the sum.
        help: What it means, in one sentence.
        kind: `gauge` goes up and down, `counter` only up; `summary` is a sum with its count.
        server: The server it is about, as the trail names it, or empty for the whole backend.
        labels: What else tells it apart; few values, never text of players.
        count: Of a summary, how many numbers were summed up.
    """

    name: str
    value: float
    help: str
    kind: Literal["gauge", "counter", "summary"] = "gauge"
    server: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    count: float = 0.0


async def read_all(backends: Sequence[Backend], limit_s: float) -> dict[str, Sequence[Reading]]:
    """Ask all backends that tell something, side by side.

    Args:
        backends: The backends.
        limit_s: Time for each, in seconds.

    Returns:
        What each told, by its name; one that failed or was late is left out.
    """
    asked = [
        (backend.name, ask)
        for backend in backends
        if (ask := getattr(backend, "readings", None)) is not None
    ]
    found = await asyncio.gather(*(_read(name, ask, limit_s) for name, ask in asked))
    return {
        name: told[:MAX_READINGS]
        for (name, _), told in zip(asked, found, strict=True)
        if told is not None
    }


async def _read(
    name: str, ask: Callable[[], Awaitable[Sequence[Reading]]], limit_s: float
) -> Sequence[Reading] | None:
    try:
        async with asyncio.timeout(limit_s):
            return await ask()
    except TimeoutError:
        log.debug("backend %s did not tell its readings in %.1f s", name, limit_s)
    except Exception:
        log.exception("backend %s failed to tell its readings", name)
    return None
