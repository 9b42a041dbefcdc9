"""Streamed replies of HTTP servers, on real sockets: in time, and let go of properly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from palaver.chain import stream as stream_module
from palaver.chain.http import Http
from palaver.chain.stream import HttpStream
from palaver.errors import BackendTimeout, StreamBroken

WAIT_S = 20
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE, END = b"5\r\nHello\r\n", b"0\r\n\r\n"


class Server:
    """Streams a piece to each request, and what follows when it is told to.

    Attributes:
        connections: How many were opened.
        go_on: Sends the end of a reply, or, where it `breaks`, ends the connection.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.go_on = asyncio.Event()
        self.breaks = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(HEAD + PIECE)
                await self.go_on.wait()
                if self.breaks:
                    break
                writer.write(END)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has closed it
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that streams."""
    one = Server()
    listening = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield one
        one.go_on.set()


@pytest.fixture
async def http(server: Server) -> AsyncIterator[Http]:
    """A client, closed before its server."""
    client = Http("one", connect_s=WAIT_S)
    yield client
    await client.close()


async def opened(http: Http, server: Server, limit_s: float | None = None) -> HttpStream:
    """Return a stream of which the first piece was read."""
    now = asyncio.get_running_loop().time()
    response = await http.send("GET", server.url, None, None)
    assert await response.content.readany() == b"Hello"
    deadline = None if limit_s is None else now + limit_s
    return HttpStream("one", response, deadline, now)


async def test_a_reply_ends_in_time(http: Http, server: Server) -> None:
    """A stream that goes on beyond its time is closed, and the error tells the limit."""
    stream = await opened(http, server, limit_s=0.05)
    async with asyncio.timeout(WAIT_S):
        with pytest.raises((aiohttp.ClientError, OSError)) as caught:
            await stream.response.content.readany()
    error = stream.failed(caught.value)
    assert isinstance(error, BackendTimeout)
    assert (error.phase, error.limit_s) == ("total", pytest.approx(0.05))
    await stream.close(whole=False)


async def test_a_connection_that_breaks_is_told(http: Http, server: Server) -> None:
    """Before its time is over the server is to blame."""
    stream = await opened(http, server, limit_s=1_000)
    server.breaks = True
    server.go_on.set()
    async with asyncio.timeout(WAIT_S):
        with pytest.raises((aiohttp.ClientError, OSError)) as caught:
            await stream.response.content.readany()
    assert isinstance(stream.failed(caught.value), StreamBroken)
    await stream.close(whole=False)
    await stream.close(whole=False)


async def test_the_connection_of_a_whole_reply_is_used_again(
    http: Http, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last bytes are waited for, though not for long."""
    monkeypatch.setattr(stream_module, "DRAIN_S", WAIT_S)
    server.go_on.set()
    for _ in range(3):
        stream = await opened(http, server)
        await stream.close(whole=True)
        await stream.close(whole=True)
    assert server.connections == 1


@pytest.mark.parametrize("whole", [False, True], ids=["left", "without its last bytes"])
async def test_the_connection_of_any_other_is_closed(
    http: Http, server: Server, whole: bool
) -> None:
    """A reply that was left early, or whose end does not come, takes its connection with it."""
    stream = await opened(http, server)
    await stream.close(whole=whole)
    second = await opened(http, server)
    assert server.connections == 2
    await second.close(whole=False)
