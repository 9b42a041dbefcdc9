"""The bridge beside the game: cuts, restarts and odd gateways; and `palaver luanti`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from websockets.asyncio.server import ServerConnection, serve

from palaver.chain.backend import Finish
from palaver.errors import ConfigError
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import running_server, write_world
from palaver_luanti import dial, line
from palaver_luanti.alone import Alone
from palaver_luanti.cli import luanti
from palaver_luanti.dial import gateway_at

OPENING = "Good evening, traveller. Come in, the night is cold, and the fire is warm in here. "
LIMIT_S = 20.0
START = {"start": {"client": {"name": "llm_agent"}, "game": "village"}}
READY = {
    "type": "session.ready",
    "session": "s1",
    "protocol": 1,
    "server": {"name": "palaver", "version": "9"},
    "capabilities": [],
    "limits": {
        "message_bytes": 60_000,
        "turns": 64,
        "queue": 4,
        "resume_ms": 60_000,
        "silence_ms": 60_000,
    },
}


@pytest.fixture
def way() -> str:
    """These tests are about one way."""
    return "beside"


async def until(true: Callable[[], Any]) -> None:
    """Wait for something to be true."""
    async with asyncio.timeout(LIMIT_S):
        while not true():  # noqa: ASYNC110  # nothing in the server tells of it
            await asyncio.sleep(0.01)


# --- cuts and restarts ----------------------------------------------------------------------------


@pytest.mark.parametrize("held", ["poll", "ask"])
async def test_cut_in_a_turn(game: Any, held: str) -> None:
    """A cut in the middle of a turn is not noticed by a mod that waits."""
    go = asyncio.Event()
    game.palaver.backend.replies = [[go, OPENING, "Sit ", "down.", Finish()]]
    turn = game.turn()
    if held == "ask":
        wait = asyncio.create_task(game.ask(turn))
    else:
        await game.ask(turn, wait_ms=0)
        wait = asyncio.create_task(game.exchange(wait_ms=15_000))
    await game.palaver.backend.called()
    game.wire.cut()
    go.set()
    found = (await wait)["messages"] + await game.rest(turn["turn"])
    assert game.text_of(found, turn["turn"]) == OPENING + "Sit down."


async def test_cut_anywhere(game: Any) -> None:
    """Turns are answered whole wherever in one the connection is cut."""
    for place in range(1, 1_500, 50):
        turn = game.turn(f"Are you there, {place}?")
        game.wire.cut_after = place
        first = await game.ask(turn)
        found = first["messages"] + await game.rest(turn["turn"])
        assert game.text_of(found, turn["turn"]) == "Good evening."
        assert found[-1]["text"] == "Good evening."


async def test_another_gateway(game: Any, tmp_path: Path) -> None:
    """Where another gateway is in the place of the one that was, held requests are 410 at once."""
    never = asyncio.Event()
    game.palaver.backend.replies = [[never]]
    ask = asyncio.create_task(
        game.send(
            {
                "session": game.session,
                "messages": [turn := game.turn()],
                "turn": turn["turn"],
                "wait_ms": 25_000,
            }
        )
    )
    poll = asyncio.create_task(game.send({"session": game.session, "wait_ms": 25_000}))
    await game.palaver.backend.called()
    async with running_server(write_world(tmp_path / "other")) as other:
        game.wire.target = other.server.port
        game.wire.cut()
        for held in (ask, poll):
            status, answer = await held
            assert (status, answer["error"]["code"]) == (410, "unknown_session")
        await until(lambda: not len(other.server.hub))
        await game.join()
        assert (await game.ask(game.turn()))["messages"]
        await game.wire.down()
        await game.wire.up()


async def test_away_and_back(game: Any) -> None:
    """While the gateway is away everybody is told at once; then the session goes on."""
    go = asyncio.Event()
    game.palaver.backend.replies = [[go, "Yes.", Finish()]]
    turn = game.turn()
    await game.ask(turn, wait_ms=0)
    poll = asyncio.create_task(game.send({"session": game.session, "wait_ms": 25_000}))
    await game.palaver.backend.called()
    await game.wire.down()
    status, answer = await poll
    assert (status, answer["error"]["code"]) == (503, "away")
    assert answer["error"]["retryable"] is True
    assert "palaver serve" in answer["error"]["message"]
    for body in (
        {"session": game.session, "wait_ms": 25_000},
        {"session": game.session, "messages": [game.turn()]},
        START,
    ):
        assert (await game.send(body))[0] == 503
    assert (await game.send({"prompt": "Vlad?"}, path="/infer"))[0] == 503
    assert (await game.send({}, path="/info"))[0] == 503
    await game.wire.up()
    go.set()

    async with asyncio.timeout(LIMIT_S):
        status = 503
        while status == 503:
            await asyncio.sleep(0.05)
            status, _ = await game.send({"session": game.session})
    assert status == 200
    assert game.text_of(await game.rest(turn["turn"]), turn["turn"]) == "Yes."


async def test_away_from_the_first(opened: Any) -> None:
    """A bridge whose gateway is not there yet says so, and works as soon as it is."""
    async with opened() as game:
        await game.wire.down()
        status, answer = await game.send(START)
        assert (status, answer["error"]["code"]) == (503, "away")
        assert "Connection refused" in answer["error"]["message"]
        await game.wire.up()
        await game.join()
        assert (await game.ask(game.turn()))["messages"]


@asynccontextmanager
async def restartable(folder: Path) -> AsyncIterator[tuple[Any, Callable[[], Any]]]:
    """A bridge, and a function that starts the gateway, or starts it anew."""
    world = write_world(folder / "world")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(AsyncExitStack())
        alone = await stack.enter_async_context(Alone(gateway_at(f"ws://127.0.0.1:{port}"), port=0))

        async def start(backend: ScriptedBackend) -> None:
            await running.aclose()
            more = {"server.port": port}
            await running.enter_async_context(
                running_server(world, backend=backend, overrides=more)
            )

        yield alone, start


async def test_restart(tmp_path: Path) -> None:
    """After a restart of the gateway its sessions are 410 at once, and a new one works."""
    async with restartable(tmp_path) as (alone, start), aiohttp.ClientSession() as http:

        async def send(**body: Any) -> tuple[int, Any]:
            url = f"{alone.url}/luanti/v1/exchange"
            async with asyncio.timeout(LIMIT_S), http.post(url, json=body) as response:
                return response.status, await response.json()

        upsert = {"type": "npc.upsert", "npc": "vlad", "persona": "vampire"}
        turn = {"type": "turn.start", "turn": "t1", "npc": "vlad", "text": "Hello."}
        never = asyncio.Event()
        silent = ScriptedBackend("local", [OPENING, never])
        await start(silent)
        _, answer = await send(**START, messages=[upsert, turn], turn="t1", wait_ms=15_000)
        session = answer["session"]
        poll = asyncio.create_task(send(session=session, cursor=answer["cursor"], wait_ms=0))
        await poll
        cursor = poll.result()[1]["cursor"]
        held = asyncio.create_task(send(session=session, cursor=cursor, wait_ms=25_000))
        await start(ScriptedBackend("local", "Good morning."))
        status, answer = await held
        # Told while the gateway was away, or when it was back, or with the turn's last words.
        assert status in (200, 410, 503)
        async with asyncio.timeout(LIMIT_S):
            while status != 410:
                await asyncio.sleep(0.05)
                status, answer = await send(session=session, cursor=cursor)
        assert answer["error"]["code"] == "unknown_session"
        status, answer = await send(**START, messages=[upsert, turn], turn="t1", wait_ms=15_000)
        assert status == 200
        assert answer["session"] != session
        text = "".join(one.get("text", "") for one in answer["messages"][1:2])
        assert text == "Good morning."


GATEWAY = """
import asyncio, sys
from pathlib import Path
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import running_server, write_world

async def main(folder, port, *replies):
    backend = ScriptedBackend("local", [*replies, asyncio.Event()])
    async with running_server(Path(folder), backend=backend, overrides={"server.port": int(port)}):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def process_of(folder: Path, port: int, *replies: str) -> AsyncIterator[Any]:
    """A gateway in a process of its own, which is killed at the end at the latest."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", GATEWAY, str(folder), str(port), *replies),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_killed(tmp_path: Path) -> None:
    """A gateway that is killed in the middle of a turn is away at once; its successor is new."""
    world = write_world(tmp_path / "world")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gateway = gateway_at(f"ws://127.0.0.1:{port}")
    upsert = {"type": "npc.upsert", "npc": "vlad", "persona": "vampire"}
    turn = {"type": "turn.start", "turn": "t1", "npc": "vlad", "text": "Hello."}
    opening = {**START, "messages": [upsert, turn], "turn": "t1", "wait_ms": 15_000}
    async with Alone(gateway, port=0) as alone, aiohttp.ClientSession() as http:

        async def send(**body: Any) -> tuple[int, Any]:
            url = f"{alone.url}/luanti/v1/exchange"
            async with asyncio.timeout(LIMIT_S), http.post(url, json=body) as response:
                return response.status, await response.json()

        async with process_of(world, port, OPENING) as process:
            status, answer = await send(**opening)
            assert (status, answer["open"]) == (200, 1)
            session = answer["session"]
            _, answer = await send(session=session)
            held = asyncio.create_task(
                send(session=session, cursor=answer["cursor"], wait_ms=25_000)
            )
            process.kill()
            status, answer = await held
            assert (status, answer["error"]["code"]) == (503, "away")
        async with process_of(world, port, "Good morning. " * 8):
            status = 503
            async with asyncio.timeout(LIMIT_S):
                while status == 503:
                    await asyncio.sleep(0.05)
                    status, answer = await send(session=session)
            assert status == 410
            status, answer = await send(**opening)
            assert status == 200
            assert "Good morning." in answer["messages"][1]["text"]


# --- odd gateways ---------------------------------------------------------------------------------

Talk = Callable[[ServerConnection], Any]


@asynccontextmanager
async def odd(talk: Talk, *, subprotocol: str | None = "palaver.v1") -> AsyncIterator[Any]:
    """A bridge before a gateway that does what `talk` does; a function that sends to it."""
    async with AsyncExitStack() as stack:
        known = [subprotocol] if subprotocol else None
        server = await stack.enter_async_context(
            serve(talk, "127.0.0.1", 0, subprotocols=known)  # type: ignore[arg-type]
        )
        port = server.sockets[0].getsockname()[1]
        alone = await stack.enter_async_context(Alone(gateway_at(f"ws://127.0.0.1:{port}"), port=0))
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def send(path: str = "/luanti/v1/exchange", **body: Any) -> tuple[int, Any]:
            url = alone.url + path
            async with asyncio.timeout(LIMIT_S), http.post(url, json=body) as response:
                return response.status, await response.json()

        yield send


async def says(connection: ServerConnection, *answers: str) -> None:
    """Answer the first message, and stay until the other side leaves."""
    await connection.recv()
    for answer in answers:
        await connection.send(answer)
    await connection.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        "hello",
        "[]",
        '{"type": "session.ready"}',
        json.dumps({**READY, "limits": {"turns": "many"}}),
        '{"type": "error", "code": "overloaded", "message": "full", "retryable": true}',
        "[" * 100_000,
    ],
)
async def test_odd_greeting(answer: str) -> None:
    """A gateway that greets in no known way is one that is away."""
    async with odd(lambda one: says(one, answer)) as send:
        status, body = await send(**START)
        assert status == 503
        assert body["error"]["message"]


async def test_silent_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that takes the connection and says nothing is away after a while."""
    monkeypatch.setattr(dial, "OPEN_S", 0.2)
    async with odd(says) as send:
        status, body = await send(**START)
        assert (status, body["error"]["code"]) == (503, "away")


async def test_gateway_that_stops_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that nobody confirms are 503 after a while."""
    monkeypatch.setattr(line, "TELL_S", 0.2)
    async with odd(lambda one: says(one, json.dumps(READY))) as send:
        status, body = await send(**START)
        assert status == 200
        upsert = {"type": "npc.upsert", "npc": "vlad", "persona": "vampire"}
        status, answer = await send(session=body["session"], messages=[upsert])
        assert (status, answer["error"]["code"]) == (503, "away")


async def test_wrong_token() -> None:
    """A token that the gateway does not take is told as such."""
    refusal = {
        "type": "error",
        "code": "unauthorized",
        "message": "the token is not known",
        "retryable": False,
    }
    async with odd(lambda one: says(one, json.dumps(refusal))) as send:
        status, body = await send(**START)
        assert status == 401
        assert "--token-env" in body["error"]["message"]


async def test_odd_messages() -> None:
    """What is not of the protocol is passed over, and what a newer gateway says is passed on."""
    frames = [
        "nonsense",
        "[]",
        "{}",
        '{"type": 5}',
        '{"type":"turn.delta","turn":"t1","seq":"first"}',
        '{"type":"turn.accepted","turn":"t1","seq":1}',
        '{"type":"turn.smell","turn":"t1","seq":2,"of":"roses"}',
        '{"type": "turn.delta", "turn": "t1", "seq": 3, "text": "Ah."}',
        '{"type":"turn.delta","turn":"t1","seq":3,"text":"Ah."}',
        '{"type":"error","code":"internal","message":"?","re":"b999:0","retryable":false}',
        '{"type":"pong","nonce":"mine"}',
        '{"type":"turn.done","turn":"t1","seq":4,"text":"Ah."}',
    ]
    async with odd(lambda one: says(one, json.dumps(READY), *frames)) as send:
        _, body = await send(**START)
        found: list[Any] = body["messages"]
        cursor = body["cursor"]
        while cursor < 4:
            _, body = await send(session=body["session"], cursor=cursor, wait_ms=15_000)
            found += body["messages"]
            cursor = body["cursor"]
        assert [one["seq"] for one in found] == [1, 2, 3, 4]
        assert found[1]["of"] == "roses"


async def test_lost_messages() -> None:
    """Where a `seq` is missing the session is over: a mod starts anew rather than guess."""
    frames = [
        '{"type":"turn.accepted","turn":"t1","seq":1}',
        '{"type":"turn.delta","turn":"t1","seq":3,"text":"Ah."}',
    ]
    async with odd(lambda one: says(one, json.dumps(READY), *frames)) as send:
        _, body = await send(**START)
        status = 200
        async with asyncio.timeout(LIMIT_S):
            while status == 200:
                status, answer = await send(session=body["session"], wait_ms=100)
        assert (status, answer["error"]["code"]) == (410, "unknown_session")


async def test_no_gateway_at_all(fault_server: Any) -> None:
    """What is no gateway is told as such, over WebSocket and HTTP."""
    address = fault_server.url.replace("http://", "ws://").removesuffix("/v1")
    async with (
        Alone(gateway_at(address), port=0) as alone,
        aiohttp.ClientSession() as http,
    ):
        for path, body in (
            ("/luanti/v1/exchange", START),
            ("/info", {}),
            ("/infer", {"prompt": "Vlad?"}),
        ):
            async with http.post(alone.url + path, json=body) as response:
                assert response.status == 503, path
                answer = await response.json()
                assert answer["error"]["code"] == "away"


async def test_info_of_a_gateway_without_the_bridge(tmp_path: Path) -> None:
    """Where the gateway has no bridge of its own, less is told."""
    async with (
        running_server(write_world(tmp_path / "world")) as palaver,
        Alone(gateway_at(palaver.http_url), port=0) as alone,
        aiohttp.ClientSession() as http,
    ):
        async with http.get(f"{alone.url}/info") as response:
            info = await response.json()
        assert info["personas"] == {"vampire": "Vlad", "zombie": "Brains"}
        assert info["backends"]["local"]["ok"] is None
        assert info["active"] == {"backend": None, "model": None}
        assert info["infer_ms"] == 5_000
        async with http.post(f"{alone.url}/infer", json={"prompt": "Vlad?"}) as response:
            assert (await response.json())["text"] == "Good evening."


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "url", "http"),
    [
        ("ws://127.0.0.1:8765", "ws://127.0.0.1:8765/v1", "http://127.0.0.1:8765"),
        (
            "wss://palaver.example.org",
            "wss://palaver.example.org/v1",
            "https://palaver.example.org",
        ),
        ("http://[::1]:80/", "ws://[::1]:80/v1", "http://[::1]:80"),
        ("ws://h:1/games/v1", "ws://h:1/games/v1", "http://h:1"),
    ],
)
def test_addresses(address: str, url: str, http: str) -> None:
    """A gateway is named by its WebSocket or HTTP address."""
    found = gateway_at(address, "secret")
    assert (found.url, found.http) == (url, http)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    "address", ["", "localhost", "127.0.0.1:8765", "ftp://h", "ws://h:x", "ws://", "ws://[::1"]
)
def test_no_address(address: str) -> None:
    """What is no address is told with one that is."""
    with pytest.raises(ConfigError, match=r"such as ws://127\.0\.0\.1:8765"):
        gateway_at(address)


def test_address_with_a_password() -> None:
    """What stands in an address is told to whoever asks, so no secret may be in it."""
    with pytest.raises(ConfigError, match="--token-env") as problem:
        gateway_at("wss://engine:secret@palaver.example.org")
    assert "secret" not in str(problem.value)


def test_token_that_is_not_set() -> None:
    """A token's variable has to be set."""
    args = ["--gateway", "ws://127.0.0.1:1", "--token-env", "PALAVER_TEST_UNSET"]
    result = CliRunner().invoke(luanti, args)
    assert isinstance(result.exception, ConfigError)
    assert "PALAVER_TEST_UNSET is not set" in str(result.exception)


def test_open_to_the_network() -> None:
    """Without a token it listens on this machine only."""
    with pytest.raises(ConfigError, match="--token-env"):
        Alone(gateway_at("ws://127.0.0.1:1"), host="0.0.0.0")


async def test_names(tmp_path: Path) -> None:
    """It answers to the names it was told, and says how to tell one."""
    gateway = gateway_at("ws://127.0.0.1:1")
    async with (
        Alone(gateway, port=0, hosts=["bridge.lan"]) as alone,
        aiohttp.ClientSession() as http,
    ):
        url = f"{alone.url}/luanti/v1/exchange"
        async with http.post(url, json={}, headers={"Host": "bridge.lan"}) as response:
            assert response.status == 400
        async with http.post(url, json={}, headers={"Host": "other.lan"}) as response:
            assert response.status == 403
            assert "--allow-host" in (await response.json())["error"]["message"]


async def test_port_that_is_taken() -> None:
    """A port that is taken is an error that says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        alone = Alone(gateway_at("ws://127.0.0.1:1"), port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="--port"):
            async with alone:
                pass


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl-C cannot be sent to one process")
async def test_command(tmp_path: Path) -> None:
    """`palaver luanti` says where it listens, serves, and ends cleanly on Ctrl-C."""
    async with running_server(write_world(tmp_path / "world")) as palaver:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "palaver", "luanti", "--gateway", palaver.url),
            *("--port", "0", "--json", "--token-env", "PALAVER_TEST_TOKEN"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PALAVER_TEST_TOKEN": "secret", "PALAVER_PLUGINS": "luanti"},
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60), aiohttp.ClientSession() as http:
                ready = json.loads(await process.stdout.readline())
                assert ready["personas"] == {"vampire": "Vlad", "zombie": "Brains"}
                assert ready["problem"] is None
                url = f"{ready['http_url']}/luanti/v1/exchange"
                async with http.post(url, json=START) as response:
                    assert response.status == 401
                token = {"Authorization": "Bearer secret"}
                async with http.post(url, json=START, headers=token) as response:
                    session = (await response.json())["session"]
                held = asyncio.create_task(
                    http.post(url, json={"session": session, "wait_ms": 25_000}, headers=token)
                )
                await until(lambda: len(palaver.server.hub) == 1)
                process.send_signal(signal.SIGINT)
                async with await held as response:
                    assert response.status in (410, 503)
                _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, errors.decode()
        assert "Traceback" not in errors.decode()
        assert "secret" not in errors.decode()
        await until(lambda: len(palaver.server.hub) == 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl-C cannot be sent to one process")
async def test_the_log_says_when_the_gateway_is_there(tmp_path: Path) -> None:
    """Once each time, though no mod asks: whoever started both at once need not wonder."""
    world = write_world(tmp_path / "world")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "palaver", "luanti", "--gateway", f"ws://127.0.0.1:{port}"),
        *("--port", "0", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PALAVER_PLUGINS": "luanti"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []

    async def says(words: str) -> None:
        assert process.stderr is not None
        while not said or words not in said[-1]:
            line = await process.stderr.readline()
            assert line, said
            said.append(line.decode())

    try:
        async with asyncio.timeout(120), aiohttp.ClientSession() as http:
            ready = json.loads(await process.stdout.readline())
            assert "cannot reach" in ready["problem"]
            more = {"server.port": port}
            async with running_server(world, overrides=more):
                await says(f"connected to ws://127.0.0.1:{port}")
                url = f"{ready['http_url']}/luanti/v1/exchange"
                async with http.post(url, json=START) as response:
                    assert response.status == 200
            await says("cannot reach")
            async with running_server(world, overrides=more):
                await says(f"connected to ws://127.0.0.1:{port}")
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = "".join(said) + errors.decode()
    assert process.returncode == 0, told
    assert told.count("connected to") == 2
    assert "Traceback" not in told
