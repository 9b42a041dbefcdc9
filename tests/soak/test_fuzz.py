"""Whatever is sent to it, the server answers in its protocol and serves everybody else."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections import Counter, deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from websockets.exceptions import ConnectionClosed

from palaver.testing.fake_engine import FakeEngine
from palaver.testing.scripted import Pause, ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world

PROPER: list[dict[str, Any]] = [
    {
        "type": "npc.upsert",
        "npc": "n",
        "persona": "zombie",
        "tier": "boss",
        "zone": "crypt",
        "facts": {"hunger": 1, "friends": ["m", {"since": 3}]},
    },
    {"type": "npc.remove", "npc": "n"},
    {"type": "player.upsert", "player": "p", "name": "Ada", "lang": "de", "facts": {"rank": "x"}},
    {"type": "facts.update", "npc": "n", "set": {"hunger": 2}, "unset": ["thirst"]},
    {"type": "facts.update", "set": {"night": True}},
    {
        "type": "actions.set",
        "npc": "n",
        "actions": [
            {
                "name": "wave",
                "description": "Wave.",
                "args": {"type": "object", "properties": {"hand": {"enum": ["left", "right"]}}},
            }
        ],
    },
    {"type": "turn.start", "turn": "t", "npc": "n", "player": "p", "text": "Hello", "seed": 1},
    {"type": "turn.start", "turn": "u", "npc": "n", "cue": "It thunders.", "audience": ["n", "p"]},
    {"type": "turn.start", "turn": "v", "npc": "n", "speaker": "m", "text": "Hm?", "lang": "fr"},
    {"type": "turn.cancel", "turn": "t", "heard": "Good"},
    {"type": "turn.heard", "turn": "t"},
    {"type": "turn.feedback", "turn": "t", "kind": "like", "note": "good"},
    {"type": "action.result", "turn": "t", "call": "c", "ok": True},
    {"type": "save.mark", "save": "s"},
    {"type": "ping", "nonce": "x"},
]
FIRST: list[dict[str, Any]] = [
    {
        "type": "session.start",
        "protocol": 1,
        "client": {"name": "fuzz", "version": "1", "engine": "none"},
        "game": "fuzz",
        "save": "main",
        "capabilities": ["sentence", "emotion", "action", "heard"],
    },
    {"type": "session.resume", "session": "s", "last_seq": 0, "game": "fuzz"},
]
ODD: list[Any] = [
    None, True, 0, -1, 2**63, 2**200, 1e308, -0.5, float("inf"), float("nan"), "", "n", "t",
    "x" * 5_000, "x" * 59_000, "\0", "\ud800", "\u202e", "😀" * 2_000, "{{ 7 * 7 }}", "{% for %}",
    "<|im_start|>", "../../etc/passwd", [], {}, [[[[]]]], {"a": {"b": {}}}, ["n"] * 500,
    {"$ref": "#"}, {"pattern": "(a+)+$"}, {"type": "object"}, {"maxLength": -1},
    {f"k{n}": n for n in range(300)},
]  # fmt: skip
CODES = {1000, 1009, 4400, 4401, 4408, 4409, 4413, 4429}
"""How the server may close a connection whose messages are broken."""


def mutate(rng: random.Random, message: dict[str, Any]) -> dict[str, Any]:
    """Change a message in one place, however deep."""
    changed = copy.deepcopy(message)
    at: Any = changed
    while True:
        key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if not isinstance(at[key], dict | list) or not at[key] or rng.random() < 0.4:
            break
        at = at[key]
    kind = rng.random()
    if kind < 0.7:
        at[key] = rng.choice(ODD)
    elif kind < 0.85:
        del at[key]
    elif isinstance(at, dict):
        at[str(rng.choice(ODD))] = rng.choice(ODD)
    else:
        at.extend(at * rng.randrange(1, 100))
    return changed


def frame(rng: random.Random, messages: list[dict[str, Any]]) -> str | bytes:
    """Return a message that is proper, changed, or no message at all."""
    message = rng.choice(messages)
    kind = rng.random()
    if kind < 0.3:
        message = dict(message)
        if "turn" in message:
            message["turn"] = f"t{rng.randrange(40)}"
        return json.dumps(message)
    text = json.dumps(mutate(rng, message))
    if kind < 0.8:
        return text
    at = rng.randrange(max(1, len(text)))
    odd: list[str | bytes] = [
        text[:at],
        text[:at] + rng.choice('{}[]",:\\0 \t\x7f') + text[at + 1 :],
        text + text,
        f"[{text}]",
        "[" * rng.randrange(1, 50_000),
        '{"a":' * rng.randrange(1, 9_000),
        json.dumps({"type": rng.choice(["", "turn", "turn.started", "x" * 500]), "id": "i"}),
        "",
        rng.randbytes(rng.randrange(200)),
    ]
    if rng.random() < 0.02:
        odd = [
            '"' + "x" * 70_000,
            " " * 400_000,
            json.dumps({"type": "ping", "nonce": "x" * 60_000}),
        ]
    return rng.choice(odd)


class Abuse:
    """One after another, connections that misbehave; what they sent last is told on failure.

    Args:
        palaver: The server.
        rng: Dice.
        seen: Counts how connections ended and which errors were answered.
    """

    def __init__(self, palaver: RunningServer, rng: random.Random, seen: Counter[Any]) -> None:
        self.palaver, self.rng, self.seen = palaver, rng, seen
        self.sessions: deque[str] = deque(maxlen=5)
        self.sent: deque[str] = deque(maxlen=30)
        self.huge = False

    async def run(self, ends_at: float) -> None:
        """Misbehave until it is time."""
        loop = asyncio.get_running_loop()
        while loop.time() < ends_at:
            kind = self.rng.random()
            if kind < 0.75:
                await self.talk()
            elif kind < 0.9:
                await self.post()
            else:
                await self.raw()

    async def talk(self) -> None:
        """One connection that sends broken messages until the server closes, or for a while."""
        engine = await FakeEngine.connect(self.palaver.url)
        self.huge = False
        try:
            code = await self._talk(engine)
        except Exception as err:
            err.add_note("the last frames were:\n" + "\n".join(self.sent))
            raise
        finally:
            engine.cut_all()
        self.seen[code] += 1
        # A frame that is not even read: the system may take the close back with what is unread.
        allowed = CODES | {None} if self.huge else CODES
        assert code in allowed, f"{code}; the last frames were:\n" + "\n".join(self.sent)

    async def _talk(self, engine: FakeEngine) -> int | None:
        rng = self.rng
        try:
            await self._begin(engine)
            for number in range(rng.randrange(1, 200)):
                await self._send(engine, frame(rng, PROPER))
                if number % 20 == 19:
                    await engine.ping(f"after {number}")
                    self._count(engine)
            await engine.ping("last")
            if rng.random() < 0.5:
                await engine.send({"type": "session.end"})
                await engine.until("nothing more")
        except ConnectionClosed as end:
            self._count(engine)
            return end.rcvd.code if end.rcvd else None
        self._count(engine)
        return 1000

    async def _begin(self, engine: FakeEngine) -> None:
        rng = self.rng
        kind = rng.random()
        if kind < 0.6:
            ready = await engine.start(game="fuzz", capabilities=rng.choice([[], ["heard"]]))
            self.sessions.append(ready["session"])
        elif kind < 0.7 and self.sessions:
            session = rng.choice(self.sessions)
            # The numbers go on where the session was, which this connection cannot know.
            await self._send(
                engine, json.dumps({**FIRST[1], "session": session, "last_seq": 2**40})
            )
            answer = await engine.receive()
            assert answer["type"] == "session.reset"
        else:
            await self._send(engine, frame(rng, FIRST))
            # With luck it was proper; else the first error is followed by a close.
            await engine.receive()

    async def _send(self, engine: FakeEngine, message: str | bytes) -> None:
        self.sent.append(repr(message[:300]))
        self.huge = self.huge or len(message) > 4 * 60_000
        await engine.send(message)

    def _count(self, engine: FakeEngine) -> None:
        self.seen.update(one["code"] for one in engine.log if one["type"] == "error")
        engine.log.clear()

    async def post(self) -> None:
        """HTTP requests with broken bodies; none is answered as a fault of the server."""
        rng = self.rng
        turn = {"npc": "n", "persona": "zombie", "game": "fuzz", "text": "Hi.", "facts": {"a": 1}}
        async with aiohttp.ClientSession() as http:
            for _ in range(rng.randrange(1, 20)):
                body = frame(rng, [turn])
                self.sent.append(f"POST {body[:300]!r}")
                headers = {
                    "Content-Type": rng.choice(["application/json"] * 4 + ["text/plain", ""]),
                    "Accept": rng.choice(["*/*", "text/event-stream"]),
                }
                async with http.post(
                    f"{self.palaver.http_url}/v1/turns", data=body, headers=headers
                ) as answer:
                    if rng.random() < 0.8:
                        await answer.read()
                    self.seen[f"HTTP {answer.status}"] += 1
                    assert answer.status < 500 or answer.status == 503, "\n".join(self.sent)

    async def raw(self) -> None:
        """Bytes that are hardly HTTP, and frames that are hardly WebSocket."""
        rng = self.rng
        parts = urlsplit(self.palaver.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            if rng.random() < 0.3:
                writer.write(rng.randbytes(rng.randrange(1, 2_000)))
            else:
                hello = (
                    f"GET /v1 HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                ).encode()
                if rng.random() < 0.2:
                    writer.write(hello[: rng.randrange(len(hello))])
                    await writer.drain()
                    return
                writer.write(hello)
                async with asyncio.timeout(30):
                    await reader.readuntil(b"\r\n\r\n")
                    start = b'{"type":"session.start","protocol":1,"client":{"name":"raw"}}'
                    if rng.random() < 0.7:
                        writer.write(bytes((0x81, 0x80 | len(start))) + bytes(4) + start)
                    for _ in range(rng.randrange(1, 10)):
                        writer.write(odd_frame(rng))
                        await writer.drain()
            if rng.random() < 0.5:
                writer.write_eof()
                async with asyncio.timeout(30):
                    while await reader.read(65_536):
                        pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            self.seen["raw"] += 1


def odd_frame(rng: random.Random) -> bytes:
    """Return a WebSocket frame that breaks RFC 6455 in some way, or is unusual."""
    data = rng.choice([b"", b"\xff\xfe", b'{"type":"ping"}', rng.randbytes(100)])
    first = rng.choice([0x81, 0x01, 0x00, 0x80, 0x82, 0x88, 0x89, 0x8A, 0x83, 0xF1, 0xC1, 0x09])
    kind = rng.random()
    if kind < 0.5:
        return bytes((first, 0x80 | len(data))) + bytes(4) + data
    if kind < 0.7:
        return bytes((first, len(data))) + data  # not masked
    if kind < 0.9:
        return bytes((first, 0xFF)) + rng.randbytes(8) + data  # an absurd length
    return bytes((first, 0xFE, 0, len(data))) + bytes(4) + data  # a length that is too long


async def behave(engine: FakeEngine, ends_at: float, palaver: RunningServer) -> int:
    """Talk as one should, and notice nothing; returns how often."""
    loop = asyncio.get_running_loop()
    count = 0
    while loop.time() < ends_at or not count:
        done = await engine.say("vlad", f"Good evening, {count}.", turn=f"w{count}", player="ada")
        assert (done["status"], done["text"]) == ("completed", "Good evening, traveller. Sit.")
        assert [one["outcome"] for one in done["trail"]] == ["served"]
        sentences = [one["text"] for one in engine.turn_messages(f"w{count}", "turn.sentence")]
        assert sentences == ["Good evening, traveller.", "Sit."]
        await engine.ping()
        engine.log.clear()
        palaver.backend.calls.clear()
        count += 1
    return count


async def test_broken_messages_harm_nobody(
    tmp_path: Path,
    soak_s: float,
    dice: random.Random,
    logged_errors: Any,
    settles: Any,
) -> None:
    """Beside clients that send anything at all, a client that behaves notices nothing."""
    backend = ScriptedBackend("local", ["Good ", "evening, ", Pause(0.1), "traveller. ", "Sit."])
    overrides = {
        "limits.messages_per_s": 1_000_000,
        "limits.resume_ms": 500,
        "limits.start_ms": 2_000,
        "memory.keep": 20,
    }
    seen: Counter[Any] = Counter()
    serving = running_server(write_world(tmp_path / "world"), backend=backend, overrides=overrides)
    with logged_errors() as errors:
        async with serving as palaver:
            tasks = len(asyncio.all_tasks())
            ends_at = asyncio.get_running_loop().time() + soak_s
            witness = await palaver.ready(game="witness", capabilities=["sentence"])
            async with asyncio.TaskGroup() as group:
                for _ in range(4):
                    abuse = Abuse(palaver, random.Random(dice.random()), seen)
                    group.create_task(abuse.run(ends_at))
                talked = group.create_task(behave(witness, ends_at, palaver))
            assert talked.result()
            await witness.send({"type": "session.end"})
            assert (await witness.closed())[0] == 1000
            await settles("sessions", lambda: len(palaver.server.hub), 0)
            await settles("tasks", lambda: len(asyncio.all_tasks()), tasks)
            # It has not only been refused: every kind of answer came up.
            if soak_s >= 30:
                assert seen.keys() >= {
                    1000,
                    1009,
                    4400,
                    "bad_message",
                    "unknown_type",
                    "unknown_npc",
                }
    assert errors == []
