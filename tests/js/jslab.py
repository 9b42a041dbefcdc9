"""What the JavaScript tests talk to: real servers behind a cable that can be cut, and bad peers.

A test in JavaScript steers it over HTTP: it asks for a server or a peer, gets its address,
and then lets things happen to the cable, the model or the server. All in one process and one loop,
so that whoever ends the test ends everything.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from palaver.chain.backend import Finish
from palaver.errors import BackendUnavailable
from palaver.messages import SUBPROTOCOL
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world

__all__ = ["Lab", "running_lab"]

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
FILES = {
    "/palaver.js": ROOT / "clients/javascript/palaver.js",
    "/page.html": HERE / "page.html",
}


class Cable:
    """A TCP proxy between clients and a server."""

    def __init__(self) -> None:
        self.target = 0
        self.port = 0
        self.connections = 0
        self.refusing = False
        self._open = asyncio.Event()
        self._open.set()
        self._left: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen on a free port."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection without a word."""
        for writer in self._writers:
            writer.transport.abort()

    def cut_after(self, size: int) -> None:
        """Break them when so many more bytes have come from the server."""
        self._left = size

    def hold(self, held: bool) -> None:
        """Let nothing through, and leave the connections as they are."""
        if held:
            self._open.clear()
        else:
            self._open.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing or not self.target:
            writer.transport.abort()
            return
        self.connections += 1
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there}
        for source, sink, counted in ((reader, there, False), (there_reader, writer, True)):
            task = asyncio.create_task(self._copy(source, sink, counted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, counted: bool
    ) -> None:
        try:
            while data := await source.read(65_536):
                await self._open.wait()
                if counted and self._left is not None:
                    if len(data) >= self._left:
                        sink.write(data[: self._left])
                        self._left = None
                        await sink.drain()
                        self.cut()
                        return
                    self._left -= len(data)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(sink)
            sink.close()


class Served:
    """A real server with a scripted model, behind a cable."""

    def __init__(self, world: Path, settings: dict[str, Any], replies: list[list[Any]]) -> None:
        self.world, self.settings = world, settings
        self.gates: dict[str, asyncio.Event] = {}
        self.backend = ScriptedBackend("local", *self.script(replies))
        self.cable = Cable()
        self.palaver: RunningServer | None = None
        self._stack = AsyncExitStack()

    def script(self, replies: list[list[Any]]) -> list[Any]:
        """Turn the replies of a transcript into a script."""

        def step(value: Any) -> Any:
            if isinstance(value, str):
                return value
            [(kind, what)] = value.items()
            if kind == "gate":
                return self.gates.setdefault(what, asyncio.Event())
            return BackendUnavailable("local", what) if kind == "fail" else Finish(what)

        def whole(reply: list[Any]) -> list[Any]:
            ends = any(isinstance(one, dict) and {"fail", "finish"} & one.keys() for one in reply)
            return [step(one) for one in reply] + ([] if ends else [Finish()])

        return [whole(reply) for reply in replies] or [["Good evening.", Finish()]]

    async def start(self) -> None:
        """Start the server."""
        write_world(self.world)
        self.palaver = await self._stack.enter_async_context(
            running_server(self.world, backend=self.backend, overrides=self.settings)
        )
        self.cable.target = self.palaver.server.port

    async def stop(self) -> None:
        """Stop it; its sessions are gone."""
        self.cable.target = 0
        await self._stack.aclose()

    async def do(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        """Let something happen, and return what the model was asked so far."""
        match what:
            case "cut":
                self.cable.cut()
            case "cut_after":
                self.cable.cut_after(body["bytes"])
            case "refuse":
                self.cable.refusing = body["refuse"]
            case "hold":
                self.cable.hold(body["hold"])
            case "release":
                self.gates.setdefault(body["gate"], asyncio.Event()).set()
            case "replies":
                self.backend.replies = self.script(body["replies"])
            case "stop":
                await self.stop()
            case "start":
                await self.start()
        prompts = [[message.content for message in one.messages] for one in self.backend.requests]
        return {"prompts": prompts, "connections": self.cable.connections}


class Peer:
    """A server that does for each connection what its script says, however wrong that is."""

    def __init__(self, scripts: list[dict[str, Any]]) -> None:
        self.scripts = scripts
        self.got: list[list[dict[str, Any]]] = []

    async def serve(self, socket: ServerConnection) -> None:
        """Play the next script."""
        script = self.scripts[min(len(self.got), len(self.scripts) - 1)]
        got: list[dict[str, Any]] = []
        self.got.append(got)
        last: dict[str, Any] = {}
        with suppress(ConnectionClosed):
            for step in script["steps"]:
                [(kind, what)] = step.items()
                if kind == "expect":
                    while (last := await self._receive(socket, got)).get("type") != what:
                        pass
                elif kind == "send":
                    await socket.send(json.dumps(_filled(what, last)))
                elif kind == "raw":
                    await socket.send(what)
                elif kind == "binary":
                    await socket.send(bytes.fromhex(what))
                elif kind == "close":
                    await socket.close(what)
                elif kind == "cut":
                    socket.transport.abort()
            while True:
                await self._receive(socket, got, pong=not script.get("mute"))

    async def _receive(
        self, socket: ServerConnection, got: list[dict[str, Any]], *, pong: bool = True
    ) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await socket.recv())
        got.append(message)
        if message["type"] == "ping" and pong:
            await socket.send(json.dumps({"type": "pong", "nonce": message.get("nonce")}))
        return message


def _filled(value: Any, last: dict[str, Any]) -> Any:
    """Write out `$last`, a field of the last message that was expected, and `$repeat`."""
    if isinstance(value, dict):
        if "$last" in value:
            return last.get(value["$last"])
        if "$repeat" in value:
            text, times = value["$repeat"]
            return text * times
        return {key: _filled(item, last) for key, item in value.items()}
    return [_filled(item, last) for item in value] if isinstance(value, list) else value


class Lab:
    """Servers and peers by number, and what steers them.

    Attributes:
        url: Its HTTP address; also the origin of its page.
        result: What the page of the browser told, once it did.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.url = ""
        self.result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._folder, self._stack = folder, stack
        self._things: list[Served | Peer] = []

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for an application."""
        handlers: dict[str, Callable[[web.Request], Awaitable[dict[str, Any]]]] = {
            "/servers": self._server,
            "/peers": self._peer,
            "/{number:[0-9]+}/{what}": self._do,
            "/result": self._result,
        }

        def answering(handler: Callable[[web.Request], Awaitable[dict[str, Any]]]) -> Any:
            async def answer(request: web.Request) -> web.Response:
                return web.json_response(await handler(request))

            return answer

        posts = [web.post(path, answering(handler)) for path, handler in handlers.items()]
        return posts + [web.get(path, self._file) for path in FILES]

    async def server(self, settings: dict[str, Any], replies: list[list[Any]]) -> dict[str, Any]:
        """Start a server, and return its number and address."""
        number = len(self._things)
        made = Served(self._folder / f"world{number}", settings, replies)
        self._things.append(made)
        self._stack.push_async_callback(made.stop)
        await self._stack.enter_async_context(made.cable.running())
        await made.start()
        return {"number": number, "url": f"ws://127.0.0.1:{made.cable.port}"}

    async def _server(self, request: web.Request) -> dict[str, Any]:
        body = await request.json()
        return await self.server(body["settings"], body["replies"])

    async def _peer(self, request: web.Request) -> dict[str, Any]:
        body = await request.json()
        made = Peer(body["connections"])
        names = [] if body["subprotocol"] is None else [body["subprotocol"]]
        listening = await self._stack.enter_async_context(
            serve(
                made.serve,
                "127.0.0.1",
                0,
                subprotocols=names or None,
                select_subprotocol=None if names else lambda *_: None,
                ping_interval=None,
                close_timeout=1,
                max_size=None,
            )
        )
        self._things.append(made)
        port = next(iter(listening.sockets)).getsockname()[1]
        return {"number": len(self._things) - 1, "url": f"ws://127.0.0.1:{port}"}

    async def _do(self, request: web.Request) -> dict[str, Any]:
        made = self._things[int(request.match_info["number"])]
        if isinstance(made, Peer):
            return {"got": made.got}
        return await made.do(request.match_info["what"], await request.json())

    async def _result(self, request: web.Request) -> dict[str, Any]:
        if not self.result.done():
            self.result.set_result(await request.json())
        return {}

    async def _file(self, request: web.Request) -> web.FileResponse:
        kind = "text/javascript" if request.path.endswith(".js") else "text/html"
        return web.FileResponse(FILES[request.path], headers={"Content-Type": kind})


@asynccontextmanager
async def running_lab(folder: Path) -> AsyncIterator[Lab]:
    """Run a lab on a free port.

    Args:
        folder: For the worlds of its servers.
    """
    async with AsyncExitStack() as stack:
        lab = Lab(folder, stack)
        app = web.Application()
        app.add_routes(lab.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            lab.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield lab
            await stack.aclose()
            # Sockets that were cut need a turn of the loop to be gone, or pytest sees them leak.
            await asyncio.sleep(0)
        finally:
            await runner.cleanup()


assert SUBPROTOCOL == "palaver.v1", "palaver.js says which it speaks"
