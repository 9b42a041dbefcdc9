"""Chains of scripted backends, for tests of the chain itself: without a gateway around it.

    local = ScriptedBackend("local", [wait(200), "Good evening."])
    told = await tell(make_chain(local), first_token_ms=350)
    assert told.text == "Good evening."
    assert told.trail == [("local", "served")]

It runs in virtual time as well; see `palaver.testing.clock`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from palaver.chain.backend import Backend, BackendSettings, BackendType
from palaver.chain.checks import Checker
from palaver.chain.hedge import HedgeBudget
from palaver.chain.runner import ChainRunner
from palaver.chain.servers import Entry
from palaver.chain.shared import Chain
from palaver.config.models import Tier
from palaver.hookcalls import HookCall
from palaver.prompt.sections import Place, Prompt, Section
from palaver.testing import UNIT_S
from palaver.testing.gateways import Sink
from palaver.testing.scripted import Pause, ScriptedBackend, ScriptedSettings
from palaver.testing.turns import make_persona, make_turn
from palaver.turn.deliver import Reply
from palaver.turn.events import AsyncFilter, Event, Filter
from palaver.turn.filters import FilterChain
from palaver.turn.model import Turn

__all__ = ["Replicated", "Told", "make_chain", "make_entry", "tell", "wait"]

LONG_MS = 600_000
IDENTITY = "You are a test that speaks in riddles, and in few words."


class Replicated(ScriptedBackend):
    """A backend with several servers, each of which plays scripts of its own.

    Args:
        name: Its name.
        replicas: Its servers; one with an attribute `warm` is asked for its adapters.
        settings: Its settings.
    """

    def __init__(
        self, name: str, *replicas: ScriptedBackend, settings: BackendSettings | None = None
    ) -> None:
        super().__init__(name, settings=settings)
        self.replicas = replicas


@dataclass(slots=True)
class Told:
    """What became of a turn.

    Attributes:
        turn: The turn.
        sink: Its messages, with their times.
        begun: `loop.time()` of when it began.
    """

    turn: Turn
    sink: Sink = field(default_factory=Sink)
    begun: float = 0.0

    @property
    def text(self) -> str:
        """What was shown."""
        return self.sink.text

    @property
    def trail(self) -> list[tuple[str, str]]:
        """Backend and outcome of each entry of the trail."""
        return [(one.backend, one.outcome) for one in self.turn.result.trail]

    @property
    def reasons(self) -> list[str | None]:
        """The reason of each entry of the trail."""
        return [one.reason for one in self.turn.result.trail]

    @property
    def first_ms(self) -> int:
        """When the first text was shown, in milliseconds from the turn's beginning."""
        return round((self.sink.of("turn.delta")[0].at - self.begun) * 1000)


def wait(ms: float) -> Pause:
    """Return a pause of so many milliseconds."""
    return Pause(ms / 1000 / UNIT_S)


def make_entry(backend: Backend, *, instant: bool = False) -> Entry:
    """Return a backend as the chain knows it."""
    return Entry(
        backend, BackendType("scripted", ScriptedSettings, lambda *_: backend, instant=instant)
    )


def make_chain(
    *backends: Backend,
    instant: Iterable[str] = ("static",),
    hedges: float = 0.0,
    checks: Sequence[Callable[..., Checker | None]] = (),
    governor: Any = None,
) -> Chain:
    """Return what turns share.

    Args:
        backends: The backends, in the order to try.
        instant: Names of those that answer from memory.
        hedges: The hedge budget, as a share of turns.
        checks: Implementations of `palaver_check`.
        governor: Keeps account of what is spent, or None.
    """
    quick = frozenset(instant)
    entries = {one.name: make_entry(one, instant=one.name in quick) for one in backends}
    calls = [HookCall("palaver_check", "test", check, ("turn",)) for check in checks]
    return Chain(entries, HedgeBudget(hedges), checks=calls, governor=governor)


async def tell(
    chain: Chain,
    *,
    turn: Turn | None = None,
    filters: Sequence[Callable[[], Filter | AsyncFilter]] = (),
    told: Told | None = None,
    identity: str = IDENTITY,
    **tier: Any,
) -> Told:
    """Run a turn through a chain to its end, and see that it leaves no task behind.

    Args:
        chain: The chain; its backends are tried in order.
        turn: The turn; by default a player's who greets.
        filters: Make what the text of each attempt passes.
        told: Keeps what became of it; for whoever wants to look on.
        identity: The prompt.
        tier: Keys of the tier; limits are generous where none are given.
    """
    if told is None:
        told = Told(turn or make_turn(persona=make_persona(last_words="Farewell.")))
    turn = told.turn
    limits = dict.fromkeys(("first_text_ms", "first_token_ms", "stall_ms", "total_ms"), LONG_MS)
    turn.tier = Tier.model_validate({"chain": list(chain.entries) or ["none"], **limits, **tier})
    loop = asyncio.get_running_loop()
    told.begun = turn.begun_at = loop.time()
    turn.accepted_at = time.perf_counter()
    first_text_ms = min(turn.tier.first_text_ms, turn.first_text_ms or LONG_MS)
    turn.first_text_at = told.begun + first_text_ms / 1000
    turn.ends_at = told.begun + turn.tier.total_ms / 1000
    turn.prompt = Prompt([Section("identity", "system", identity, 100, "test", Place.STABLE)])
    reply = Reply(turn, told.sink, loop.time)

    def make(out: Callable[[Event], None], say: Callable[[str], None]) -> FilterChain:
        return FilterChain(turn, [("test", make_one()) for make_one in filters], out, 1.0, say)

    runner = ChainRunner(chain, turn, reply, make)
    try:
        await runner.run(list(chain.entries))
    finally:
        reply.finish()
        turn.result.text = reply.text
        await runner.let_go()
    return told
