"""What the tests run with, those of the command line above all."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from palaver.turn import context
from palaver.world.trust import TrustStore

SCRIPT = '''\
"""Backends that play a script, for a world of the tests."""

import asyncio

from palaver import BackendUnavailable, Finish, hookimpl
from palaver.testing.scripted import ScriptedBackend, scripted_type


def reply(request):
    turn = request.turn
    said = turn.cue or turn.text
    if "wait" in said:
        return ["Well, ", "let me ", asyncio.Event()]
    if "fail" in said:
        return [BackendUnavailable("local", "is down")]
    if "feel" in said:
        return ["<feel joy 0.5>", "Come ", "in.", Finish()]
    if "escape" in said:
        return ["\\x1b]0;mine\\x07Good ", "evening."]
    if "remember" in said:
        return f"I remember {[past.reply for past in turn.history]}."
    if "facts" in said:
        return f"{turn.variables['facts']} {turn.variables['player'].get('rank')} {turn.tier_name}"
    return ["Good ", "evening, ", f"{turn.player.name}.", Finish(model="script-1")]


@hookimpl
def palaver_register_backends(register):
    register(scripted_type([ScriptedBackend("local", reply)]))
'''


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is waited for, however busy the machine is."""
    monkeypatch.setattr(context, "RECALL_S", 20)


@pytest.fixture
def script_world(palaver_world: Path) -> Path:
    """A trusted world whose backend `local` answers by what is said to it."""
    (palaver_world / "plugins").mkdir()
    (palaver_world / "plugins" / "script.py").write_text(SCRIPT, encoding="utf-8")
    # A script says the same again, which no character should.
    settings = palaver_world / "palaver.toml"
    text = settings.read_text(encoding="utf-8")
    text = text.replace("[tiers.elite]\n", "[tiers.elite]\nchecks = []\n")
    settings.write_text(text, encoding="utf-8")
    return palaver_world


@pytest.fixture
def cli_environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of the command line: nothing of whoever runs the tests, no plugins."""
    for name in list(os.environ):
        if name.startswith(("PALAVER_", "XDG_")) and not name.startswith("PALAVER_TEST_"):
            monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "PALAVER_CONFIG_DIR": str(tmp_path / "config"),
        "PALAVER_DATA_DIR": str(tmp_path / "data"),
        "PALAVER_PLUGINS": "",
        "TERM": "xterm",
        "COLUMNS": "80",
        "LINES": "24",
        "PYTHONIOENCODING": "utf-8",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    return dict(os.environ)


@pytest.fixture
def trusted(script_world: Path, cli_environ: dict[str, str]) -> str:
    """The folder of `script_world`, which the command line trusts."""
    TrustStore(Path(cli_environ["PALAVER_CONFIG_DIR"]) / "trusted.json").trust(script_world)
    return str(script_world)


@pytest.fixture
def cli(cli_environ: dict[str, str]) -> Iterator[Callable[..., Result]]:
    """Runs `palaver` inside the test: `cli("chat", "--help")`."""
    from palaver.cli import main

    root, ours = logging.getLogger(), logging.getLogger("palaver")
    before = (list(root.handlers), root.level, ours.level)

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin, prog_name="palaver")

    yield run
    root.handlers[:], root.level = before[0], before[1]
    root.setLevel(before[1])
    ours.setLevel(before[2])


class Process:
    """`palaver` as a process of its own, on a terminal if it is to have one.

    Attributes:
        popen: The process.
        raw: Everything that was read of its output so far.
    """

    def __init__(self, arguments: tuple[str, ...], *, terminal: bool) -> None:
        command = [sys.executable, "-m", "palaver", *arguments]
        self.raw = ""
        if terminal:
            self._fd, theirs = os.openpty()
            self.popen = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
            os.close(theirs)
            return
        self._fd, theirs = os.pipe()
        self.popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        )
        os.close(theirs)

    def read_until(self, *wanted: str, timeout_s: float = 60) -> str:
        """Read until all of this stands in what comes from now on; return that without colours."""
        begin = len(self.raw)
        ends_at = time.monotonic() + timeout_s
        while not all(part in self._plain(begin) for part in wanted):
            left = ends_at - time.monotonic()
            ready, _, _ = select.select([self._fd], [], [], max(0, left))
            piece = b""
            if ready:
                with suppress(OSError):  # A terminal whose other side has ended.
                    piece = os.read(self._fd, 65_536)
            if not piece:
                pytest.fail(f"waited for {wanted}, but it said:\n{self.raw[begin:]}")
            self.raw += piece.decode("utf-8", "replace").replace("\r\n", "\n")
        return self._plain(begin)

    def _plain(self, begin: int) -> str:
        return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", self.raw[begin:])

    def type(self, text: str) -> None:
        """Type on its terminal."""
        os.write(self._fd, text.encode())

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.popen.send_signal(signal.SIGINT)

    def end(self, timeout_s: float = 60) -> int:
        """Wait for its end and return the exit code."""
        return self.popen.wait(timeout_s)

    def close(self) -> None:
        """End it, however it is."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(10)
        os.close(self._fd)


@pytest.fixture
def start(cli_environ: dict[str, str]) -> Iterator[Callable[..., Process]]:
    """Starts `palaver` as a process: `start("serve", world, terminal=False)`."""
    if sys.platform == "win32":
        pytest.skip("terminals and signals of POSIX")
    started: list[Process] = []

    def begin(*arguments: str, terminal: bool = True) -> Process:
        process = Process(arguments, terminal=terminal)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.close()


@pytest.fixture
def read_json() -> Callable[[Result], Any]:
    """Reads what a command printed with `--json`."""

    def read(result: Result) -> Any:
        return json.loads(result.stdout)

    return read
