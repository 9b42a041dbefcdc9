"""The server that `palaver bench` measures: in a process of its own, with a folder of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from palaver.config.tiers import default_tiers
from palaver.errors import PalaverError

__all__ = ["ServerProcess"]

START_S = 60.0
STOP_S = 15.0
MAX_LINE = 1_000_000
"""Longest line that a server prints, in bytes."""


class ServerProcess:
    """`palaver serve` as a child process, while the context is open.

    Args:
        world: A folder, the name of an example, or None.
        settings: Settings by dotted key.

    Attributes:
        url: Its WebSocket address.
        world: Name of the world it serves.
        backends: Names of its backends.
    """

    def __init__(self, world: str | None, settings: Mapping[str, Any]) -> None:
        self._arguments = [world] if world is not None else []
        alone: dict[str, Any] = {"server.host": "127.0.0.1", "server.tokens": []}
        # What is measured is how models are relayed, not how little is asked of them.
        alone |= {f"tiers.{name}.cache": False for name in default_tiers()}
        for key, value in {**alone, **settings}.items():
            # What JSON and TOML write alike: texts, numbers, lists.
            self._arguments += ["--set", f"{key}={json.dumps(value)}"]
        self._stack = AsyncExitStack()
        self._pid = 0
        self.url = ""
        self.world = ""
        self.backends: list[str] = []

    async def __aenter__(self) -> Self:
        """Start it and wait until it serves.

        Raises:
            PalaverError: It does not start; with what it said.
        """
        async with self._stack:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="palaver-"))
            command = ["-m", "palaver", "serve", *self._arguments, "--port", "0", "--json"]
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                "--log-level",
                "error",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "PALAVER_DATA_DIR": folder},
                limit=MAX_LINE,
            )
            # Left in the opposite order: the process ends, then what it says does.
            drains: list[asyncio.Task[None]] = []
            self._stack.push_async_callback(_end, drains)
            self._stack.push_async_callback(_stop, process)
            await self._read_ready(process)
            drains += [
                asyncio.create_task(_drain(process.stdout)),
                asyncio.create_task(_drain(process.stderr)),
            ]
            self._stack = self._stack.pop_all()
        return self

    async def _read_ready(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(START_S):
                line = await process.stdout.readline()
                ready = json.loads(line) if line else None
                if ready is None or ready.get("event") != "ready":
                    said = (await process.stderr.read(MAX_LINE)).decode("utf-8", "replace")
                    raise PalaverError(said.strip().removeprefix("error: ") or "no server started")
        except TimeoutError:
            raise PalaverError(f"the server did not start within {START_S:.0f} s") from None
        self._pid = process.pid
        self.url = ready["url"]
        self.world = ready["world"]
        self.backends = list(ready["backends"])

    async def __aexit__(self, *exc: object) -> None:
        """Stop it."""
        await self._stack.aclose()

    def cpu_s(self) -> float | None:
        """Return the processor time it has used, in seconds, where the system tells."""
        try:
            fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None

    def memory_mb(self) -> float | None:
        """Return the memory it uses, in MB, where the system tells."""
        try:
            for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return round(int(line.split()[1]) * 1024 / 1e6, 1)
        except (OSError, ValueError, IndexError):
            pass
        return None


async def _drain(stream: asyncio.StreamReader | None) -> None:
    """Read what a process says, so that it never waits for us."""
    while stream is not None and await stream.read(65_536):
        pass


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=STOP_S)
        for task in late:
            task.cancel()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
