"""An event loop whose time is not the world's: hours of waiting take no time, and always the same.

    def test_it_gives_up_after_an_hour():
        with VirtualLoop() as loop:
            loop.run_until_complete(patience())
            assert loop.time() == 3600

When nothing is ready to run, the loop's time jumps to the next timer. What a program does between
two waits takes no time at all, so two runs of it are alike to the last step. Use it for programs
without sockets, threads and processes: whoever waits for one of these while a timer runs sees that
timer end at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
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
        found = super().select(0)
        if not found and (timeout is None or timeout > 0):
            self.loop.skip(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own, which begins at 0; use it with `with`.

    At the end of the `with` block, everything that still runs is cancelled, and the loop is closed.
    """

    def __init__(self) -> None:
        self._now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now

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
