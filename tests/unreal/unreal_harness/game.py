"""A game: the program `live`, with commands in and events out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Self

from .build import environment

LIMIT_S = 60
CAPABILITIES = ["sentence", "emotion", "action"]


class Game:
    """The C++ core on libwebsockets, as a process of its own.

    Attributes:
        events: Everything that it has told.
    """

    def __init__(self, program: Path, port: int, **start: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self._command = [str(program), "127.0.0.1", str(port)]
        # Short waits between attempts: the tests cut often.
        waits = {"retry_base_ms": 10, "retry_cap_ms": 100}
        self._start = {"type": "session.start", "capabilities": CAPABILITIES, **waits, **start}

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment()
        )
        await self.do(**self._start)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(LIMIT_S):
                words = (await self._process.communicate())[1]
        except TimeoutError:
            self._process.kill()
            words = (await self._process.communicate())[1]
        # What a sanitizer finds, a leak too, ends the program otherwise.
        assert self._process.returncode == 0, words.decode()

    async def do(self, type: str, **fields: Any) -> None:
        """Let the game do something: a message of the protocol, as it causes it."""
        assert self._process.stdin is not None
        line = json.dumps({"type": type, **fields})
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def ask(self, turn: str, **fields: Any) -> None:
        """Say something to Vlad, with all the patience that a busy machine may need."""
        patience = {"answer_ms": 60_000, "away_ms": 60_000}
        await self.do("turn.start", turn=turn, npc="vlad", **patience, **fields)

    async def next(self) -> dict[str, Any]:
        """Wait for the next event."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            line = await self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise AssertionError((await self._process.stderr.read()).decode())
        event: dict[str, Any] = json.loads(line)
        self.events.append(event)
        return event

    async def until(self, name: str, **fields: Any) -> dict[str, Any]:
        """Wait for an event of this name with at least these fields."""
        while True:
            event = await self.next()
            if event["event"] == name and fields.items() <= event.items():
                return event

    def text(self, turn: str) -> str:
        """Everything that was shown of a turn."""
        return "".join(
            event["text"]
            for event in self.events
            if event["event"] == "delta" and event["turn"] == turn
        )

    def all(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """All events of this name with at least these fields, so far."""
        return [e for e in self.events if e["event"] == name and fields.items() <= e.items()]
