"""Plays every transcript of tests/wire against the real server."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from websockets.exceptions import ConnectionClosed

from palaver.chain.backend import Finish
from palaver.errors import BackendUnavailable
from palaver.messages import CLIENT_MESSAGES, SERVER_MESSAGES, client_message, server_message
from palaver.testing.fake_engine import FakeEngine
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server
from palaver.testing.transcripts import Line, Transcript, fill, load, matches

FOLDER = Path(__file__).parent / "wire"
TRANSCRIPTS = [load(path) for path in sorted(FOLDER.glob("*.jsonl"))]
SCHEMA = json.loads(
    (FOLDER.parents[1] / "docs/reference/messages.schema.json").read_text(encoding="utf-8")
)
CLIENT, SERVER = (
    Draft202012Validator({"$ref": f"#/$defs/{side}", "$defs": SCHEMA["$defs"]})
    for side in ("ClientMessage", "ServerMessage")
)
"""The published schemas, which other languages make their types and tests of."""


class Player:
    """Plays one transcript: clients' lines are done, the server's are waited for."""

    def __init__(self, palaver: RunningServer, gates: dict[str, asyncio.Event]) -> None:
        self.palaver = palaver
        self.gates = gates
        self.kept: dict[str, Any] = {}
        self.engines: dict[str, FakeEngine] = {}
        self.waiting: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.said: dict[tuple[str, str], str] = defaultdict(str)
        self.expected: dict[tuple[str, str], str] = defaultdict(str)

    async def play(self, line: Line) -> None:
        if line.side == "t":
            self.gates[line.value].set()
            return
        engine = self.engines.get(line.connection)
        if engine is None:
            engine = self.engines[line.connection] = await self.palaver.engine()
        if line.side == "c":
            await self.do(engine, line)
        elif line.action == "close":
            code, _ = await engine.closed()
            assert code == line.value
            assert self.waiting[line.connection] == []
        elif line.value["type"] == "turn.delta":
            await self.expect_text(engine, line)
        else:
            await self.expect(engine, line)

    async def do(self, engine: FakeEngine, line: Line) -> None:
        if line.action == "cut":
            engine.cut()
        elif line.action == "close":
            await engine.close(line.value)
        elif line.action == "binary":
            await engine.send(bytes.fromhex(line.value))
        elif line.action == "raw":
            await engine.send(line.value)
        else:
            message = fill(line.value, self.kept)
            if message.get("type") == "session.resume":
                engine.last_seq = message["last_seq"]
            await engine.send(message)

    async def receive(self, engine: FakeEngine, connection: str) -> dict[str, Any]:
        message = await engine.receive()
        SERVER.validate(message)
        if message["type"] == "turn.delta":
            self.said[connection, message["turn"]] += message["text"]
        return message

    async def expect_text(self, engine: FakeEngine, line: Line) -> None:
        key = (line.connection, line.value["turn"])
        self.expected[key] += line.value["text"]
        while len(self.said[key]) < len(self.expected[key]):
            message = await self.receive(engine, line.connection)
            if message["type"] != "turn.delta":
                self.waiting[line.connection].append(message)
        assert self.said[key].startswith(self.expected[key])

    async def expect(self, engine: FakeEngine, line: Line) -> None:
        """Find the next message of the same turn, the next error, or the next of no turn."""
        wanted = group(line.value)
        queue = self.waiting[line.connection]
        message = next((m for m in queue if group(m) == wanted), None)
        if message is not None:
            queue.remove(message)
        while message is None:
            got = await self.receive(engine, line.connection)
            if got["type"] == "turn.delta":
                continue
            if group(got) == wanted:
                message = got
            else:
                queue.append(got)
        assert matches(line.value, message, self.kept), message


def group(message: dict[str, Any]) -> tuple[str, Any]:
    """Return what a message keeps its order with."""
    if message["type"] == "error":
        return ("error", None)
    return ("turn", message.get("turn"))


def script(replies: list[list[Any]], gates: dict[str, asyncio.Event]) -> list[Any]:
    """Turn the replies of a transcript into a script."""

    def step(value: Any) -> Any:
        if isinstance(value, str):
            return value
        [(kind, what)] = value.items()
        if kind == "gate":
            return gates.setdefault(what, asyncio.Event())
        if kind == "fail":
            return BackendUnavailable("local", what)
        return Finish(what)

    def whole(reply: list[Any]) -> list[Any]:
        ends = any(isinstance(one, dict) and {"fail", "finish"} & one.keys() for one in reply)
        return [step(one) for one in reply] + ([] if ends else [Finish()])

    return [whole(reply) for reply in replies]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda t: t.name)
async def test_transcript(transcript: Transcript, palaver_world: Path) -> None:
    """The real server plays its part of the story."""
    gates: dict[str, asyncio.Event] = {}
    backend = ScriptedBackend("local", *script(transcript.replies, gates))
    async with running_server(
        palaver_world, backend=backend, overrides=transcript.settings
    ) as palaver:
        player = Player(palaver, gates)
        for line in transcript.lines:
            try:
                async with asyncio.timeout(60):
                    await player.play(line)
            except (AssertionError, TimeoutError, ConnectionClosed) as error:
                where = f"{transcript.name}.jsonl:{line.number}: {json.dumps(line.value)[:200]}"
                raise AssertionError(f"{where}: {error or type(error).__name__}") from error
        for connection, queue in player.waiting.items():
            assert queue == [], f"on {connection} nobody expects these"


SAMPLES = {
    "string": "x",
    "number": 1,
    "boolean": True,
    "object": {},
    "array": [],
    "null": None,
}
COMPLETE = {
    "session.ready": {
        "session": "x",
        "server": {"name": "palaver", "version": "1"},
        "capabilities": [],
        "limits": {
            "message_bytes": 1,
            "turns": 1,
            "queue": 1,
            "resume_ms": 1,
            "silence_ms": 1,
            "messages_per_s": 1,
        },
    },
    "session.resumed": {"session": "x"},
    "turn.accepted": {"seq": 1, "npc": "x", "tier": "x"},
    "turn.delta": {"seq": 1},
    "turn.sentence": {"seq": 1, "start": 0},
    "turn.emotion": {"seq": 1},
    "turn.action": {"seq": 1},
    "turn.done": {
        "seq": 1,
        "status": "completed",
        "text": "",
        "served_by": {"backend": "x", "type": "x", "model": None, "adapter": None},
        "trail": [],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 1},
        "ttft_ms": 1,
        "total_ms": 1,
        "cached": False,
    },
    "error": {"message": "x", "retryable": False},
}
COMPLETE["session.reset"] = {**COMPLETE["session.ready"], "reason": "x"}


def sample(value: Any, name: str = "") -> Any:
    """Write placeholders out, as a model wants them."""
    if isinstance(value, list):
        return [sample(item) for item in value]
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), None):
        case ("$any", str(kind)):
            return SAMPLES[kind]
        case ("$keep" | "$kept", str()):
            return 1 if name in ("seq", "last_seq") else "x"
        case ("$repeat", [str(text), int()]):
            return text
    return {
        key: sample(item, key)
        for key, item in value.items()
        if not (isinstance(item, dict) and "$absent" in item)
    }


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return both objects as one, with the second's values first."""
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        result[key] = merged(inner, value) if both else value
    return result


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda t: t.name)
def test_messages_are_of_the_protocol(transcript: Transcript) -> None:
    """Every message fits the models and the published schemas, but those marked as bad."""
    for line in transcript.lines:
        if line.action != "msg":
            continue
        message = sample(line.value)
        if line.side == "s":
            whole = merged(COMPLETE.get(message["type"], {}), message)
            for entry in whole.get("trail", []):
                entry.setdefault("at_ms", 0)
            server_message(whole)
            SERVER.validate(whole)
        elif line.bad:
            with pytest.raises(ValidationError):
                client_message(message)
            assert not CLIENT.is_valid(message)
        else:
            client_message(message)
            CLIENT.validate(message)


def test_every_message_is_shown() -> None:
    """There is a transcript for every message, error code and close code of this version."""
    shown = {
        (line.side, line.value.get("type"))
        for transcript in TRANSCRIPTS
        for line in transcript.lines
        if line.action == "msg"
    }
    assert {("c", name) for name in CLIENT_MESSAGES} <= shown
    assert {("s", name) for name in SERVER_MESSAGES} <= shown
