"""What the fakes of model servers have in common: a port, scripts for replies, and bookkeeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, Self, TypeVar

from aiohttp import web

from palaver.testing.fake_state import Asked, Watched
from palaver.testing.fake_vllm_reply import CUT, HANG, Reply

__all__ = ["FakeServer", "cut"]

A = TypeVar("A", bound=Asked)


def cut(request: web.Request) -> web.Response:
    """Break the connection of a request."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


class FakeServer(Watched, Generic[A]):
    """A server to be used with `async with`; which protocol it speaks is its subclass's business.

    Args:
        api_key: Key that it asks for, or None.
        port: Port to listen on; 0 takes a free one.

    Attributes:
        replies: What to answer next: each is taken out for one reply, and the last one stays.
        asked: Every reply that was asked for.
        calls: Every request as `METHOD /path`.
        running: How many replies there are now.
    """

    def __init__(self, *, api_key: str | None, port: int) -> None:
        super().__init__(port)
        self.api_key = api_key
        self.replies: list[Any] = [Reply()]
        self.asked: list[A] = []
        self.calls: list[str] = []
        self.running = 0
        self._runner: web.AppRunner | None = None

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        """Say what it answers."""
        raise NotImplementedError

    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Answer a request, in the protocol's words where it is refused."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    async def start(self) -> None:
        """Listen; after `stop` on the same port."""
        app = web.Application(middlewares=[self._called])
        self._add_routes(app.router)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Go away: connections break and the port refuses; safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        if runner.server is not None:
            for connection in list(runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        await runner.cleanup()

    async def wait_asked(self, times: int = 1) -> A:
        """Wait until that many replies were asked for, and return that one."""
        await self.until(lambda: len(self.asked) >= times)
        return self.asked[times - 1]

    async def wait_running(self, count: int) -> None:
        """Wait until there are exactly so many replies."""
        await self.until(lambda: self.running == count)

    @web.middleware
    async def _called(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path}")
        await self.notify()
        return await self._guard(request, handler)

    @asynccontextmanager
    async def _noted(self, asked: A) -> AsyncIterator[None]:
        """Note how a reply ends."""
        try:
            yield
        except (asyncio.CancelledError, ConnectionResetError):
            asked.aborted.set()
            raise
        finally:
            asked.ended.set()
            await self.notify()

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        """Count a reply while it is there."""
        self.running += 1
        try:
            await self.notify()
            yield
        finally:
            self.running -= 1
            await self.notify()

    def _next(self, body: Mapping[str, Any]) -> Reply:
        """Return the reply that is next in the script."""
        script = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if callable(script):
            script = script(body)
        return script if isinstance(script, Reply) else Reply(steps=script)

    @staticmethod
    def _error(reply: Reply, body: Mapping[str, Any]) -> web.Response:
        """Return the answer of a reply that is an error."""
        headers = {"Retry-After": reply.retry_after} if reply.retry_after is not None else None
        return web.json_response(body, status=reply.status, headers=headers)

    @staticmethod
    async def _before_headers(reply: Reply, request: web.Request) -> web.Response | None:
        """Wait for what comes before the headers; return an answer if nothing comes after it."""
        if reply.before_headers is HANG:
            await asyncio.Event().wait()
        elif isinstance(reply.before_headers, asyncio.Event):
            await reply.before_headers.wait()
        elif reply.before_headers is CUT:
            return cut(request)
        return None
