"""Keeps the model in memory, whatever becomes of single turns.

Ollama breaks off the loading of a model when the request it loads it for is given up
(`llm/llama_server.go`, "aborting load"). A chain gives up what is late, so that without this a
cold model would be loaded again and again, and never be there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from palaver.errors import BackendTimeout

__all__ = ["Loader"]

MARGIN_S = 1.0
"""The server's clock and ours began at different moments; so much earlier it counts as gone."""


class Loader:
    """Loads the model of one server with requests of its own.

    Args:
        backend: Name of the backend, for its errors.
        load: Loads the model, or sees that it is loaded.
        keep_s: How long the server keeps it after a reply, in seconds.
    """

    def __init__(self, backend: str, load: Callable[[], Awaitable[None]], keep_s: float) -> None:
        self._backend, self._load, self._keep_s = backend, load, keep_s
        self._task: asyncio.Task[None] | None = None
        self._kept_until = 0.0
        self._closed = False

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory, as far as one can know."""
        return _now() < self._kept_until

    def touch(self) -> None:
        """Note that the server has just used it."""
        self._kept_until = _now() + max(0.0, self._keep_s - MARGIN_S)

    def forget(self) -> None:
        """Note that it may be gone."""
        self._kept_until = 0.0

    def begin(self) -> asyncio.Task[None]:
        """Load it, unless that is being done."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"load for {self._backend}")
            # Whoever waits gets the error; where nobody does, the next turn meets it.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._task

    def doubt(self) -> None:
        """Make sure in the background that it is in memory: a request for it was given up."""
        self.forget()
        if not self._closed:
            self.begin()

    async def _run(self) -> None:
        await self._load()
        self.touch()

    async def ready(self, deadline: float | None) -> None:
        """Wait until it is loaded; giving up the wait does not give up the loading.

        Args:
            deadline: `loop.time()` after which the wait is of no use, or None.

        Raises:
            BackendError: It cannot be loaded, or not in time.
        """
        if self.loaded:
            return
        started = _now()
        limit_s = None if deadline is None else max(0.0, deadline - started)
        task = self.begin()
        done, _ = await asyncio.wait({task}, timeout=limit_s)
        if not done:
            raise BackendTimeout(self._backend, "total", limit_s or 0.0)
        task.result()

    async def close(self) -> None:
        """Stop loading; safe to call twice."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None


def _now() -> float:
    return asyncio.get_running_loop().time()
