"""Plays transcripts of tests/wire to the C++ core: the network is the test's."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from palaver.messages import CLIENT_MESSAGES, PROTOCOL
from palaver.testing.transcripts import Line, fill, matches

from .build import environment

LIMIT_S = 60
CUT = 1006
SAMPLES = {
    "string": "x",
    "number": 1,
    "boolean": True,
    "object": {},
    "array": [],
    "null": None,
}
LIMITS = {"message_bytes": 60_000, "messages_per_s": 200}
READY: dict[str, Any] = {
    "protocol": 1,
    "server": {"name": "palaver", "version": "1"},
    "capabilities": [],
    "limits": LIMITS,
}


class Core:
    """The program `replay`: one client, whose clock stands still.

    Attributes:
        sent: Messages it has sent and nobody has looked at, without its own pings.
        pongs: Answers to its pings that the server still owes.
        events: What it has told its game.
        phase: The state of its connection.
    """

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.pongs: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.phase = ""

    async def open(self, program: Path, start: dict[str, Any]) -> None:
        """Start it, and let it connect."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            str(program), stdin=pipe, stdout=pipe, env=environment(), limit=2**20
        )
        await self.do(start)
        await self.do({"type": "opened"})

    async def close(self) -> None:
        """Let it end; a sanitizer's complaint is an error."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(LIMIT_S):
            assert await self._process.wait() == 0

    async def do(self, command: dict[str, Any]) -> bool:
        """Give a command and take in what it causes; returns whether the session took it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        while True:
            async with asyncio.timeout(LIMIT_S):
                line = await self._process.stdout.readline()
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "ready":
                return bool(event["ok"])
            if event["event"] == "phase":
                self.phase = event["phase"]
            if event["event"] == "send":
                assert event["frame"].isascii()
                message = json.loads(event["frame"])
                if message["type"] != "ping":
                    self.sent.append(message)
                else:
                    self.pongs.append({"type": "pong", "nonce": message["nonce"]})
            else:
                self.events.append(event)

    async def hear(self, message: dict[str, Any]) -> None:
        """Let it receive a message, and what the server owes it."""
        await self.do({"type": "frame", "frame": json.dumps(message)})
        while self.pongs:
            await self.do({"type": "frame", "frame": json.dumps(self.pongs.pop(0))})

    async def dial_again(self) -> None:
        """Let it wait until it dials, and connect."""
        assert self.phase == "waiting"
        await self.do({"type": "tick", "ms": 10_000})
        await self.do({"type": "opened"})


class Server:
    """The server's part of a session: what it has said, to say it again after a resume."""

    def __init__(self) -> None:
        self.log: list[dict[str, Any]] = []

    def next(self, message: dict[str, Any]) -> dict[str, Any]:
        """Give a message of a turn its number."""
        numbered = {**message, "seq": len(self.log) + 1}
        self.log.append(numbered)
        return numbered


class Story:
    """Plays one transcript: a core for each client, and the server by hand."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.kept: dict[str, Any] = {}
        self.cores: dict[str, Core] = {}
        self.all: list[Core] = []
        self.servers: dict[str, Server] = defaultdict(Server)
        self.session_of: dict[str, str] = {}
        self.replayed: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.said: dict[tuple[str, str], str] = defaultdict(str)
        self.expected: dict[tuple[str, str], str] = defaultdict(str)
        self.used: set[str] = set()

    async def play(self, line: Line) -> None:
        """Play one line."""
        if line.side == "c":
            await self._client(line)
        elif line.side == "s":
            core = self.cores.get(line.connection)
            if core is not None and line.action == "close":
                await core.do({"type": "closed", "code": line.value})
                final = line.value in (1008, 1009, 4400, 4401, 4409)
                # An error that came first has ended it already.
                assert core.phase == ("over" if final or core.phase == "over" else "waiting")
            elif core is not None:
                await self._server(core, line.connection, line.value)

    async def close(self) -> None:
        """End all cores."""
        for core in self.all:
            await core.close()

    async def _client(self, line: Line) -> None:
        core = self.cores.get(line.connection)
        if line.action in ("cut", "close") and core is not None:
            await core.do({"type": "closed", "code": CUT})
        # What breaks the protocol on purpose is nothing that the core could do.
        if line.action != "msg" or line.bad:
            return
        message = fill(line.value, self.kept)
        if message["type"] == "session.start":
            core = self.cores[line.connection] = Core()
            self.all.append(core)
            await core.open(self.program, message)
            # It speaks this version, whatever version the story is about.
            self._expect_sent(core, {**message, "protocol": PROTOCOL})
        elif message["type"] == "session.resume":
            core = self.cores[line.connection] = await self._resuming(message)
            self.session_of[line.connection] = message["session"]
            self._expect_sent(core, {**message, "last_seq": {"$any": "number"}})
        elif core is not None and message["type"] != "ping":
            again = message["type"] == "turn.start" and message["turn"] in self.used
            took = not again and await core.do(message)
            self.used.add(message.get("turn", ""))
            if took and message["type"] != "session.end":
                self._expect_sent(core, message)

    async def _resuming(self, message: dict[str, Any]) -> Core:
        """A core that has this session, has lost its connection, and is back."""
        name = message["session"]
        for connection, core in self.cores.items():
            if self.session_of.get(connection) == name and core.phase == "waiting":
                await core.dial_again()
                return core
        core = Core()
        self.all.append(core)
        await core.open(self.program, {**message, "type": "session.start"})
        core.sent.clear()
        await core.hear({"type": "session.ready", **READY, "session": name})
        await core.do({"type": "closed", "code": CUT})
        await core.dial_again()
        return core

    def _expect_sent(self, core: Core, message: dict[str, Any]) -> None:
        fields = CLIENT_MESSAGES[message["type"]].model_fields
        # Its own ids, and nothing that the protocol does not know; the client's name is its own.
        known = {k: v for k, v in message.items() if k == "type" or k in fields}
        known.pop("id", None)
        if "client" in known:
            known["client"] = {"name": known["client"]["name"]}
        found = next((m for m in core.sent if matches(known, m, {})), None)
        assert found is not None, f"the core did not send {known}, but {core.sent}"
        core.sent.remove(found)

    async def _server(self, core: Core, connection: str, value: dict[str, Any]) -> None:
        kind = value["type"]
        if kind.startswith("turn."):
            await self._turn(core, connection, value)
            return
        message = self._whole(value)
        if kind in ("session.ready", "session.reset"):
            message = {
                **READY,
                **message,
                "limits": {**LIMITS, **message.get("limits", {})},
            }
            message.setdefault("session", f"session-{len(self.servers)}")
            self.session_of[connection] = message["session"]
        if kind == "session.resumed":
            message.setdefault("session", "x")
        await core.hear(message)
        if kind == "session.resumed":
            await self._again(core, connection)

    async def _again(self, core: Core, connection: str) -> None:
        """After a resume: everything once more, as if `last_seq` had been 0."""
        for message in self.servers[self.session_of[connection]].log:
            await core.hear(message)
            self.replayed[connection].append(message)
            if message["type"] == "turn.delta":
                self.said[connection, message["turn"]] += message["text"]

    async def _turn(self, core: Core, connection: str, value: dict[str, Any]) -> None:
        server = self.servers[self.session_of.get(connection, connection)]
        turn = value["turn"]
        if value["type"] == "turn.delta":
            self.expected[connection, turn] += value["text"]
            missing = self.expected[connection, turn][len(self.said[connection, turn]) :]
            if missing:
                self.said[connection, turn] += missing
                await core.hear(server.next({"type": "turn.delta", "turn": turn, "text": missing}))
            return
        plain = {k: v for k, v in value.items() if k != "seq"}
        for message in self.replayed[connection]:
            if message["type"] == value["type"] and matches(plain, message, self.kept):
                self.replayed[connection].remove(message)
                return
        message = {"npc": "vlad", "tier": "elite", "status": "completed", **self._whole(plain)}
        rest = str(message.get("text", ""))[len(self.said[connection, turn]) :]
        if value["type"] == "turn.done" and rest:
            self.said[connection, turn] += rest
            await core.hear(server.next({"type": "turn.delta", "turn": turn, "text": rest}))
        message.setdefault("text", self.said[connection, turn])
        numbered = server.next(message)
        # Binds what the transcript keeps: `seq`, and ids of calls.
        matches(value, numbered, self.kept)
        await core.hear(numbered)

    def _whole(self, value: Any, name: str = "") -> Any:
        """Write placeholders out."""
        if isinstance(value, list):
            return [self._whole(item) for item in value]
        if not isinstance(value, dict):
            return value
        match next(iter(value.items()), None):
            case ("$any", str(kind)):
                return SAMPLES[kind]
            case ("$keep", str(key)):
                return self.kept.setdefault(key, f"{name}-{key}")
            case ("$kept", str(key)):
                return self.kept[key]
            case ("$repeat", [str(text), int(times)]):
                return text * times
        return {
            key: self._whole(item, key)
            for key, item in value.items()
            if not (isinstance(item, dict) and "$absent" in item)
        }
