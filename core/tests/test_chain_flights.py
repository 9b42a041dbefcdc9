"""Turns that ask the same at the same time share one request, its end, and its cost once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from palaver.chain.backend import Finish, GenerateRequest, Sampling
from palaver.chain.lane import Urgency
from palaver.chain.opening_checks import opening_checker
from palaver.chain.shared import Chain
from palaver.errors import BackendOverloaded, BackendUnavailable, StreamBroken
from palaver.game import Npc
from palaver.testing.chains import Told, make_chain, tell, wait
from palaver.testing.clock import run
from palaver.testing.scripted import Reply, ScriptedBackend, ScriptedSettings, Step
from palaver.testing.turns import make_persona, make_turn
from palaver.turn.model import Turn

GREETING = ["Good ", wait(50), "evening, ", wait(50), "flame.", Finish(completion_tokens=4)]


class Books:
    """A governor that keeps what was reserved and settled; a token costs a dollar."""

    def __init__(self) -> None:
        self.reserved: list[object] = []
        self.settled: list[tuple[object, int]] = []

    def reserve(self, turn: Turn, name: str, request: GenerateRequest) -> object:
        self.reserved.append(made := object())
        return made

    def settle(self, reservation: object, prompt: int, completion: int, cached: int) -> float:
        self.settled.append((reservation, completion))
        return float(completion)


def a_turn(player: str, **fields: Any) -> Turn:
    """Return the same greeting of another player."""
    fields.setdefault("persona", make_persona(last_words="Farewell."))
    return make_turn(player=player, **fields)


def start(chain: Chain, told: Told, **tier: Any) -> asyncio.Task[Told]:
    """Start a turn."""
    return asyncio.create_task(tell(chain, told=told, **tier))


def crowd(chain: Chain, count: int, **tier: Any) -> list[asyncio.Task[Told]]:
    """Start so many turns that ask the same."""
    return [start(chain, Told(a_turn(f"p{number}")), **tier) for number in range(count)]


def test_a_hundred_at_once_ask_once() -> None:
    """A crowd that greets the same zombie costs one reply, and each hears all of it."""

    async def main() -> None:
        local = ScriptedBackend("local", GREETING)
        books = Books()
        told = await asyncio.gather(*crowd(make_chain(local, governor=books), 100))
        assert len(local.calls) == 1
        assert {one.text for one in told} == {"Good evening, flame."}
        assert {one.first_ms for one in told} == {0}
        assert {one.turn.result.status for one in told} == {"completed"}
        assert {one.turn.raw for one in told} == {"Good evening, flame."}
        assert len(books.reserved) == 1
        assert [tokens for _, tokens in books.settled] == [4]
        assert sum(one.turn.result.usage.cost_usd for one in told) == 4.0
        assert sum(one.turn.result.usage.completion_tokens for one in told) == 4
        shared = [one for one in told if one.reasons[0] is not None]
        assert len(shared) == 99
        assert shared[0].reasons == ["shared with another turn that asked the same"]

    run(main())


def test_whoever_comes_later_hears_it_from_the_beginning() -> None:
    """What came already is there at once, the rest as it comes."""

    async def main() -> None:
        local = ScriptedBackend("local", GREETING)
        chain = make_chain(local)
        first = start(chain, Told(a_turn("anna")))
        await asyncio.sleep(0.07)
        late = await start(chain, Told(a_turn("bert")))
        assert late.text == (await first).text == "Good evening, flame."
        assert [round((one.at - late.begun) * 1000) for one in late.sink.of("turn.delta")] == [
            0,
            30,
        ]
        assert len(local.calls) == 1

    run(main())


def test_after_its_end_it_is_asked_anew() -> None:
    """Only requests under way are shared: what was said before is the cache's."""

    async def main() -> None:
        local = ScriptedBackend("local", "Once.", "Twice.")
        chain = make_chain(local)
        texts = [(await start(chain, Told(a_turn("anna")))).text for _ in range(2)]
        assert texts == ["Once.", "Twice."]

    run(main())


@pytest.mark.parametrize("after_ms", [0, 10, 60])
def test_the_first_may_leave_while_others_listen(after_ms: int) -> None:
    """Whoever began the request can be cancelled; the others hear it to its end, and one pays."""

    async def main() -> None:
        local = ScriptedBackend("local", GREETING)
        books = Books()
        chain = make_chain(local, governor=books)
        first, second, third = crowd(chain, 3)
        await asyncio.sleep(after_ms / 1000)
        first.cancel()
        heard = await asyncio.gather(second, third)
        assert {one.text for one in heard} == {"Good evening, flame."}
        assert len(local.calls) == 1
        assert local.calls[0].outcome == "whole"
        assert [tokens for _, tokens in books.settled] == [4]
        assert books.settled[0][0] is books.reserved[0]
        assert sorted(one.turn.result.usage.cost_usd for one in heard) == [0.0, 4.0]
        assert first.cancelled()

    run(main())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_when_nobody_listens_any_more_it_is_closed(order: Sequence[int]) -> None:
    """The last one who leaves ends the request, down to the generator, and it is paid once."""

    async def main() -> None:
        local = ScriptedBackend("local", ["Good ", wait(10_000), "evening."])
        books = Books()
        chain = make_chain(local, governor=books)
        turns = crowd(chain, 3)
        await asyncio.sleep(0.1)
        for number in order:
            assert not local.calls[0].ended.is_set()
            turns[number].cancel()
            await asyncio.sleep(0.01)
        assert local.calls[0].closed_early
        assert len(books.reserved) == len(books.settled) == 1
        assert chain.entries["local"].servers[0].active == 0
        # A new one is not tied to what is over.
        local.replies = ["Anew."]
        assert (await start(chain, Told(a_turn("dora")))).text == "Anew."

    run(main())


@pytest.mark.parametrize(
    "error",
    [
        BackendUnavailable("local", "is down"),
        BackendOverloaded("local", "is full", status_code=503),
        StreamBroken("local", "was cut"),
        ValueError("a bug"),
        asyncio.CancelledError(),
    ],
    ids=["down", "full", "cut", "bug", "cancels itself"],
)
@pytest.mark.parametrize("said", [(), ("Good evening and",)], ids=["at once", "in the middle"])
def test_an_error_reaches_everybody(said: Sequence[str], error: BaseException) -> None:
    """Each goes on by itself, and the next backend is asked once for all of them."""

    async def main() -> None:
        script: list[Step] = [wait(20), *said, wait(20), error]
        fast = ScriptedBackend("fast", [wait(20), "Hello."])
        chain = make_chain(ScriptedBackend("local", script), fast)
        told = await asyncio.gather(*crowd(chain, 20))
        text = "Good evening and… Hello." if said else "Hello."
        assert {one.text for one in told} == {text}
        assert {round(one.sink.frames[-1].at * 1000) for one in told} == {60}
        assert len(fast.calls) == 1
        assert chain.entries["local"].servers[0].breaker._in_a_row == 1, "it counts once"

    run(main())


def variants() -> list[Any]:
    """Return pairs of turns that ask alike, but not for the same."""
    persona = make_persona(last_words="Farewell.")
    other_adapter = make_persona(last_words="Farewell.", adapter="vampire@2")
    warmer = make_persona(last_words="Farewell.", sampling={"temperature": 1.5})
    return [
        pytest.param({"npc": Npc("zombie-2", persona.id)}, {}, id="npc"),
        pytest.param({"seed": 1}, {"seed": 2}, id="seed"),
        pytest.param({"persona": other_adapter}, {}, id="adapter"),
        pytest.param({"persona": warmer}, {}, id="sampling"),
        pytest.param({}, {"tier": {"max_tokens": 10}}, id="length"),
        pytest.param({}, {"identity": "You are another test."}, id="prompt"),
    ]


@pytest.mark.parametrize(("one", "two"), variants())
def test_what_is_not_the_same_is_not_shared(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Two NPCs side by side do not speak in chorus, nor with each other's voice."""

    async def main() -> None:
        local = ScriptedBackend("local", GREETING)
        chain = make_chain(local)
        turns = []
        for player, fields in (("anna", dict(one)), ("bert", dict(two))):
            tier = fields.pop("tier", {})
            if "identity" in fields:
                tier["identity"] = fields.pop("identity")
            turns.append(start(chain, Told(a_turn(player, **fields)), **tier))
        await asyncio.gather(*turns)
        assert len(local.calls) == 2

    run(main())


def test_a_second_try_is_not_shared() -> None:
    """A reply that was objected to is asked for again, not heard again."""

    async def main() -> None:
        local = ScriptedBackend("local", ["As an AI language model, I cannot. ", wait(50)], "Yes.")
        chain = make_chain(local, checks=[opening_checker])
        told = await start(chain, Told(a_turn("anna")), retries=1)
        assert told.text == "Yes."
        assert told.trail == [("local", "objected"), ("local", "served")]

    run(main())


def test_whoever_is_late_is_not_waited_for_by_newcomers() -> None:
    """A request that was too slow for one turn is not joined by the next, and counts each time."""

    async def main() -> None:
        scripts: list[Reply] = [[wait(100_000), "Never."], [wait(100_000), "Never."], "I am back."]
        local = ScriptedBackend("local", *scripts)
        chain = make_chain(local, ScriptedBackend("static", "Hm."))
        limits = {"first_token_ms": 100, "first_text_ms": 1_000}
        turns = crowd(chain, 5, **limits)
        await asyncio.sleep(0.05)
        turns += crowd(chain, 5, **limits)
        await asyncio.sleep(0.06)
        turns += crowd(chain, 5, **limits)
        await asyncio.sleep(0.2)
        assert len(local.calls) == 2, "the first ten shared one, the next five another"
        assert chain.entries["local"].servers[0].breaker._in_a_row == 2
        assert (await start(chain, Told(a_turn("late")), **limits)).text == "I am back."
        assert {one.text for one in await asyncio.gather(*turns)} == {"Hm."}

    run(main())


def test_nobody_joins_a_request_that_ends_long_before_their_own_time() -> None:
    """Whoever comes when most of its time is over asks anew, and hears the reply whole."""

    async def main() -> None:
        # Longer than one turn may take, so that each is cut after its own 1,000 ms.
        slow: Reply = ["On and on ", wait(2_000), "and on."]
        local = ScriptedBackend("local", slow, ["All of ", wait(900), "it."])
        chain = make_chain(local)
        first = start(chain, Told(a_turn("anna")), total_ms=1_000)
        await asyncio.sleep(0.4)
        soon = start(chain, Told(a_turn("bert")), total_ms=1_000)
        await asyncio.sleep(0.4)
        late = await start(chain, Told(a_turn("cleo")), total_ms=1_000)
        assert late.text == "All of it."
        assert late.turn.result.status == "completed"
        assert len(local.calls) == 2
        await asyncio.gather(first, soon)

    run(main())


def test_a_server_that_speaks_to_others_is_not_silent() -> None:
    """Whoever waits at the server behind a long reply opens no breaker."""

    async def main() -> None:
        long: Reply = [*("and on ", wait(100)) * 30, Finish()]
        behind: Reply = [wait(100_000), "Never."]
        local = ScriptedBackend("local", long, behind)
        chain = make_chain(local, ScriptedBackend("static", "Hm."))
        first = start(chain, Told(a_turn("anna")), identity="One.")
        await asyncio.sleep(0.5)
        late = await start(
            chain, Told(a_turn("bert")), identity="Two.", first_token_ms=700, first_text_ms=2_000
        )
        assert late.text == "Hm."
        assert chain.entries["local"].servers[0].breaker._in_a_row == 0
        await first

    run(main())


def test_a_player_does_not_wait_in_a_scenes_place() -> None:
    """A request that still waits is joined only by those that would not be ahead of it."""

    async def main() -> None:
        settings = ScriptedSettings(type="scripted", concurrency=1)
        local = ScriptedBackend(
            "local", [wait(100), "First."], [wait(10), "Same."], settings=settings
        )
        chain = make_chain(local)
        first = start(chain, Told(a_turn("first", text="Something else.")), identity="Another.")
        await asyncio.sleep(0.01)
        order: list[str] = []
        turns = []
        for name, priority in (("scene", "scene"), ("chatter", "ambient"), ("player", "player")):
            told = Told(a_turn(name, priority=priority))
            turns.append(start(chain, told))
            turns[-1].add_done_callback(lambda _, name=name: order.append(name))
            await asyncio.sleep(0.001)
        await asyncio.gather(first, *turns)
        assert len(local.calls) == 3
        assert order[0] == "player"

    run(main())


def test_waiting_for_room_costs_nothing() -> None:
    """A request that was given up before the server was asked is settled with nothing."""

    async def main() -> None:
        settings = ScriptedSettings(type="scripted", concurrency=1)
        local = ScriptedBackend("local", [wait(1_000), "First."], settings=settings)
        books = Books()
        chain = make_chain(local, governor=books)
        first = start(chain, Told(a_turn("anna")), identity="One.")
        await asyncio.sleep(0.01)
        second = start(chain, Told(a_turn("bert")), identity="Two.")
        await asyncio.sleep(0.01)
        second.cancel()
        await first
        assert len(local.calls) == 1
        assert len(books.reserved) == len(books.settled) == 2
        assert books.settled[0] == (books.reserved[1], 0)

    run(main())


def request(**fields: Any) -> GenerateRequest:
    """Return a request."""
    return GenerateRequest(turn=make_turn(), messages=(), sampling=Sampling(), **fields)


class Ear:
    """Somebody who listens."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.ends: list[Exception | None] = []

    def on_text(self, text: str) -> None:
        self.heard.append(text)

    def on_end(self, error: Exception | None, finish: Finish | None) -> None:
        self.ends.append(error)

    def pay(self, reservation: object) -> None: ...


def test_a_request_that_is_given_up_before_it_began_leaves_no_probe_behind() -> None:
    """Its task never runs, and still the breaker lets the next one try."""

    async def main() -> None:
        chain = make_chain(ScriptedBackend("local", "Yes."))
        server = chain.entries["local"].servers[0]
        server.breaker.rest(0.1, "busy")
        await asyncio.sleep(1)
        assert server.breaker.allows()
        flight = chain.flights.open("key", server, request(), Urgency(0, 1, "anna"))
        ear = Ear()
        flight.join(ear)
        assert not server.breaker.allows()
        flight.leave(ear)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert flight.task.cancelled()
        assert server.breaker.allows()
        assert chain.flights.find("key", Urgency(0, 1, "anna"), 0.0) is None
        assert (ear.heard, ear.ends, server.active) == ([], [], 0)

    run(main())


def test_a_reply_without_end_is_cut() -> None:
    """A backend that never stops does not fill the memory."""

    async def main() -> None:
        chain = make_chain(ScriptedBackend("local", [*["x" * 10_000] * 50]))
        server = chain.entries["local"].servers[0]
        flight = chain.flights.open(None, server, request(), Urgency(0, 1, "anna"))
        ear = Ear()
        flight.join(ear)
        await asyncio.wait({flight.task})
        assert len("".join(ear.heard)) <= 110_000
        assert "more than 100000 characters" in str(ear.ends[0])

    run(main())


def test_each_of_them_may_leave_in_the_middle_of_a_piece() -> None:
    """One who leaves while the piece goes round takes nothing from the others."""

    async def main() -> None:
        class Leaver(Ear):
            def on_text(self, text: str) -> None:
                super().on_text(text)
                for one in ears[:2]:
                    flight.leave(one)

        chain = make_chain(ScriptedBackend("local", ["One ", "two."]))
        server = chain.entries["local"].servers[0]
        flight = chain.flights.open(None, server, request(), Urgency(0, 1, "anna"))
        ears = [Leaver(), Leaver(), Ear(), Ear()]
        for ear in ears:
            flight.join(ear)
        await asyncio.wait({flight.task})
        assert [ear.heard for ear in ears[2:]] == [["One ", "two."]] * 2
        assert [ear.ends for ear in ears] == [[], [], [None], [None]]

    run(main())
