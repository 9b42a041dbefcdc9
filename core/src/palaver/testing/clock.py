"""An event loop whose time is not the world's: hours of waiting take no time, and always the same.

    def test_it_gives_up_after_an_hour():
        with VirtualLoop() as loop:
            loop.run_until_complete(patience())
            assert loop.time() == 3600

When nothing is ready to run, the loop's time jumps to the next timer. What a program does between
two waits takes no time at all, nor does what it does in threads (`asyncio.to_thread`), so two runs
of it are alike to the last step. Use it for programs without sockets and processes: whoever waits
for one of these while a timer runs sees that timer end at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["NothingWillHappen", "VirtualLoop", "run"]

T = TypeVar("T")
GIVE_BACK_S = 60.0
"""Virtual time for what is cancelled at the end to let go."""


class NothingWillHappen(RuntimeError):
    """Everything waits, and nothing is there that would end the wait: no timer, no socket."""

    def __init__(self, waiting: str) -> None:
        super().__init__(f"nothing will ever happen again; these wait for something: {waiting}")


class _Selector(selectors.SelectSelector):
    """A selector that never waits: it tells the loop how long it would have waited."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # A thread of the loop's own tells it when it is done, by a socket.
        found = super().select(None if self.loop.threads and timeout != 0 else 0)
        if not found and (timeout is None or timeout > 0):
            self.loop.skip(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own, which begins at 0; use it with `with`.

    At the end of the `with` block, everything that still runs is cancelled, and the loop is closed.

    Attributes:
        threads: How many calls are at work in threads; time stands still meanwhile.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self.threads = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now

    def run_in_executor(  # type: ignore[override]  # as the loop's own, but for `TypeVarTuple`
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call a function in a thread; no time passes until it is done."""
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self.threads -= 1

    def skip(self, seconds: float | None) -> None:
        """Let time pass.

        Args:
            seconds: How much; None where there is no timer to wait for.

        Raises:
            NothingWillHappen: It is None.
        """
        if seconds is None:
            tasks = (task.get_name() for task in asyncio.all_tasks(self))
            raise NothingWillHappen(", ".join(sorted(tasks)) or "nobody")
        self._now += seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            left = asyncio.all_tasks(self)
            for task in left:
                task.cancel()
            if left:
                self.run_until_complete(asyncio.wait(left, timeout=GIVE_BACK_S))
            self.run_until_complete(self.shutdown_asyncgens())
            self.threads += 1  # the one that waits for the others
            self.run_until_complete(self.shutdown_default_executor())
        finally:
            self.close()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time and return its result.

    Args:
        main: The coroutine.

    Raises:
        NothingWillHappen: It waits for what never comes.
    """
    with VirtualLoop() as loop:
        return loop.run_until_complete(main)
