"""Event loops for commands: one in the foreground, or one beside a terminal."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

__all__ = ["LoopThread", "on_interrupt", "run"]

T = TypeVar("T")

CLOSE_S = 15.0
"""Time for what runs beside the terminal to close, in seconds."""
POLL_S = 0.25
"""How often a wait looks up, in seconds: on Windows, Ctrl-C is not seen inside of one."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed, else None for Python's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on the fastest loop there is."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)


@contextmanager
def on_interrupt(action: Callable[[], None]) -> Generator[None]:
    """Do something else on Ctrl-C than to raise `KeyboardInterrupt`.

    Args:
        action: Called in the main thread, between any two of its steps.
    """
    try:
        before = signal.signal(signal.SIGINT, lambda *_: action())
    except ValueError:  # Not in the main thread, where nobody presses keys.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class LoopThread:
    """An event loop in a thread of its own, so that the main one can wait for a person.

    `input` and Ctrl-C belong to the main thread, and neither works inside of a running loop.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="palaver loop", daemon=True)

    def __enter__(self) -> LoopThread:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await self._stop.wait()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; Ctrl-C cancels it."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not future.done():
                concurrent.futures.wait((future,), timeout=POLL_S)
            return future.result()
        finally:
            future.cancel()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start a coroutine on the loop and do not wait; what it raises is dropped."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop)

    @contextmanager
    def holding(self, manager: AbstractAsyncContextManager[T]) -> Generator[T]:
        """Hold an async context manager open; one task enters and leaves it."""
        assert self._loop is not None
        entered: concurrent.futures.Future[T] = concurrent.futures.Future()
        leave = asyncio.Event()

        async def hold() -> None:
            async with manager as value:
                entered.set_result(value)
                await leave.wait()

        task = asyncio.run_coroutine_threadsafe(hold(), self._loop)
        try:
            while not (entered.done() or task.done()):
                both: tuple[concurrent.futures.Future[Any], ...] = (entered, task)
                concurrent.futures.wait(
                    both, timeout=POLL_S, return_when=concurrent.futures.FIRST_COMPLETED
                )
            if not entered.done():
                task.result()
            yield entered.result()
        finally:
            if entered.done():
                self._loop.call_soon_threadsafe(leave.set)
            else:
                task.cancel()
            concurrent.futures.wait((task,), timeout=CLOSE_S)
        if task.done() and not task.cancelled():
            task.result()
