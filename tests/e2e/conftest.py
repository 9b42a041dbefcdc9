"""`palaver serve` as a process of its own, with all members installed."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

Serve = Callable[..., "Served"]
WAIT_S = 60.0
"""Longest wait for a process, in seconds; a test that gets there has failed."""


class Served:
    """A `palaver serve` that runs.

    Args:
        arguments: What stands after `palaver serve`.
        environ: Its environment.

    Attributes:
        ready: Its first line, once it serves.
        log: Messages of its log so far.
    """

    def __init__(self, arguments: tuple[str, ...], environ: dict[str, str]) -> None:
        command = [sys.executable, "-m", "palaver", "serve", *arguments, "--port", "0", "--json"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
        )
        self.log: list[str] = []
        self._first: queue.Queue[str] = queue.Queue()
        # It is read all the time, or a full pipe would stop the server.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            first = self._first.get(timeout=WAIT_S)
            self.ready: dict[str, Any] = json.loads(first)
        except (queue.Empty, ValueError):
            self.process.kill()
            raise AssertionError(f"it did not start: {self.process.communicate()[1]}") from None

    @property
    def url(self) -> str:
        """Its WebSocket address."""
        return str(self.ready["url"])

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait(WAIT_S)

    def stop(self) -> int:
        """Stop it as Ctrl-C does, and return its exit code; safe to call twice."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join(WAIT_S)
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for number, line in enumerate(self.process.stdout):
            if not number:
                self._first.put(line)
            else:
                self.log.append(json.loads(line)["message"])
        self._first.put("")


def environment(folder: Path) -> dict[str, str]:
    """Return an environment with nothing of whoever runs the tests, but all installed plugins."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PALAVER_")}
    return kept | {
        "PALAVER_CONFIG_DIR": str(folder / "config"),
        "PALAVER_DATA_DIR": str(folder / "data"),
        # A model server that happens to run on this machine is not part of the test.
        "PALAVER_SERVER__DETECT": "false",
        "PYTHONUTF8": "1",
    }


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts `palaver serve` with arguments; what is started is stopped after the test."""
    if sys.platform == "win32":
        pytest.skip("signals of POSIX")
    with ExitStack() as stack:

        def begin(*arguments: str) -> Served:
            served = Served(arguments, environment(tmp_path))
            stack.callback(served.stop)
            return served

        yield begin


@pytest.fixture(scope="module")
def example_worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Both example worlds, each served by a process of its own; tests use games of their own."""
    if sys.platform == "win32":
        pytest.skip("signals of POSIX")
    with ExitStack() as stack:
        served = {}
        for name in ("body-broker", "village"):
            served[name] = Served((name,), environment(tmp_path_factory.mktemp(name)))
            stack.callback(served[name].stop)
        yield served
