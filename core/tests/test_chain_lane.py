"""The lane lets so many through, the most urgent first, gives everybody a share, and leaks none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.chain.lane import MOST_KNOWN, Lane, Urgency
from palaver.errors import BackendOverloaded
from palaver.testing.clock import run

PLAYER, SCENE, AMBIENT, BACKGROUND = range(4)


class Crowd:
    """Requests that want through a lane, and who went through when."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.served: list[str] = []
        self.refused: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._go: dict[str, asyncio.Event] = {}

    async def come(self, *names: str, priority: int = PLAYER, rank: int = 1) -> None:
        """Let requests come, one after the other; `anna.1` is one of anna's."""
        for name in names:
            self._go[name] = asyncio.Event()
            urgency = Urgency(priority, rank, name.partition(".")[0])
            self.tasks[name] = asyncio.create_task(self._request(name, urgency))
            await settle()

    async def done(self, *names: str) -> None:
        """Let requests that were let through be over."""
        for name in names:
            self._go[name].set()
            await settle()

    async def gone(self, *names: str) -> None:
        """Let requests be given up."""
        for name in names:
            self.tasks[name].cancel()
            await settle()

    async def all_served(self) -> list[str]:
        """Let one after the other be over; returns the order in which they went through."""
        at = 0
        while at < len(self.served):
            await self.done(self.served[at])
            at += 1
        assert all(task.done() for task in self.tasks.values())
        assert (self.lane.active, self.lane.waiting) == (0, 0)
        return self.served

    async def _request(self, name: str, urgency: Urgency) -> None:
        try:
            await self.lane.enter(urgency)
        except BackendOverloaded:
            self.refused.append(name)
            return
        self.served.append(name)
        try:
            await self._go[name].wait()
        finally:
            self.lane.leave()


async def settle() -> None:
    """Let everything happen that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_without_a_limit_everybody_is_let_through() -> None:
    """No bound, no queue."""

    async def main() -> None:
        lane = Lane("local", None, 0)
        for number in range(1_000):
            await lane.enter(Urgency(BACKGROUND, 0, str(number)))
        assert lane.active == 1_000
        assert not lane.full

    run(main())


def test_only_so_many_at_once() -> None:
    """Whoever comes when it is full waits, and goes through when one leaves."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 2, 10))
        await crowd.come("a", "b", "c", "d")
        assert crowd.served == ["a", "b"]
        assert (crowd.lane.active, crowd.lane.waiting, crowd.lane.full) == (2, 2, True)
        await crowd.done("b")
        assert crowd.served == ["a", "b", "c"]
        assert await crowd.all_served() == ["a", "b", "c", "d"]

    run(main())


def test_the_most_urgent_goes_first() -> None:
    """A player before a scene, before ambient chatter, before the background; rank says nothing."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 1, 10))
        await crowd.come("first")
        await crowd.come("background", priority=BACKGROUND, rank=9)
        await crowd.come("ambient", priority=AMBIENT, rank=9)
        await crowd.come("scene", priority=SCENE, rank=9)
        await crowd.come("player", priority=PLAYER, rank=0)
        assert await crowd.all_served() == ["first", "player", "scene", "ambient", "background"]

    run(main())


def test_everybody_has_a_share() -> None:
    """A player who asks ten NPCs at once does not keep the others waiting for all ten."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 1, 50))
        await crowd.come("first")
        await crowd.come(*(f"anna.{number}" for number in range(10)))
        await crowd.come("bert.0", "cleo.0", "bert.1")
        order = (await crowd.all_served())[1:]
        assert order[:5] == ["anna.0", "bert.0", "cleo.0", "anna.1", "bert.1"]

    run(main())


def test_whoever_interrupts_does_not_lose_their_share() -> None:
    """A player who changes their mind five times is not five places behind."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 1, 50))
        await crowd.come("first")
        for number in range(5):
            await crowd.come(f"anna.{number}")
            await crowd.gone(f"anna.{number}")
        await crowd.come("bert.0", "bert.1", "anna.5", "bert.2")
        order = (await crowd.all_served())[1:]
        assert order == ["bert.0", "anna.5", "bert.1", "bert.2"]

    run(main())


def test_who_was_turned_away_does_not_lose_their_share() -> None:
    """Nor does one that there was no room for."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 1, 2))
        await crowd.come("first")
        await crowd.come("low.0", "low.1", rank=0)
        await crowd.come("high.0", "high.1", rank=2)
        assert crowd.refused == ["low.1", "low.0"]
        await crowd.done("first", "high.0")
        await crowd.come("low.2", rank=0)
        assert await crowd.all_served() == ["first", "high.0", "high.1", "low.2"]

    run(main())


def test_the_queue_is_bounded() -> None:
    """When nobody may wait any more, the last of equals is turned away, at once."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 1, 2))
        await crowd.come("a", "b", "c", "d", "e")
        assert crowd.refused == ["d", "e"]
        assert crowd.lane.turned_away == 2
        assert await crowd.all_served() == ["a", "b", "c"]

    run(main())


def test_the_least_important_is_turned_away() -> None:
    """First the least urgent, of these the lowest rank, of these the one with most before it."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 1, 4))
        await crowd.come("first")
        await crowd.come("grunt.0", "grunt.1", rank=0)
        await crowd.come("boss", rank=2)
        await crowd.come("chatter", priority=AMBIENT, rank=3)
        await crowd.come("story.0", rank=3)
        assert crowd.refused == ["chatter"]
        await crowd.come("story.1", rank=3)
        assert crowd.refused == ["chatter", "grunt.1"]
        await crowd.come("story.2", rank=3)
        assert crowd.refused == ["chatter", "grunt.1", "grunt.0"]
        await crowd.come("grunt.2", rank=0)
        assert crowd.refused[-1] == "grunt.2"
        await crowd.come("idle", priority=BACKGROUND, rank=9)
        assert crowd.refused[-1] == "idle"
        assert set(await crowd.all_served()) == {"first", "boss", "story.0", "story.1", "story.2"}

    run(main())


@pytest.mark.parametrize("queue", [0, 1])
def test_a_queue_of_nothing_refuses_at_once(queue: int) -> None:
    """With no room to wait there is an error instead of a wait."""

    async def main() -> None:
        lane = Lane("local", 1, queue)
        await lane.enter(Urgency(PLAYER, 1, "a"))
        waiting = [asyncio.create_task(lane.enter(Urgency(PLAYER, 1, "b"))) for _ in range(queue)]
        await settle()
        with pytest.raises(BackendOverloaded, match=f"{queue} requests wait already"):
            await lane.enter(Urgency(PLAYER, 1, "c"))
        for task in waiting:
            task.cancel()

    run(main())


def test_one_that_gave_up_just_now_takes_no_place() -> None:
    """A place in the queue is free from the moment that its owner is cancelled."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 1, 1))
        await crowd.come("first", "gone")
        crowd.tasks["gone"].cancel()
        await crowd.come("next")
        assert crowd.refused == []
        assert await crowd.all_served() == ["first", "next"]

    run(main())


@pytest.mark.parametrize("steps", range(4))
def test_one_that_is_cancelled_when_its_place_comes_hands_it_on(steps: int) -> None:
    """Just let through, and cancelled before it knows: the next one goes."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 1, 10))
        await crowd.come("first", "second", "third")
        crowd._go["first"].set()
        for _ in range(steps):
            await asyncio.sleep(0)
        crowd.tasks["second"].cancel()
        await settle()
        assert crowd.served[-1] == "third"
        assert (crowd.lane.active, crowd.lane.waiting) == (1, 0)
        await crowd.done("third")
        assert crowd.lane.active == 0

    run(main())


def test_those_who_gave_up_are_forgotten() -> None:
    """Neither they nor who they were stay in memory while the lane is full."""

    async def main() -> None:
        lane = Lane("local", 1, 8)
        await lane.enter(Urgency(PLAYER, 1, "first"))
        for number in range(3 * MOST_KNOWN):
            task = asyncio.create_task(lane.enter(Urgency(PLAYER, 1, f"player {number}")))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
        assert len(lane._heap) <= 4 * 9 + 1
        assert len(lane._last) <= MOST_KNOWN + 1
        assert lane.waiting == 0

    run(main())


Moves = Sequence[tuple[str, int]]
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["come", "come", "come", "done", "cancel", "step", "cancel at once"]),
        st.integers(0, 11),
    ),
    max_size=60,
)


@given(st.integers(1, 3), st.integers(0, 4), MOVES)
def test_no_slot_is_ever_lost(limit: int, queue: int, moves: Moves) -> None:
    """Whoever comes, is done or is cancelled, at whatever moment: the books are right."""

    async def main() -> None:
        lane = Lane("local", limit, queue)
        inside: dict[int, asyncio.Event] = {}
        tasks: list[asyncio.Task[None]] = []
        most = 0

        async def request(number: int, urgency: Urgency) -> None:
            nonlocal most
            try:
                await lane.enter(urgency)
            except BackendOverloaded:
                return
            inside[number] = asyncio.Event()
            most = max(most, len(inside))
            try:
                await inside[number].wait()
            finally:
                del inside[number]
                lane.leave()

        for number, (move, which) in enumerate(moves):
            if move == "come" or not tasks:
                urgency = Urgency(which % 3, which % 2, f"who {which % 4}")
                tasks.append(asyncio.create_task(request(number, urgency)))
            elif move == "done":
                for event in [*inside.values()][which % (len(inside) or 1) :][:1]:
                    event.set()
            elif move == "cancel":
                tasks[which % len(tasks)].cancel()
            elif move == "cancel at once":
                # In the same moment in which a place may come.
                for event in [*inside.values()][:1]:
                    event.set()
                await asyncio.sleep(0)
                tasks[which % len(tasks)].cancel()
            else:
                await asyncio.sleep(0)
            assert 0 <= lane.active <= limit
            assert lane.waiting <= queue
        while not all(task.done() for task in tasks):
            for event in inside.values():
                event.set()
            await asyncio.sleep(0)
        assert most <= limit
        assert (lane.active, lane.waiting) == (0, 0)
        await asyncio.wait_for(lane.enter(Urgency(BACKGROUND, 0, "last")), 1)

    run(main())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_among_equals_nobody_waits_for_more_than_a_round(order: list[int]) -> None:
    """Before anyone's next request, nobody else has had two more than them."""

    async def main() -> None:
        crowd = Crowd(Lane("local", 1, 100))
        await crowd.come("first")
        names = [f"{who}.{number}" for number, who in enumerate(order)]
        await crowd.come(*names)
        served = [name.partition(".")[0] for name in (await crowd.all_served())[1:]]
        assert sorted(served) == sorted(str(who) for who in order)
        for at in range(len(served)):
            had = {str(who): served[:at].count(str(who)) for who in set(order)}
            waits = {who for who in had if had[who] < served.count(who)}
            assert all(had[served[at]] <= had[who] for who in waits), served

    run(main())
