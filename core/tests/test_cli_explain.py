"""`palaver explain`: timelines of a running server's turns, and of what clients saved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from palaver.cli.explaining import turns_of_file
from palaver.cli.timeline import render
from palaver.errors import BackendUnavailable, PalaverError
from palaver.testing.server import RunningServer, running_server

Cli = Callable[..., Result]

ASK = {"npc": "vlad", "persona": "vampire", "player": "ada", "text": "Good evening."}
DONE: dict[str, Any] = {
    "type": "turn.done",
    "turn": "t1",
    "seq": 3,
    "status": "completed",
    "text": "Leave.",
    "served_by": {"backend": "local", "type": "vllm", "model": "m", "adapter": None},
    "trail": [{"backend": "local", "outcome": "served", "at_ms": 300.5, "begun_ms": 1.0}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "cost_usd": 0.0},
    "ttft_ms": 200.0,
    "total_ms": 301.0,
    "cached": False,
}
ACCEPTED = {"type": "turn.accepted", "turn": "t1", "seq": 1, "npc": "vlad", "tier": "elite"}
DELTA = {"type": "turn.delta", "turn": "t1", "seq": 2, "text": 'a "trail" {'}


async def talk(palaver: RunningServer, *turns: str) -> None:
    """Run turns over HTTP."""
    async with aiohttp.ClientSession(palaver.http_url) as http:
        for turn in turns:
            async with http.post("/v1/turns", json={**ASK, "turn": turn}) as answer:
                assert answer.status == 200


async def test_the_last_turn_of_a_server(palaver_server: RunningServer, cli: Cli) -> None:
    """Without a turn it is the last one that ended; the marks are explained below."""
    palaver_server.backend.replies = ["Good evening.", [BackendUnavailable("local", "is down")]]
    await talk(palaver_server, "first", "second")
    result = await asyncio.to_thread(cli, "explain", "--url", palaver_server.http_url)
    assert result.exit_code == 0, result.output
    assert "turn second · npc vlad" in result.stdout
    assert "player ada · tier elite" in result.stdout
    assert "The persona's last words were spoken, because local failed." in result.stdout
    assert "is down" in result.stdout
    assert "turn first" not in result.stdout
    assert "asked" in result.stdout.splitlines()[-1]
    assert max(map(len, result.stdout.splitlines())) <= 80


async def test_one_turn_and_several(palaver_server: RunningServer, cli: Cli) -> None:
    """A turn by its id, the last ones by their number, the address of the WebSocket will do."""
    await talk(palaver_server, "a", "b/c?d", "e")
    url = ("--url", palaver_server.url)
    result = await asyncio.to_thread(cli, "explain", "b/c?d", *url)
    assert result.exit_code == 0, result.output
    assert "turn b/c?d" in result.stdout
    result = await asyncio.to_thread(cli, "explain", "--last", "2", *url)
    assert "turn a" not in result.stdout
    assert result.stdout.index("turn b/c?d") < result.stdout.index("turn e")
    result = await asyncio.to_thread(cli, "explain", "--last", "5", "--json", *url)
    assert [one["turn"] for one in json.loads(result.stdout)] == ["a", "b/c?d", "e"]
    assert json.loads(result.stdout)[0]["limits"]["total_ms"] == 30_000


async def test_a_turn_that_is_not_there(palaver_server: RunningServer, cli: Cli) -> None:
    """The nearest id is named; where nothing was said yet, that is said."""
    url = ("--url", palaver_server.http_url)
    result = await asyncio.to_thread(cli, "explain", *url)
    assert result.exit_code == 1
    assert "no turn has ended" in result.stderr
    await talk(palaver_server, "greeting-1")
    result = await asyncio.to_thread(cli, "explain", "greetin-1", *url)
    assert result.exit_code == 1
    assert "did you mean 'greeting-1'?" in result.stderr


async def test_a_server_that_asks_for_a_token(
    palaver_world: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PALAVER_TOKEN is sent; without it the error says so."""
    file = palaver_world / "palaver.toml"
    digest = sha256(b"key").hexdigest()
    token = f'[[server.tokens]]\nrole = "engine"\nsha256 = "{digest}"\n'
    file.write_text(file.read_text("utf-8") + token, "utf-8")
    async with running_server(palaver_world) as palaver:
        engine = await palaver.ready(token="key")
        await engine.say("vlad", "Hello.", turn="t1")
        result = await asyncio.to_thread(cli, "explain", "--url", palaver.http_url)
        assert result.exit_code == 1
        assert "set PALAVER_TOKEN" in result.stderr
        monkeypatch.setenv("PALAVER_TOKEN", "key")
        result = await asyncio.to_thread(cli, "explain", "t1", "--url", palaver.http_url)
        assert result.exit_code == 0, result.output
        monkeypatch.setenv("PALAVER_TOKEN", "wrong")
        result = await asyncio.to_thread(cli, "explain", "t1", "--url", palaver.http_url)
        assert "the token is not known" in result.stderr
        assert "wrong" not in result.stderr


@pytest.mark.parametrize(
    "answer", ["<html>", "{}", "[]", '{"turns": 7}', '{"turns": [{}]}', "null", '"x"']
)
@pytest.mark.parametrize("status", [200, 404])
async def test_something_else_that_answers(answer: str, status: int, cli: Cli) -> None:
    """A server of another kind is called that, without a traceback."""

    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(text=answer, status=status)

    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        result = await asyncio.to_thread(cli, "explain", "--url", url)
    finally:
        await runner.cleanup()
    assert result.exit_code == 1
    assert "is no Palaver server" in result.stderr


@pytest.mark.parametrize("url", ["ftp://x", "http://", "nonsense:", "localhost:8765", ""])
def test_what_is_no_address(url: str, cli: Cli) -> None:
    """An address that cannot be one is told from a server that is away."""
    result = cli("explain", "--url", url)
    assert result.exit_code == 1
    assert "address" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_server(cli: Cli) -> None:
    """Where nobody answers it says what to do."""
    result = cli("explain", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "palaver serve" in result.stderr
    assert "--file" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("t1", "--last", "2"),
        ("--last", "0"),
        ("--file", "x", "--url", "http://127.0.0.1:8765"),
        ("a", "b"),
    ],
    ids=" ".join,
)
def test_wrong_command_lines(arguments: tuple[str, ...], cli: Cli) -> None:
    """What contradicts itself is a wrong command line."""
    assert cli("explain", *arguments).exit_code == 2


def jsonl(*messages: Any) -> str:
    """Return messages as lines."""
    return "\n".join(map(json.dumps, messages))


CHUNK = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}}]}
PALAVER = {**DONE, "cost_usd": 0.5, "npc": "vlad", "tier": "elite"}
del PALAVER["usage"]
LOGS = {
    "one": json.dumps(DONE),
    "indented": json.dumps(DONE, indent=2),
    "list": json.dumps([ACCEPTED, DELTA, DONE]),
    "lines": jsonl(ACCEPTED, DELTA, DONE),
    "log": "\n".join(
        f"12:00:0{number} INFO [net] <- {json.dumps(one)} (60 bytes)"
        for number, one in enumerate([ACCEPTED, DELTA, DONE])
    ),
    "events": "".join(
        f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in (ACCEPTED, DELTA, DONE)
    ),
    "transcript": jsonl({"dir": "s", "msg": ACCEPTED}, {"dir": "s", "msg": DONE}),
    "server": json.dumps({"turns": [{**DONE, "npc": "vlad"}]}),
    "chunks": f"data: {json.dumps({**CHUNK, 'palaver': PALAVER})}\n\ndata: [DONE]\n",
    "completion": json.dumps({"object": "chat.completion", "palaver": PALAVER}),
    "bom": "\ufeff" + json.dumps(DONE),
    "broken": '{"type": "turn.done", "trail"\n{{{\n[]\n' + json.dumps(DONE) + '\n{"trail": 7}',
    "half": jsonl({"trail": [], "served_by": 5}, DONE, {"trail": [{}], "served_by": {}}),
}


@pytest.mark.parametrize("name", LOGS)
def test_what_clients_save(name: str, cli: Cli, tmp_path: Path) -> None:
    """Any text that has the messages in it will do."""
    file = tmp_path / "client.log"
    file.write_text(LOGS[name], encoding="utf-8")
    result = cli("explain", "--file", str(file))
    assert result.exit_code == 0, result.output
    assert "turn t1" in result.stdout
    assert "local (m) spoke." in result.stdout
    assert "Leave." not in result.stdout


NUMBERS = st.floats(allow_nan=True) | st.integers(-(10**30), 10**30)
VALUES = st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | st.just({}) | st.just([])


@given(
    st.dictionaries(st.sampled_from([*DONE, "at", "limits", "waited_ms", "npc"]), VALUES),
    st.dictionaries(st.sampled_from(["backend", "at_ms", "begun_ms", "first_ms"]), VALUES),
    st.text(max_size=20),
)
def test_whatever_stands_in_a_file(
    fields: dict[str, Any], entry: dict[str, Any], noise: str
) -> None:
    """A file is read and drawn, or refused with a reason, whatever is in it."""
    done = {**DONE, "trail": [{**DONE["trail"][0], **entry}], **fields}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "log"
        text = f"{noise}\n{noise} {json.dumps(done)} {noise}"
        file.write_text(text, encoding="utf-8", errors="replace")
        try:
            turns = turns_of_file(str(file), None, 5)
        except PalaverError:
            return
    for one in turns:
        assert "turn " in render(one, width=80, colour=True)


def test_standard_input(cli: Cli) -> None:
    """`-` reads what comes in; who answered is known by the turn's acceptance."""
    result = cli("explain", "--file", "-", stdin=LOGS["lines"])
    assert result.exit_code == 0, result.output
    assert "turn t1 · npc vlad · tier elite" in result.stdout


def test_one_of_many_in_a_file(cli: Cli, tmp_path: Path) -> None:
    """A turn is found by its id, the last by their number, a wrong id has a nearest."""
    file = tmp_path / "log.jsonl"
    file.write_text(jsonl(*({**DONE, "turn": f"turn-{number}"} for number in range(9))), "utf-8")
    assert "turn turn-3" in cli("explain", "turn-3", "--file", str(file)).stdout
    shown = cli("explain", "--last", "2", "--file", str(file)).stdout
    assert "turn turn-7" in shown
    assert "turn turn-6" not in shown
    result = cli("explain", "tunr-3", "--file", str(file))
    assert result.exit_code == 1
    assert "did you mean `turn-3`" in result.stderr


@pytest.mark.parametrize("text", ["", "nothing here", "{}", "[" * 5_000, "\x00\xff{", '{"a": 1}'])
def test_files_without_a_turn(text: str, cli: Cli, tmp_path: Path) -> None:
    """The error says what would have been looked for."""
    file = tmp_path / "other.txt"
    file.write_bytes(text.encode("latin-1"))
    result = cli("explain", "--file", str(file))
    assert result.exit_code == 1
    assert "turn.done" in result.stderr


def test_a_file_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    """It cannot be read, and why is said."""
    result = cli("explain", "--file", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
    assert cli("explain", "--file", str(tmp_path)).exit_code == 1


def test_a_chat_explains_itself(cli: Cli, trusted: str) -> None:
    """/explain shows the last answer on a timeline, `/explain on` each from then on."""
    typed = ["/explain", "Hello.", "/explain", "/explain on", "fail", "/explain off", "Hello."]
    typed += ["/explain sideways", "/quit"]
    result = cli("chat", trusted, "--npc", "vampire", "--fresh", stdin="\n".join(typed))
    assert result.exit_code == 0, result.output
    out = result.stdout
    assert "Nobody has answered yet." in out
    assert "local (script-1) spoke." in out
    assert "The persona's last words were spoken, because local failed." in out
    assert out.count("\nshown ") == 2
    assert "Write /explain" in out


def test_a_single_answer_explains_itself(cli: Cli, trusted: str) -> None:
    """With --say and --explain the timeline goes to stderr, and stdout has the answer alone."""
    arguments = ("chat", trusted, "--npc", "vampire", "--say", "Hello.", "--explain")
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == "Good evening, Player.\n"
    assert "local (script-1) spoke." in result.stderr
    assert "first words" in result.stderr
    assert cli(*arguments, "--json").exit_code == 2
