"""`palaver serve`: a friendly start, one line for each turn, a clean end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Start = Callable[..., Any]
Cli = Callable[..., Result]

pytestmark = pytest.mark.timeout(120)


def address(text: str) -> str:
    """Return the WebSocket address in what a server printed."""
    return text.partition("ws://")[2].split("/v1")[0].join(("ws://", "/v1"))


def test_it_says_what_it_serves(start: Start, cli: Cli, trusted: str) -> None:
    """The start names world, personas, backends and address; each turn is a line of the log."""
    server = start("serve", trusted, "--port", "0", terminal=False)
    shown = server.read_until("Ctrl-C stops it")
    assert f"serves world {trusted}" in shown
    assert "vampire (Vlad), zombie (Brains)" in shown
    assert "scripted   answers   plays its script" in shown
    more = ["--npc", "vampire", "--say"]
    assert cli("chat", "--url", address(shown), *more, "Hi.").stdout == "Good evening, Player.\n"
    shown = server.read_until("in all")
    assert "vampire to player: local served · first words" in shown
    assert "Hi." not in server.raw
    server.interrupt()
    server.read_until("stopping")
    assert server.end() == 0


def test_an_npc_nobody_has(start: Start, cli: Cli, trusted: str) -> None:
    """Of a running server, chat takes NPCs that are there, and says whom else there is."""
    server = start("serve", trusted, "--port", "0", terminal=False)
    url = address(server.read_until("Ctrl-C stops it"))
    result = cli("chat", "--url", url, "--npc", "bob", "--say", "Hi.")
    assert result.exit_code == 1
    assert result.stderr == "error: there is no 'bob' in world; there are `vampire`, `zombie`\n"


def test_a_talk_whose_server_goes_away(start: Start, trusted: str) -> None:
    """When the server is gone for good, the chat ends with one line."""
    server = start("serve", trusted, "--port", "0", terminal=False)
    url = address(server.read_until("Ctrl-C stops it"))
    chat = start("chat", "--url", url, "--npc", "vampire")
    chat.read_until("> ")
    server.popen.kill()
    chat.type("Hello.\n")
    shown = chat.read_until("error: ", timeout_s=60)
    assert chat.end() == 1
    assert "cannot reach ws://127.0.0.1" in shown
    assert "Traceback" not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_json_for_programs(trusted: str, cli_environ: dict[str, str]) -> None:
    """With --json the first line tells the address, and SIGTERM ends it with exit code 0."""
    (Path(trusted) / "personas" / "ghoul.md").write_text("---\nnmae: x\n---\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "palaver", "serve", trusted, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            ready = json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in process.stdout]
        assert process.stderr.read() == ""
        assert process.wait(60) == 0
    assert ready["event"] == "ready"
    assert ready["url"].startswith("ws://127.0.0.1:")
    assert ready["personas"] == {"vampire": "Vlad", "zombie": "Brains"}
    assert ready["backends"]["local"]["ok"] is True
    assert any("ghoul.md:2: `nmae`" in problem for problem in ready["problems"])
    assert all(line["event"] == "log" for line in lines)
    assert any("ghoul.md:2" in line["message"] for line in lines)
    assert lines[-1]["message"] == "stopping"


def test_an_address_for_all_needs_tokens(cli: Cli, trusted: str) -> None:
    """Listening beyond this machine without tokens is refused with what to do."""
    result = cli("serve", trusted, "--host", "0.0.0.0")
    assert result.exit_code == 1
    assert "[[server.tokens]]" in result.stderr


def test_a_port_that_is_taken(cli: Cli, trusted: str) -> None:
    """A port that another program has is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = cli("serve", trusted, "--port", str(port))
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "--port" in result.stderr


def test_what_an_untrusted_world_lacks(start: Start, script_world: Path) -> None:
    """Without trust the start says what was left out and what to do."""
    toml = script_world / "palaver.toml"
    toml.write_text('[server]\nhost = "0.0.0.0"\ndetect = false\n')
    server = start("serve", str(script_world), "--port", "0", terminal=False)
    shown = server.read_until("Ctrl-C stops it")
    assert "its plugins do not run; [server] host is left out" in shown
    assert f"palaver trust {script_world}" in shown
    assert "ws://127.0.0.1:" in shown


def test_a_broken_setting(cli: Cli, trusted: str) -> None:
    """A typo in palaver.toml is told with file, line and the nearest right key."""
    toml = Path(trusted) / "palaver.toml"
    toml.write_text("[server]\nprot = 1\n")
    result = cli("serve", trusted)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: {toml}:2: server.prot: no such setting; did you mean `port`?\n"
    )
