"""Virtual time passes where nothing is ready, in order, and without anybody waiting for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from palaver.testing.clock import NothingWillHappen, VirtualLoop, run


def test_hours_take_no_time() -> None:
    """A wait of a day is over at once, and the loop's time says that it was a day."""

    async def main() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    begun = time.perf_counter()
    assert run(main()) == pytest.approx(86_400)
    assert time.perf_counter() - begun < 60


def test_timers_come_in_order() -> None:
    """Whoever waits shorter is first, and time is exactly what each waited for."""
    seen: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, round(asyncio.get_running_loop().time(), 9)))

    async def main() -> None:
        await asyncio.gather(wait("c", 3.5), wait("a", 0.001), wait("b", 2))

    run(main())
    assert seen == [("a", 0.001), ("b", 2), ("c", 3.5)]


def test_what_a_program_does_takes_no_time() -> None:
    """However many steps there are between two waits, no time passes."""

    async def main() -> float:
        for _ in range(10_000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run(main()) == 0


def test_time_limits_hold() -> None:
    """A time limit ends a wait at its moment, not before and not after."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(1.5)


def test_a_wait_for_nothing_is_an_error() -> None:
    """Where no timer runs and everything waits, the tasks that wait are named."""

    async def main() -> None:
        asyncio.current_task().set_name("the one that waits")  # type: ignore[union-attr]
        await asyncio.Event().wait()

    with pytest.raises(NothingWillHappen, match="the one that waits"):
        run(main())


def test_what_is_left_is_cancelled() -> None:
    """At the end tasks that still run are cancelled, and generators are closed."""
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append("task")

    async def main() -> None:
        asyncio.get_running_loop().create_task(forever())
        await asyncio.sleep(1)

    with VirtualLoop() as loop:
        loop.run_until_complete(main())
        assert ended == []
    assert ended == ["task"]
    assert loop.is_closed()


def test_threads_take_no_time() -> None:
    """However long a thread works, no timer ends meanwhile."""

    async def main() -> float:
        async with asyncio.timeout(1):
            await asyncio.to_thread(time.sleep, 0.01)
        return asyncio.get_running_loop().time()

    assert run(main()) == 0
