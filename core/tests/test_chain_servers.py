"""Of several servers the best one is asked, and one that is away costs no turn."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from palaver.chain.lane import Urgency
from palaver.chain.servers import Entry, Server
from palaver.chain.shared import Chain
from palaver.errors import (
    BackendOverloaded,
    BackendRefused,
    BackendTimeout,
    BackendUnauthorized,
    BackendUnavailable,
    PromptTooLong,
    StreamBroken,
)
from palaver.testing.chains import Replicated, make_chain, make_entry, tell, wait
from palaver.testing.clock import run
from palaver.testing.scripted import Reply, ScriptedBackend, ScriptedSettings
from palaver.testing.turns import make_persona, make_turn

DOWN = [BackendUnavailable("local", "is down")]
HANGS = [wait(100_000), "Never."]


class Warm(ScriptedBackend):
    """A server that has some adapters."""

    def __init__(self, name: str, *adapters: str) -> None:
        super().__init__(name, "Yes.")
        self.adapters = adapters

    def warm(self, adapter: str | None, /) -> bool:
        return adapter in self.adapters


def entry(*servers: ScriptedBackend, **settings: Any) -> Entry:
    """Return a backend with these servers."""
    return make_entry(
        Replicated("local", *servers, settings=ScriptedSettings(type="scripted", **settings))
    )


def picked(one: Entry, adapter: str | None = None, tried: tuple[Server, ...] = ()) -> str | None:
    """Return the name of the server that would be asked."""
    server = one.pick(adapter, tried)
    return server.name if server else None


def busy(server: Server, requests: int) -> None:
    """Let requests be at a server."""

    async def main() -> None:
        for number in range(requests):
            await server.lane.enter(Urgency(0, 1, str(number)))

    run(main())


def away(server: Server) -> None:
    """Let a server have failed often enough."""
    for _ in range(3):
        server.breaker.failed("is down")


async def ask_until(chain: Chain, text: str, *, every_s: float) -> None:
    """Run turns until one is answered so."""
    for _ in range(10_000):
        if (await tell(chain)).text == text:
            return
        await asyncio.sleep(every_s)
    pytest.fail(f"nobody ever said {text!r}")


def test_equal_servers_are_asked_in_turn() -> None:
    """Nobody is asked twice as often as the others."""
    one = entry(*(ScriptedBackend(f"gpu{number}") for number in range(3)))
    names = [picked(one) for _ in range(30)]
    assert Counter(names) == {"gpu0": 10, "gpu1": 10, "gpu2": 10}
    assert all(before != after for before, after in pairwise(names))


def test_the_one_with_less_to_do_is_asked() -> None:
    """Of two servers the one with fewer requests."""
    one = entry(ScriptedBackend("gpu0"), ScriptedBackend("gpu1"))
    busy(one.servers[0], 2)
    busy(one.servers[1], 1)
    assert {picked(one) for _ in range(4)} == {"gpu1"}


def test_a_warm_adapter_is_worth_a_longer_queue() -> None:
    """Loading an adapter takes longer than a few requests; a full server is worth less still."""
    one = entry(Warm("gpu0", "vampire@1"), Warm("gpu1"), concurrency=4)
    busy(one.servers[0], 3)
    assert {picked(one, "vampire@1") for _ in range(4)} == {"gpu0"}
    assert {picked(one, "ghoul@1") for _ in range(4)} == {"gpu1"}
    assert {picked(one, None) for _ in range(4)} == {"gpu1"}
    busy(one.servers[0], 1)
    assert {picked(one, "vampire@1") for _ in range(4)} == {"gpu1"}


def test_one_that_is_left_alone_is_not_asked() -> None:
    """An open breaker counts for more than everything else."""
    one = entry(Warm("gpu0", "vampire@1"), Warm("gpu1"), concurrency=1)
    away(one.servers[0])
    busy(one.servers[1], 1)
    assert picked(one, "vampire@1") == "gpu1"
    away(one.servers[1])
    assert picked(one, "vampire@1") is None
    assert "left alone for another 0." in one.why_not()
    assert one.why_not().endswith(": is down")


def test_one_that_was_tried_is_not_asked_again() -> None:
    """For one turn each server is asked once."""
    one = entry(ScriptedBackend("gpu0"), ScriptedBackend("gpu1"))
    assert picked(one, tried=(one.servers[0],)) == "gpu1"
    assert picked(one, tried=(*one.servers,)) is None
    only = make_entry(ScriptedBackend("local"))
    assert picked(only) == "local"
    assert picked(only, tried=(*only.servers,)) is None


def test_while_one_turn_tries_it_others_do_not() -> None:
    """The reason says so."""

    async def main() -> None:
        one = make_entry(ScriptedBackend("local"))
        away(one.servers[0])
        await asyncio.sleep(1)
        assert picked(one) == "local"
        one.servers[0].breaker.enter()
        assert picked(one) is None
        assert one.why_not() == "another turn tries it just now (is down)"

    run(main())


def test_what_answers_from_memory_is_always_asked() -> None:
    """Authored lines are not left alone, whatever happened."""
    static = make_entry(ScriptedBackend("static"), instant=True)
    for _ in range(10):
        static.servers[0].breaker.failed("a bug")
    assert picked(static) == "static"


@pytest.mark.parametrize(
    "script",
    [
        DOWN,
        [BackendTimeout("local", "connect", 1.0)],
        [StreamBroken("local", "was cut")],
        [BackendOverloaded("local", "is full", status_code=503)],
        [BackendOverloaded("local", "is full", status_code=429, retry_after_s=60)],
    ],
    ids=["down", "timeout", "cut", "full", "retry after"],
)
def test_a_server_that_is_away_costs_no_turn(script: Reply) -> None:
    """The next server of the same backend is asked at once, and the player notices nothing."""

    async def main() -> None:
        servers = ScriptedBackend("gpu0", "Yes."), ScriptedBackend("gpu1", script)
        chain = make_chain(Replicated("local", *servers), ScriptedBackend("static", "Hm."))
        for _ in range(20):
            told = await tell(chain, first_token_ms=350, first_text_ms=1_500)
            assert told.text == "Yes."
            assert told.first_ms == 0
            assert told.turn.result.trail[-1].server == "gpu0"
        assert len(servers[1].calls) <= 3
        assert len(servers[0].calls) == 20

    run(main())


def test_when_all_servers_are_away_the_next_backend_speaks() -> None:
    """Each is asked once, then the chain goes on."""

    async def main() -> None:
        servers = [ScriptedBackend(f"gpu{number}", DOWN) for number in range(3)]
        chain = make_chain(Replicated("local", *servers), ScriptedBackend("fast", "Yes."))
        told = await tell(chain)
        assert told.trail == [*[("local", "failed")] * 3, ("fast", "served")]
        assert [len(server.calls) for server in servers] == [1, 1, 1]
        assert set(told.reasons[:3]) == {f"is down (gpu{number})" for number in range(3)}

    run(main())


@pytest.mark.parametrize(
    "error",
    [
        PromptTooLong("local", "9000 tokens, and 4096 fit"),
        BackendUnauthorized("local", "refused the key", status_code=401),
        ValueError("a bug"),
    ],
    ids=["too long", "unauthorized", "bug"],
)
def test_what_no_other_server_would_do_better_is_not_tried_there(error: Exception) -> None:
    """A prompt that is too long, a wrong key or a bug is the same everywhere."""

    async def main() -> None:
        servers = ScriptedBackend("gpu0", [error]), ScriptedBackend("gpu1", [error])
        chain = make_chain(Replicated("local", *servers), ScriptedBackend("fast", "Yes."))
        told = await tell(chain)
        assert told.text == "Yes."
        assert len(told.trail) == 2
        assert sum(len(server.calls) for server in servers) == 1

    run(main())


@pytest.mark.parametrize("hedges", [0.0, 1.0], ids=["replaced", "beside"])
def test_where_a_server_is_late_the_next_backend_is_asked_first(hedges: float) -> None:
    """Another machine altogether is the better bet; the other server comes when none is left."""

    async def main() -> None:
        servers = ScriptedBackend("gpu0", [wait(250), "Two."]), ScriptedBackend("gpu1", HANGS)
        fast = ScriptedBackend("fast", [BackendUnavailable("fast", "is down")])
        chain = make_chain(
            Replicated("local", *servers), fast, ScriptedBackend("static", "Hm."), hedges=hedges
        )
        told = await tell(chain, first_token_ms=100, first_text_ms=2_000)
        assert len(fast.calls) == 1
        assert (told.text, told.first_ms) == ("Two.", 350)
        assert [len(server.calls) for server in servers] == [1, 1]

    run(main())


@pytest.mark.parametrize("hedges", [0.0, 1.0], ids=["replaced", "beside"])
def test_where_no_backend_is_left_the_other_server_is_asked(hedges: float) -> None:
    """A late server does not leave the turn to authored lines while its sister is well."""

    async def main() -> None:
        servers = ScriptedBackend("gpu0", [wait(50), "Two."]), ScriptedBackend("gpu1", HANGS)
        chain = make_chain(
            Replicated("local", *servers), ScriptedBackend("static", "Hm."), hedges=hedges
        )
        told = await tell(chain, first_token_ms=100, first_text_ms=2_000)
        assert (told.text, told.first_ms) == ("Two.", 150)
        assert told.trail == [("local", "lost" if hedges else "late"), ("local", "served")]
        assert [one.server for one in told.turn.result.trail] == ["gpu1", "gpu0"]
        assert servers[1].calls[0].closed_early

    run(main())


def test_retry_after_is_obeyed() -> None:
    """A server that asks for a minute is not asked for a minute."""

    async def main() -> None:
        busy = [BackendOverloaded("local", "is full", status_code=429, retry_after_s=60)]
        local = ScriptedBackend("local", busy, "I am back.")
        chain = make_chain(local, ScriptedBackend("static", "Hm."))
        loop = asyncio.get_running_loop()
        await ask_until(chain, "I am back.", every_s=0.5)
        assert len(local.calls) == 2
        assert 60 <= loop.time() <= 73

    run(main())


def test_a_server_that_is_back_is_used_within_five_seconds() -> None:
    """However long it was away; nobody has to restart anything."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        back_at = 100.0

        def reply(_: object) -> Reply:
            return "I am back." if loop.time() >= back_at else DOWN

        local = ScriptedBackend("local", reply)  # type: ignore[arg-type]  # scripts without types
        chain = make_chain(local, ScriptedBackend("static", "Hm."))
        await ask_until(chain, "I am back.", every_s=0.1)
        assert back_at <= loop.time() <= back_at + 5
        assert len(local.calls) < 60, "it was not asked all the time"

    run(main())


def test_a_probe_that_hangs_costs_one_turn_at_a_time() -> None:
    """While a server that hangs is tried, the other turns do not wait for it."""

    async def main() -> None:
        local = ScriptedBackend("local", HANGS)
        chain = make_chain(local, ScriptedBackend("static", "Hm."))
        breaker = chain.entries["local"].servers[0].breaker
        for _ in range(3):
            breaker.failed("hangs")
        await asyncio.sleep(1)
        limits = {"first_token_ms": 300, "first_text_ms": 1_000}
        told = await asyncio.gather(
            *(tell(chain, identity=f"You are number {number}.", **limits) for number in range(10))
        )
        assert sorted(one.first_ms for one in told) == [*[0] * 9, 970]
        assert len(local.calls) == 1
        assert not breaker.allows()

    run(main())


def test_a_wrong_key_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand turns with a wrong key ask three times an hour, not a thousand."""

    async def main() -> None:
        refused = [BackendUnauthorized("cloud", "the key was refused", status_code=401)]
        cloud = ScriptedBackend("cloud", refused)
        chain = make_chain(cloud, ScriptedBackend("static", "Hm."))
        for _ in range(1_000):
            assert (await tell(chain)).text == "Hm."
            await asyncio.sleep(0.6)
        assert len(cloud.calls) <= 2
        told = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert len(told) == 1
        assert "the key was refused" in told[0].getMessage()

    with caplog.at_level(logging.INFO, "palaver.chain"):
        run(main())


def test_a_request_that_is_refused_says_nothing_of_the_server() -> None:
    """A provider that refuses one prompt, or finds it too long, is well."""

    async def main() -> None:
        for error in (
            PromptTooLong("cloud", "9000 tokens, and 4096 fit"),
            BackendRefused("cloud", "was not willing to", status_code=400),
        ):
            cloud = ScriptedBackend("cloud", [error])
            chain = make_chain(cloud, ScriptedBackend("static", "Hm."))
            for _ in range(10):
                await tell(chain)
            assert len(cloud.calls) == 10
            assert chain.entries["cloud"].servers[0].breaker.state == "closed"

    run(main())


def test_the_servers_numbers_are_told() -> None:
    """What is at a server, and what waits for it, can be read at any time."""

    async def main() -> None:
        local = ScriptedBackend(
            "local", HANGS, settings=ScriptedSettings(type="scripted", concurrency=1)
        )
        chain = make_chain(local)
        server = chain.entries["local"].servers[0]
        turns = [
            asyncio.create_task(
                tell(chain, turn=make_turn(persona=make_persona()), identity=f"You are {number}.")
            )
            for number in range(3)
        ]
        await asyncio.sleep(0.01)
        assert (server.name, server.active, server.waiting) == ("local", 1, 2)
        for turn in turns:
            turn.cancel()
        await asyncio.wait(turns)
        assert (server.active, server.waiting) == (0, 0)

    run(main())
