"""The HTTP client of backends, on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from palaver.chain import http as http_module
from palaver.chain.http import MAX_BODY_BYTES, Http
from palaver.errors import BackendError, BackendResponseError, BackendTimeout, BackendUnavailable
from palaver.testing.fake_vllm_lab import free_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve every request with one handler; yields the address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """A client with a header and a hint of its own."""
    client = Http("one", connect_s=5, headers={"x-key": "secret"}, hint="plug it in")
    yield client
    await client.close()
    await client.close()


async def test_sends_its_headers_and_keeps_no_cookies(http: Http) -> None:
    """Every request carries the client's headers, and none a cookie that a server has set."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        response = web.Response(text="well")
        response.set_cookie("who", "you")
        return response

    async with serving(handle) as url:
        for _ in range(2):
            assert await http.fetch("GET", url, limit_s=10) == (200, b"well")
    for request in seen:
        assert request.headers["x-key"] == "secret"
        assert request.headers["Accept-Encoding"] == "identity"
        assert "Cookie" not in request.headers


async def test_follows_no_redirect(http: Http) -> None:
    """A redirect is handed back as it is."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async with serving(handle) as url:
        status, _ = await http.fetch("GET", f"{url}/here", limit_s=10)
    assert (status, asked) == (307, ["/here"])


async def test_a_body_is_bounded(http: Http) -> None:
    """An answer that is read whole cannot fill the memory."""

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * (MAX_BODY_BYTES + 1))

    async with serving(handle) as url:
        with pytest.raises(BackendResponseError, match="more than"):
            await http.fetch("GET", url, limit_s=30)


@pytest.mark.parametrize("headers_first", [False, True], ids=["headers", "body"])
async def test_waiting_has_a_limit(http: Http, headers_first: bool) -> None:
    """A server that does not go on is left after the limit, before its headers or after."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if headers_first:
            await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async with serving(handle) as url:
        with pytest.raises(BackendTimeout) as caught:
            await http.fetch("GET", url, limit_s=0.2)
    assert caught.value.phase == "total"


async def test_nobody_there_ends_with_the_hint(http: Http) -> None:
    """The error for an absent server names it and ends with what to do."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(BackendUnavailable) as caught:
        await http.fetch("GET", f"{url}/path", limit_s=10)
    assert url in caught.value.reason
    assert caught.value.reason.endswith("plug it in")


async def test_what_is_no_http_is_told(http: Http) -> None:
    """A server that speaks something else is an error of its own, and shows no key."""

    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BackendResponseError) as caught:
            await http.fetch("GET", f"http://127.0.0.1:{port}", limit_s=10)
    assert "secret" not in f"{caught.value} {caught.value.__cause__!r}"


@asynccontextmanager
async def hanging_up(after: int) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve connections on which only so many requests are answered; yields what was read."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in range(after):
                seen.append(await reader.readuntil(b"{}"))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
            seen.append(await reader.readuntil(b"{}"))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


async def test_what_a_server_has_read_is_not_sent_again(http: Http) -> None:
    """A new connection that ends without an answer had its request read: it may have to be paid."""
    async with hanging_up(after=0) as (url, seen):
        with pytest.raises(BackendError):
            await http.fetch("POST", url, limit_s=30, body=b"{}")
        assert len(seen) == 1


@pytest.mark.parametrize(("stale_s", "read"), [(60, 3), (0, 2)], ids=["at once", "later"])
async def test_an_idle_connection_that_was_closed_is_replaced(
    http: Http, monkeypatch: pytest.MonkeyPatch, stale_s: float, read: int
) -> None:
    """What ends at once on an idle connection is sent again; what ends later was read."""
    monkeypatch.setattr(http_module, "STALE_S", stale_s)
    async with hanging_up(after=1) as (url, seen):
        assert await http.fetch("POST", url, limit_s=30, body=b"{}") == (200, b"OK")
        if read == 3:
            assert await http.fetch("POST", url, limit_s=30, body=b"{}") == (200, b"OK")
        else:
            with pytest.raises(BackendError):
                await http.fetch("POST", url, limit_s=30, body=b"{}")
        assert len(seen) == read
