"""A real `redis-server` for the tests, which they may end and start again."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class RedisServer:
    """One `redis-server`, which keeps nothing on disk.

    Args:
        folder: A folder of its own, with a short path: that of a socket has 107 characters.
        options: More of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.socket = folder / "redis.sock"
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is missing; on Debian: apt-get install redis-server"
        arguments = ["--unixsocket", str(self.socket), "--port", str(self.port)]
        arguments += ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            *self._options,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            async for line in self._process.stdout:
                if b"ready to accept connections unix" in line.lower() or (
                    b"now ready to accept connections at" in line
                ):
                    return
        raise AssertionError("redis-server ended at once")

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="pal-") as folder:
        yield Path(folder)


@pytest.fixture
async def make_redis(short_folder: Path) -> AsyncIterator[Callable[..., Awaitable[RedisServer]]]:
    """Starts servers, each with more of its command line."""
    servers: list[RedisServer] = []

    async def make(*options: str) -> RedisServer:
        server = RedisServer(short_folder, *options)
        servers.append(server)
        await server.start()
        return server

    yield make
    for server in servers:
        await server.kill()


@pytest.fixture
async def redis_server(make_redis: Callable[..., Awaitable[RedisServer]]) -> RedisServer:
    """A server that runs."""
    return await make_redis()
