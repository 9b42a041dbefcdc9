"""One connection: what it may send, how fast, and what happens to a client that does not read."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from palaver.messages import CLIENT_MESSAGES
from palaver.server.frames import names
from palaver.server.security import Principal
from palaver.server.websocket import CONNECTIONS, SPARE_CONNECTIONS
from palaver.testing.fake_engine import FakeEngine
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server

VALID: dict[str, dict[str, Any]] = {
    "session.start": {"protocol": 1, "client": {"name": "x"}},
    "session.resume": {"session": "x", "last_seq": 0},
    "session.end": {},
    "npc.upsert": {"npc": "vlad", "persona": "vampire", "tier": "elite", "zone": "x", "facts": {}},
    "npc.remove": {"npc": "x"},
    "player.upsert": {"player": "ada", "name": "Ada", "zone": "x", "lang": "en", "facts": {}},
    "facts.update": {"npc": "vlad", "set": {"x": 1}, "unset": ["y"]},
    "actions.set": {"npc": "vlad", "actions": [{"name": "bow", "description": "x", "args": {}}]},
    "turn.start": {"turn": "t", "npc": "vlad", "text": "x", "audience": ["y"], "lang": "en"},
    "turn.cancel": {"turn": "t", "heard": "x"},
    "turn.heard": {"turn": "t"},
    "turn.feedback": {"turn": "t", "kind": "like", "note": "x"},
    "action.result": {"turn": "t", "call": "c", "ok": True, "message": "x"},
    "save.mark": {"save": "x"},
    "ping": {"nonce": "x"},
}
NASTY: list[Any] = [
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    "x" * 5_000,
    "\x00\x1b[31m\u202e",
    "\ud800",
    [],
    [[]],
    {},
    {"": {"": {"": {"": {"": {"": {"": {}}}}}}}},
    {"__proto__": 1, "$ref": "#"},
    ["\ud83d"] * 2_000,
]


def test_every_message_has_a_valid_example() -> None:
    """The messages that the next test spoils are all there are."""
    assert VALID.keys() == CLIENT_MESSAGES.keys()


@pytest.mark.parametrize("kind", [kind for kind in VALID if VALID[kind]])
async def test_spoilt_fields_are_survived(kind: str, palaver_world: Path) -> None:
    """Whatever a field holds, the server refuses it or takes it, and the connection stays."""
    async with running_server(
        palaver_world, overrides={"limits.messages_per_s": 1_000_000}
    ) as palaver:
        engine = await palaver.ready()
        sent = 0
        for name in VALID[kind]:
            for value in NASTY:
                sent += 1
                message = {"type": kind, "id": f"{name} {sent}", **VALID[kind], name: value}
                await engine.send(message)
        await engine.ping("after all")
        errors = [message for message in engine.log if message["type"] == "error"]
        assert all(error["code"] != "internal" for error in errors)
        # Half of a surrogate pair is no text: such a frame is refused before its id is read.
        nameless = [error for error in errors if "re" not in error]
        assert len(nameless) == 2 * len(VALID[kind])
        assert all("not JSON" in error["message"] for error in nameless)
        # The NPC still speaks.
        done = await engine.say("vlad", "Still there?", turn="after", player="ada")
        assert done["text"] == "Good evening."


@pytest.mark.parametrize(
    "frame",
    [
        "[" * 50_000,
        '{"type":' * 5_000,
        '{"type":"ping","x":' + "[" * 20_000 + "]" * 20_000 + "}",
        '{"type":"ping",' * 1_000,
        "\u0000",
        '{"type":"ping"}{"type":"ping"}',
        '{"type":"ping","nonce":1e999}',
        '{"type":"ping","nonce":' + "9" * 5_000 + "}",
        '{"type":"ping","type":"nope"}',
    ],
    ids=["brackets", "objects", "deep", "commas", "nul", "two", "infinite", "digits", "twice"],
)
async def test_json_that_breaks_parsers_is_refused(frame: str, fake_engine: FakeEngine) -> None:
    """Deep, endless and ambiguous JSON costs an error and nothing else."""
    await fake_engine.send(frame)
    error = await fake_engine.receive()
    assert error["type"] in ("error", "pong")
    assert error.get("code") != "internal"
    await fake_engine.ping()


async def test_only_ids_are_echoed(palaver_server: RunningServer) -> None:
    """An error repeats no id that is longer than ids are, also where nothing else is checked."""
    engine = await palaver_server.ready()
    for kind in ("turn.start", "no.such.type"):
        await engine.send({"type": kind, "id": "i" * 20_000, "turn": "t" * 20_000})
        error = await engine.expect("error")
        assert "re" not in error
        assert "turn" not in error
    long = json.dumps({"type": "turn.start", "id": "i" * 30_000, "turn": "t" * 40_000})
    await engine.send(long)
    error = await engine.expect("error", code="too_large")
    assert len(json.dumps(error)) < 1_500
    assert names('{"type":"turn.start","id":"a","turn":"b"}') == ("a", "b")
    assert names(long) == (None, None)


@pytest.mark.parametrize("pings", [False, True], ids=["silent", "pinging"])
async def test_the_first_message_has_one_limit(pings: bool, palaver_world: Path) -> None:
    """Pings do not give a client more time to begin a session."""
    async with running_server(palaver_world, overrides={"limits.start_ms": 200}) as palaver:
        engine = await palaver.engine()

        async def ping() -> None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await (await engine.socket.ping())

        pinging = asyncio.create_task(ping()) if pings else None
        async with asyncio.timeout(10):
            assert (await engine.closed())[0] == 4408
            if pinging is not None:
                await pinging


async def test_connections_are_bounded(palaver_world: Path) -> None:
    """Those that never begin a session cannot take all the room there is; they may come again."""
    async with running_server(palaver_world, overrides={"limits.sessions": 1}) as palaver:
        most = CONNECTIONS + SPARE_CONNECTIONS
        engines = [await palaver.engine() for _ in range(most)]
        with pytest.raises(InvalidStatus) as caught:
            await palaver.engine()
        assert caught.value.response.status_code == 503
        await engines[0].close()
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(InvalidStatus):
                    await palaver.engine()
                    break


async def test_size_is_counted_in_bytes(palaver_server: RunningServer) -> None:
    """A message is measured in bytes, not in characters."""
    engine = await palaver_server.ready()
    fits = json.dumps({"type": "ping", "pad": "☾" * 19_900}, ensure_ascii=False)
    assert len(fits.encode()) < 60_000
    await engine.send(fits)
    await engine.expect("pong")
    await engine.send(json.dumps({"type": "ping", "pad": "☾" * 20_100}, ensure_ascii=False))
    await engine.expect("error", code="too_large")
    assert (await engine.closed())[0] == 1009


async def test_a_text_frame_that_is_no_text(palaver_server: RunningServer) -> None:
    """Bytes that are no UTF-8 end that connection, and no other one."""
    other = await palaver_server.ready()
    engine = await palaver_server.ready()
    await engine.socket.send(b'{"type":"ping","nonce":"\xff\xfe"}', text=True)
    code, _ = await engine.closed()
    assert code == 1007
    await other.ping()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"type": "npc.upsert", "npc": "vlad"}, "`persona` is missing; add `persona`"),
        ({"type": "npc.upsert", "npc": "vlad", "persona": "x", "facts": 7}, "must be an object"),
        ({"type": "turn.feedback", "turn": "t", "kind": "love"}, "'love' is not possible"),
        ({"type": "actions.set", "actions": [{"name": "a b"}]}, "`actions[0].name` is 'a b', but"),
        ({"type": "turn.start", "turn": "t", "npc": "vlad"}, "turn.start: give either `text`"),
        ({"type": "facts.update", "npc": "vlad"}, "give `set`, `unset` or both"),
        ({"type": "facts.update", "facts": {"day": 1}}, "give `set`, `unset` or both"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_wrong_is_told_in_plain_words(
    message: dict[str, Any], told: str, palaver_server: RunningServer
) -> None:
    """An error names the field and says what to send instead."""
    engine = await palaver_server.ready()
    await engine.send({**message, "id": "m"})
    error = await engine.expect("error", code="bad_message", re="m")
    assert told in error["message"]
    assert "Input" not in error["message"]


async def test_the_first_message_is_told_apart_before_its_fields(
    palaver_server: RunningServer,
) -> None:
    """Whoever begins with something else is told so, even where its fields are wrong too."""
    engine = await palaver_server.engine()
    await engine.send({"type": "turn.start"})
    error = await engine.expect("error", code="bad_message")
    assert error["message"].startswith("the first message must be session.start")
    assert (await engine.closed())[0] == 4400


async def test_without_subprotocol(palaver_server: RunningServer) -> None:
    """A client that offers no subprotocol is served all the same."""
    engine = await palaver_server.engine(subprotocols=None)
    await engine.start()


async def test_a_bug_is_answered_and_survived(
    palaver_server: RunningServer, fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in the server is an `internal` error about that message, without its details."""

    async def broken(*_: Any) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(palaver_server.gateway.memory, "mark", broken)
    await fake_engine.send({"type": "save.mark", "id": "m", "save": "x"})
    error = await fake_engine.expect("error", code="internal", re="m", retryable=False)
    assert "swordfish" not in error["message"]
    await fake_engine.ping()


async def test_messages_above_the_rate_are_refused(palaver_world: Path) -> None:
    """Who sends far too fast is refused, and at last disconnected; others are not."""
    async with running_server(palaver_world, overrides={"limits.messages_per_s": 5}) as palaver:
        engine, other = await palaver.ready(), await palaver.ready()
        reading = asyncio.create_task(engine.closed())
        with contextlib.suppress(ConnectionClosed):
            for n in range(1_000):
                await engine.send({"type": "ping", "id": str(n)})
        assert (await reading)[0] == 4429
        refused = [message for message in engine.log if message["type"] == "error"]
        assert {message["code"] for message in refused} == {"rate_limited"}
        assert all(message["retryable"] and message["re"] for message in refused)
        await other.ping()


@pytest.mark.parametrize("pings", [False, True], ids=["silent", "pinging"])
@pytest.mark.parametrize("send_bytes", [120_000, 400_000], ids=["burst", "stream"])
async def test_a_client_that_does_not_read_is_dropped(
    pings: bool, send_bytes: int, palaver_world: Path
) -> None:
    """Its queue is bounded, then it is dropped; no other client notices; its session lives on."""
    backend = ScriptedBackend("local", ["x" * 1_900 + ". "] * 4)
    settings = {"limits.send_bytes": send_bytes, "limits.messages_per_s": 1_000_000}
    async with running_server(palaver_world, backend=backend, overrides=settings) as palaver:
        slow = await palaver.engine(receive_bytes=2_048)
        session = (await slow.start())["session"]
        await slow.send({"type": "npc.upsert", "npc": "vlad", "persona": "vampire"})
        await slow.ping()
        other = await palaver.ready("mina")
        known = palaver.server.hub.find(session, Principal("engine"))
        assert known is not None
        slow.stop_reading()
        n = 0
        while known.outbox is not None:
            n += 1
            assert n < 2_000, "it is never dropped"
            with contextlib.suppress(ConnectionClosed):
                if pings:
                    await slow.send({"type": "ping"})
                turn = {"type": "turn.start", "turn": f"t{n}", "npc": "vlad", "player": f"p{n}"}
                await slow.send({**turn, "text": "?"})
            # The other client talks all the while.
            done = await other.say("mina", "Hello", turn=f"o{n}", player="bob")
            assert done["status"] == "completed"
            assert done["total_ms"] < 20_000
            assert len(other.log) < 20
            other.log.clear()
        again = await slow.another()
        answer = await again.resume(session, slow.last_seq)
        assert answer["type"] in ("session.resumed", "session.reset")
        await again.ping()


async def test_stopping_closes_with_going_away(palaver_world: Path) -> None:
    """A server that stops tells its clients so, and turns that run end."""
    never = asyncio.Event()
    backend = ScriptedBackend("local", ["Wait ", never])
    async with running_server(palaver_world, backend=backend) as palaver:
        engine = await palaver.ready()
        await engine.send({"type": "turn.start", "turn": "t", "npc": "vlad", "text": "?"})
        call = await backend.called()
        await palaver.server.__aexit__()
        assert (await engine.closed())[0] == 1001
        assert call.closed_early
        await palaver.server.__aexit__()


@pytest.mark.skipif(sys.platform == "win32", reason="a socket is no file there")
async def test_a_client_that_leaves_while_it_is_answered(
    palaver_server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Pings that nobody waits for any more are no fault of the server."""
    engine = await palaver_server.ready()
    ping = bytes((0x89, 0x80)) + bytes(4)
    sock = engine.socket.transport.get_extra_info("socket")
    raw = socket.socket(fileno=os.dup(sock.fileno()))
    # At once, before the server's turn: its first answer meets a closed socket, the rest fail.
    raw.sendall(ping * 50)
    raw.close()
    engine.cut()
    other = await palaver_server.ready("mina")
    await other.say("mina", "Hello", turn="t")
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
