"""Palaver for a game, in a thread of the test or as a process, and servers that are none."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import palaver_prompts
from harness.waiting import LIMIT_S, end, free_port
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server

__all__ = ["Answer", "Gateway", "Recorder", "Served", "forward", "village"]

PLUGINS = "luanti,prompts,static"
# A machine that is busy with other tests may take its time; nothing here is about speed.
PATIENT = {
    f"tiers.{tier}.{key}": 20_000
    for tier in ("grunt", "elite", "boss")
    for key in ("first_text_ms", "first_token_ms", "stall_ms")
}


def village(folder: Path) -> Path:
    """Copy the example world of Elder Willow and the Alchemist into a folder, and return it."""
    world = folder / "village"
    if not world.exists():
        source = Path(palaver_prompts.__file__).parent / "worlds" / "village"
        shutil.copytree(source, world)
    return world


class Gateway:
    """Palaver with the village in a thread of its own; use it in a `with` block.

    Args:
        folder: Where the world goes.
        port: Its port; a free one by default, and the same again after each start.
        backend: What answers; by default it says "Good evening."
        overrides: Settings by dotted key.

    Attributes:
        backend: What answers; set its `replies`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        backend: ScriptedBackend | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.backend = backend or ScriptedBackend("local", "Good evening.")
        self.port = port or free_port()
        self._world = village(folder)
        self._overrides = {
            "server.port": self.port,
            "server.detect": False,
            "backends.local.type": "scripted",
            **PATIENT,
            **(overrides or {}),
        }
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self.running: RunningServer

    @property
    def url(self) -> str:
        """The address for the mod's setting."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Gateway:
        """Start it, and wait until it serves."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        begun: queue.Queue[BaseException | None] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, args=(begun,), daemon=True)
        self._thread.start()
        problem = begun.get(timeout=LIMIT_S)
        if problem:
            self._thread.join(LIMIT_S)
            raise AssertionError("Palaver did not start") from problem

    def stop(self) -> None:
        """Stop it; safe to call twice."""
        if self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(LIMIT_S)
        self._thread = None

    def on_loop(self, call: Callable[[], Any]) -> Any:
        """Call something on Palaver's loop and return what it returns."""

        async def run() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(LIMIT_S)

    def _serve(self, begun: queue.Queue[BaseException | None]) -> None:
        async def main() -> None:
            self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
            async with running_server(
                self._world,
                backend=self.backend,
                overrides=self._overrides,
                environ={"PALAVER_PLUGINS": PLUGINS},
            ) as self.running:
                begun.put(None)
                await self._over.wait()

        try:
            asyncio.run(main())
        except BaseException as err:
            # Whoever waits for it has to know, whatever it is.
            begun.put(err)


class Served:
    """`palaver serve` as a process, which can be killed; use it in a `with` block.

    Args:
        world: Its world folder.
        port: Its port.
        folder: Where its settings and memories go.
        variables: More environment variables.

    Attributes:
        process: The process.
    """

    def __init__(self, world: Path, port: int, folder: Path, **variables: str) -> None:
        self.port = port
        kept = {name: value for name, value in os.environ.items() if name[:8] != "PALAVER_"}
        self._environ = kept | {
            "PALAVER_CONFIG_DIR": str(folder / "config"),
            "PALAVER_DATA_DIR": str(folder / "data"),
            "PALAVER_SERVER__DETECT": "false",
            "PYTHONUTF8": "1",
            **variables,
        }
        self._command = [sys.executable, "-m", "palaver", "serve", str(world)]
        self._command += ["--port", str(port), "--json", "--log-level", "warning"]
        self._errors = folder / "palaver.log"
        self.process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        """The address for the mod's setting."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Served:
        """Start it, and wait until it serves."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        end(self.process, signal.SIGINT)

    def start(self) -> None:
        """Start it, and wait until it serves."""
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=errors, text=True, env=self._environ
            )
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            first = lines.readline()
        assert first, f"Palaver did not start:\n{self._errors.read_text()}"
        assert json.loads(first)["url"]

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait(LIMIT_S)


Answer = tuple[int, str, bytes]
"""Status, content type and body."""


def forward(url: str) -> Callable[[dict[str, Any]], Answer | None]:
    """Return a `Recorder`'s answer that comes from another server.

    Args:
        url: The other server's address.
    """

    def ask(request: dict[str, Any]) -> Answer | None:
        line = HTTPConnection(url.removeprefix("http://"), timeout=LIMIT_S)
        # Its own line each time: the lengths are told anew, and nothing is kept alive.
        dropped = ("connection", "content-length", "host", "transfer-encoding")
        headers = {
            name: value for name, value in request["headers"].items() if name.lower() not in dropped
        }
        try:
            line.request(request["method"], request["path"], request["body"], headers)
            answer = line.getresponse()
            return answer.status, answer.headers.get("Content-Type", ""), answer.read()
        except OSError:
            return None
        finally:
            line.close()

    return ask


class Recorder:
    """A little HTTP server that notes what it is asked; use it in a `with` block.

    Args:
        answer: Returns the answer to a request, or None to cut the line.
        port: Its port; a free one by default.

    Attributes:
        seen: The requests so far.
        most: How many were at work at once, at most.
    """

    def __init__(
        self, answer: Callable[[dict[str, Any]], Answer | None], *, port: int | None = None
    ) -> None:
        self.seen: list[dict[str, Any]] = []
        self.most = 0
        self._now = 0
        self._counting = threading.Lock()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                request = {
                    "method": self.command,
                    "path": self.path,
                    "headers": dict(self.headers.items()),
                    "body": self.rfile.read(length),
                }
                recorder.count(1, request)
                try:
                    found = answer(request)
                finally:
                    recorder.count(-1)
                if found is None:
                    self.close_connection = True
                    return
                status, kind, body = found
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                try:
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    # A game that ended in the meantime is no news.
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_DELETE = _any

            def log_message(self, *_: Any) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port or 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def count(self, more: int, request: dict[str, Any] | None = None) -> None:
        """Count a request that begins or ends."""
        with self._counting:
            self._now += more
            self.most = max(self.most, self._now)
            if request:
                self.seen.append(request)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Recorder:
        """Start it."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join(LIMIT_S)
        self._server.server_close()
