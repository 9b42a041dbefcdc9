"""A reply that an HTTP server streams: it ends in time, and is let go of properly.

A backend reads `response.content` itself, so that a token costs nothing here.
"""

from __future__ import annotations

import asyncio

import aiohttp

from palaver.chain.http_errors import broken
from palaver.errors import BackendError, BackendTimeout

__all__ = ["DRAIN_S", "HttpStream"]

DRAIN_S = 0.05
"""Time for the last bytes of a whole reply, so that the connection can be used again, in
seconds."""


class HttpStream:
    """An answer whose headers have come.

    Args:
        backend: Name of the backend, for its errors.
        response: The answer.
        deadline: `loop.time()` by which it must be whole, or None.
        started: `loop.time()` at which it was asked for; for errors, which tell the limit.

    Attributes:
        response: The answer.
        expired: Whether it was closed because its time is over.
    """

    __slots__ = ("_alarm", "_backend", "_limit_s", "expired", "response")

    def __init__(
        self,
        backend: str,
        response: aiohttp.ClientResponse,
        deadline: float | None,
        started: float,
    ) -> None:
        self._backend, self.response, self.expired = backend, response, False
        self._limit_s = 0.0 if deadline is None else max(0.0, deadline - started)
        self._alarm: asyncio.TimerHandle | None = None
        if deadline is not None:
            # A timeout around the reads would have to be set anew for every token.
            self._alarm = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        self.expired = True
        self.response.close()

    def failed(self, err: Exception) -> BackendError:
        """Return the error for a stream that broke.

        Args:
            err: What reading it raised.
        """
        return self.timeout() if self.expired else broken(self._backend, err)

    def timeout(self) -> BackendTimeout:
        """Return the error for a reply that took too long."""
        return BackendTimeout(self._backend, "total", self._limit_s)

    async def close(self, *, whole: bool) -> None:
        """Let go; safe to call twice.

        Args:
            whole: Whether the reply is; its connection can be used again then. Any other is closed
                at once, which aborts the generation.
        """
        if self._alarm is not None:
            self._alarm.cancel()
        response = self.response
        try:
            if whole and not response.content.is_eof():
                async with asyncio.timeout(DRAIN_S):
                    await response.content.readany()
        except (aiohttp.ClientError, OSError):
            pass  # the reply is whole; the connection just cannot be used again
        finally:
            if whole and response.content.is_eof():
                response.release()
            else:
                response.close()
