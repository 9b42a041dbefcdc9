"""Every fault at every place of the chain, on real sockets: no turn is lost, mixed up or stuck.

How soon the words come depends on the machine here, so limits have seconds of slack. That they come
to the millisecond when they are due is tried in virtual time: `core/tests/test_chain_race.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from typing import Any

import pytest

from palaver.testing.faults import FAULTS, SPEAKS, FaultServer

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="open sockets are counted as POSIX shows them"
)
PLACES = ("first", "second", "third")
TURNS = 3
"""Turns at once with each chain."""
REFUSES = "refuses"
"""A port on which nobody listens is a fault too, but none that a script can name."""
ALL = (REFUSES, *FAULTS)
MIDWAY = (
    *("closes mid-token", "closes mid-sentence", "stalls", "drips after text", "error after text"),
    *("changes its mind", "garbage after text", "no finish", "never ends"),
)
"""After some of its words were heard already."""
HANGS = (
    *("hangs before headers", "hangs after headers", "hangs after opening", "stalls", "never ends"),
    *("drips", "drips headers", "drips after text"),
)
"""These answers have no end: somebody has to close them."""


async def misbehave(server: FaultServer, fault: str) -> None:
    """Let a server misbehave from now on."""
    if fault == REFUSES:
        await server.refuse()
    else:
        server.script = [fault]


@pytest.mark.parametrize("fault", ALL)
async def test_a_fault_costs_no_turn(
    fault: str, stage: Any, make_chain: Any, faulty_ms: int, soon_ms: int
) -> None:
    """Wherever in the chain it is, the turn has one end, in character, in one voice, unstuck."""
    chains = {place: make_chain(place, limits={place: faulty_ms}) for place in PLACES}
    limits = dict.fromkeys(PLACES, faulty_ms)
    every = make_chain("all", limits=dict(limits), first_text_ms=soon_ms)
    nobody = make_chain("nobody", limits=dict(limits), first_text_ms=soon_ms, static=False)
    chains["third"].first_text_ms = soon_ms
    async with stage([*chains.values(), every, nobody]) as running:
        for place, chain in chains.items():
            for earlier in list(chain.servers)[: list(chain.servers).index(place)]:
                chain.servers[earlier].script = ["503"]
            await misbehave(chain.servers[place], fault)
        for chain in (every, nobody):
            for server in chain.servers.values():
                await misbehave(server, fault)
        turns: dict[str, list[str]] = {}
        for name in (*chains, "all", "nobody"):
            turns[name] = [await running.start(name) for _ in range(TURNS)]
        await running.finish(turn for some in turns.values() for turn in some)
        after = {"first": "second", "second": "third", "third": "static"}
        for place, follower in after.items():
            for turn in turns[place]:
                heard, done = running.check(turn), running.done[turn]
                told = (heard, done["status"])
                # It may never have been asked, for its breaker was open, or was late.
                met = place in heard
                if met and fault == "10 MB":
                    assert told == ([place], "truncated"), str(done["trail"])
                elif met and any(one["outcome"] == "lost" for one in done["trail"]):
                    # It was late, and who would have followed lost a race against it.
                    assert (heard[0], done["status"]) == (place, "rescued"), str(done["trail"])
                elif met and fault in MIDWAY:
                    assert told == ([place, follower], "rescued"), str(done["trail"])
                else:
                    assert told == ([follower], "completed"), str(done["trail"])
            server = chains[place].servers[place]
            assert fault == REFUSES or server.asked, "the fault was never met"
            if fault in HANGS:
                await running.quiet([chains[place]])
                assert server.cancelled == len(server.asked), "the loser was not cancelled"
        for name, end in (("all", "static"), ("nobody", "last words")):
            for turn in turns[name]:
                heard = running.check(turn)
                assert heard[-1] == end or fault == "10 MB", running.done[turn]
                assert len(heard) <= 3, "rescued more than once"


async def test_a_server_that_does_not_say_what_it_serves(
    stage: Any, make_chain: Any, faulty_ms: int
) -> None:
    """A server that hangs when it is asked for its models is as late as any other."""
    chain = make_chain("chain", limits={"first": faulty_ms})
    chain.servers["first"].models = "hangs before headers"
    async with stage([chain]) as running:
        for turn in await running.say("chain", 5):
            assert running.check(turn) == ["second"]


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm(
    seed: int, stage: Any, make_chain: Any, faulty_ms: int, soon_ms: int
) -> None:
    """Servers that do what they like, and players that come and go: every turn ends once."""
    dice = random.Random(seed)
    limits = dict.fromkeys(PLACES, 3 * faulty_ms)
    chain = make_chain("chain", limits=limits, first_text_ms=soon_ms)
    kinds = [*FAULTS, *[SPEAKS] * 12]
    async with stage([chain]) as running:
        for server in chain.servers.values():
            server.script = [dice.choice(kinds) for _ in range(60)]
        turns: list[str] = []
        for _ in range(40):
            turns.append(await running.start("chain"))
            if dice.random() < 0.3:
                cancel = {"type": "turn.cancel", "turn": dice.choice(turns)}
                await running.engine.send(cancel)
            if dice.random() < 0.2:
                await running.finish([dice.choice(turns)])
            if dice.random() < 0.05:
                victim = dice.choice(list(chain.servers.values()))
                await victim.refuse()
                await running.finish([await running.start("chain")])
                await victim.listen()
        await running.finish(turns)
        for turn in running.done:
            assert len(running.check(turn)) <= 3


async def test_traffic_returns_to_a_server_that_returns(stage: Any, make_chain: Any) -> None:
    """A server that was away is asked again soon after it is back, and nobody waited for it."""
    chain = make_chain("chain")
    first = chain.servers["first"]
    async with stage([chain]) as running:
        assert running.check((await running.say("chain"))[0]) == ["first"]
        await first.refuse()
        for _ in range(6):
            assert running.check((await running.say("chain"))[0]) == ["second"]
        await first.listen()
        async with asyncio.timeout(30):
            # Each turn takes its time over four real sockets; no need to wait between them.
            while running.check((await running.say("chain"))[0]) != ["first"]:
                pass


async def test_a_wrong_key_is_told_once(
    stage: Any, make_chain: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that refuses the key is left alone, and the log has one line on it, not many."""
    caplog.set_level(logging.WARNING)
    chain = make_chain("chain")
    first = chain.servers["first"]
    first.script = ["401"]
    async with stage([chain]) as running:
        for _ in range(20):
            assert running.check((await running.say("chain"))[0]) == ["second"]
    told = [one.getMessage() for one in caplog.records if "key" in one.getMessage()]
    assert len(told) == 1, told
    assert "chain-first" in told[0]
    assert len(first.asked) < 5
