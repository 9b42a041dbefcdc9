"""Whose fault a delay is: a server is left alone for its own only, and for as long as it says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from palaver.chain.servers import Server
from palaver.chain.shared import Chain
from palaver.errors import BackendOverloaded
from palaver.testing.chains import Told, make_chain, tell, wait
from palaver.testing.clock import run
from palaver.testing.scripted import ScriptedBackend, ScriptedSettings
from palaver.testing.turns import make_turn
from palaver.turn.events import Event, Text

ONE_AT_A_TIME = ScriptedSettings(type="scripted", concurrency=1)


def static() -> ScriptedBackend:
    """Return authored lines."""
    return ScriptedBackend("static", "Hm.")


def server_of(chain: Chain) -> Server:
    """Return the only server of the backend `local`."""
    return chain.entries["local"].servers[0]


async def say(chain: Chain, number: int, **fields: int) -> Told:
    """Run a turn of a player of its own, with a prompt of its own."""
    first_text_ms = fields.pop("mine_ms", None)
    turn = make_turn(player=f"p{number}", first_text_ms=first_text_ms)
    return await tell(chain, turn=turn, identity=f"You are number {number}.", **fields)


def test_an_impatient_client_makes_no_server_bad() -> None:
    """However often a client wants words at once, a server that keeps the tier's limit is well."""

    async def main() -> None:
        chain = make_chain(ScriptedBackend("local", [wait(600), "Good evening."]), static())
        for number in range(10):
            told = await say(chain, number, mine_ms=200, first_text_ms=5_000, first_token_ms=1_000)
            assert told.text == "Hm."
        assert server_of(chain).breaker.state == "closed"
        told = await say(chain, 99, first_text_ms=5_000, first_token_ms=1_000)
        assert told.text == "Good evening."

    run(main())


def test_what_waits_in_our_own_queue_makes_no_server_bad() -> None:
    """A server that does one request after another, each in time, is not left alone."""

    async def main() -> None:
        local = ScriptedBackend("local", [wait(400), "Good evening."], settings=ONE_AT_A_TIME)
        chain = make_chain(local, static())
        turns = (say(chain, n, first_text_ms=1_500, first_token_ms=700) for n in range(6))
        texts = [one.text for one in await asyncio.gather(*turns)]
        assert texts.count("Good evening.") == 3
        assert server_of(chain).breaker.state == "closed"

    run(main())


def test_a_server_that_hangs_is_left_alone_though_others_wait_for_it() -> None:
    """Whoever is with it at the moment, it has given no sign of life for too long."""

    async def main() -> None:
        local = ScriptedBackend("local", [asyncio.Event()], settings=ONE_AT_A_TIME)
        chain = make_chain(local, static())

        async def later(number: int) -> Told:
            await asyncio.sleep(number / 10)
            return await say(chain, number, first_text_ms=3_000, first_token_ms=700)

        told = await asyncio.gather(*(later(number) for number in range(60)))
        assert {one.text for one in told} == {"Hm."}
        assert server_of(chain).breaker.opened
        assert any(("local", "skipped") in one.trail for one in told)

    run(main())


def test_retry_after_holds_though_an_older_request_ends_well() -> None:
    """What was asked before the server said no does not say that it would say yes."""

    async def main() -> None:
        local = ScriptedBackend("local")
        no = BackendOverloaded("local", "is overloaded", status_code=429, retry_after_s=30.0)
        local.replies = [["Good ", wait(200), "evening."], [no], "Again."]
        chain = make_chain(local, static())
        older = asyncio.create_task(say(chain, 1))
        await asyncio.sleep(0.05)
        assert (await say(chain, 2)).trail == [("local", "refused"), ("static", "served")]
        assert (await older).text == "Good evening."
        assert server_of(chain).breaker.state == "open"
        assert server_of(chain).breaker.rest_s > 29
        assert (await say(chain, 3)).trail == [("local", "skipped"), ("static", "served")]
        await asyncio.sleep(37)
        assert (await say(chain, 4)).text == "Again."

    run(main())


class Slow:
    """A filter that takes its time over every sentence."""

    async def feed(self, event: Event) -> Iterable[Event]:
        if isinstance(event, Text):
            await asyncio.sleep(0.9)
        return (event,)

    async def flush(self) -> Iterable[Event]:
        return ()


class Quick:
    """A filter that does nothing."""

    def feed(self, event: Event) -> Iterable[Event]:
        return (event,)

    def flush(self) -> Iterable[Event]:
        return ()


def test_the_clock_goes_on_while_a_filter_takes_its_time() -> None:
    """The authored lines speak in time, though a whole reply lies in a filter."""

    async def main() -> None:
        chain = make_chain(ScriptedBackend("local", [wait(50), "Good evening."]), static())
        filters = iter([Slow(), Quick()])
        told = await tell(
            chain, filters=[lambda: next(filters)], first_text_ms=300, first_token_ms=200
        )
        assert told.trail == [("local", "late"), ("static", "served")]
        assert told.first_ms <= 300

    run(main())
