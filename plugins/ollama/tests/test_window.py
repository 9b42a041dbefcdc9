import asyncio
from collections.abc import Iterable

import pytest

from palaver.errors import BackendOverloaded, BackendTimeout
from palaver.prompt.sections import Message
from palaver.testing import UNIT_S
from palaver.testing.turns import make_request
from palaver_ollama.window import MAX_RUN, MAX_WAITING, Window

LONG_S = 1_000.0


class Line:
    """Requests that enter a window, and who was let go, in order."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.gone: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def add(self, *names: str, priority: int = 0, persona: str = "") -> None:
        """Let requests come one after another."""
        for name in names:
            messages = [Message("system", persona), Message("user", name)]
            request = make_request(name, priority=priority, messages=messages)
            self.tasks[name] = asyncio.create_task(self._one(name, request))
        await settle()

    async def _one(self, name: str, request: object) -> None:
        await self.window.enter(request)  # type: ignore[arg-type]
        self.gone.append(name)

    async def end(self) -> None:
        """Give up all that wait."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        self.window.close()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_whole_group_goes_at_once() -> None:
    """Requests wait for each other until there are `batch_size` of them."""
    line = Line(Window("local", 3, LONG_S))
    await line.add("a", "b")
    assert line.gone == []
    await line.add("c")
    assert line.gone == ["a", "b", "c"]
    assert (line.window.active, line.window.waiting) == (3, 0)


async def test_a_group_goes_when_its_time_is_over() -> None:
    """Nobody waits for others longer than the window."""
    line = Line(Window("local", 3, UNIT_S))
    await line.add("a", "b")
    await asyncio.wait_for(asyncio.gather(*line.tasks.values()), 20)
    assert line.gone == ["a", "b"]


async def test_no_more_than_a_group_is_at_the_server() -> None:
    """Others wait, and go as soon as there is room for them and they are a group or overdue."""
    line = Line(Window("local", 2, 0))
    await line.add("a", "b", "c", "d", "e")
    assert line.gone == ["a", "b"]
    line.window.leave()
    await settle()
    assert line.gone == ["a", "b", "c"]
    line.window.leave()
    line.window.leave()
    await settle()
    assert line.gone == ["a", "b", "c", "d", "e"]
    for _ in range(2):
        line.window.leave()
    assert line.window.active == 0


async def test_the_most_urgent_go_first_and_personas_together() -> None:
    """Players come before barks, and within that the prompt of one persona is read once."""
    line = Line(Window("local", 1, 0))
    await line.add("first")
    await line.add("bark", priority=2)
    await line.add("vlad", persona="vampire")
    await line.add("rotter", persona="zombie")
    await line.add("mina", persona="vampire")
    for _ in range(4):
        line.window.leave()
        await settle()
    assert line.gone == ["first", "vlad", "mina", "rotter", "bark"]


async def test_nobody_is_passed_for_ever() -> None:
    """New requests of the persona at work do not come before an older one of another."""
    line = Line(Window("local", 1, 0))
    await line.add("v0", persona="vampire")
    await line.add("z", persona="zombie")
    for number in range(1, 3 * MAX_RUN):
        await line.add(f"v{number}", persona="vampire")
        line.window.leave()
        await settle()
    assert line.gone.index("z") == MAX_RUN
    await line.end()


async def test_one_who_waits_can_be_given_up() -> None:
    """A cancelled request leaves its place, and the others go on."""
    line = Line(Window("local", 1, 0))
    await line.add("a", "b", "c")
    line.tasks["b"].cancel()
    await settle()
    assert line.tasks["b"].cancelled()
    assert line.window.waiting == 1
    line.window.leave()
    await settle()
    assert line.gone == ["a", "c"]


async def test_one_given_up_in_the_last_moment_makes_room() -> None:
    """Cancelling a request that was just let go does not keep its place at the server."""
    line = Line(Window("local", 1, 0))
    await line.add("a", "b", "c")
    line.window.leave()  # lets b go, which has not run since
    line.tasks["b"].cancel()
    await settle()
    assert line.tasks["b"].cancelled()
    assert line.gone == ["a", "c"]
    assert line.window.active == 1


async def test_one_given_up_takes_no_place_and_frees_none() -> None:
    """Where one who waits is cancelled in the moment another leaves, the count stays right."""
    line = Line(Window("local", 1, 0))
    await line.add("a", "b", "c")
    line.tasks["b"].cancel()  # it has not noticed yet
    line.window.leave()
    await settle()
    assert line.tasks["b"].cancelled()
    assert (line.gone, line.window.active, line.window.waiting) == (["a", "c"], 1, 0)


async def test_all_can_be_given_up() -> None:
    """Nothing is left of requests that were all cancelled, not even a clock."""
    line = Line(Window("local", 8, LONG_S))
    await line.add(*"abcde")
    await line.end()
    assert (line.window.active, line.window.waiting) == (0, 0)
    await line.add(*"fghijklm")
    assert len(line.gone) == 8


async def test_waiting_ends_at_the_deadline() -> None:
    """A request whose time is over does not go any more."""
    window = Window("local", 2, LONG_S)
    deadline = asyncio.get_running_loop().time() + UNIT_S
    with pytest.raises(BackendTimeout) as caught:
        await window.enter(make_request(deadline=deadline))
    assert caught.value.phase == "total"
    assert window.waiting == 0
    window.close()


async def test_the_queue_has_a_bound() -> None:
    """The 1,025th that waits is refused, and the others stay."""
    line = Line(Window("local", 1, 0))
    await line.add("at work", *map(str, range(MAX_WAITING)))
    assert line.window.waiting == MAX_WAITING == 1024
    with pytest.raises(BackendOverloaded, match="1,024 requests wait"):
        await line.window.enter(make_request())
    line.window.leave()
    await settle()
    await line.add("another")
    assert line.window.waiting == MAX_WAITING
    await line.end()
    assert line.window.waiting == 0


@pytest.mark.parametrize("size", [1, 4])
async def test_everybody_comes_through(size: int) -> None:
    """Whatever the size of groups, all requests go, and never more than a group at once."""
    window = Window("local", size, UNIT_S / 10)
    most = 0

    async def one(number: int) -> None:
        nonlocal most
        await window.enter(make_request(str(number), priority=number % 3))
        most = max(most, window.active)
        await asyncio.sleep(0)
        window.leave()

    async def all_of(numbers: Iterable[int]) -> None:
        await asyncio.gather(*map(one, numbers))

    await asyncio.wait_for(all_of(range(100)), 20)
    assert (window.active, window.waiting) == (0, 0)
    assert most <= size
