"""A model server that misbehaves, down to the byte, for tests of what has to live with it.

    async with FaultServer("Good evening. Sit down.") as server:
        server.script = ["hangs before headers", "503", SPEAKS]
        ...  # talk to server.url, as to any OpenAI-compatible server
        await server.until(lambda: not server.running)
        assert server.asked[0].outcome == "closed"  # the peer gave up, and the server saw it

Everything a script may name is in `FAULTS`; an async function of an `Exchange` does whatever else a
test can think of. A port that nobody listens on is not an answer: see `FaultServer.refuse`. For a
server that is well, with adapters and all that vLLM has, see `palaver.testing.fake_vllm`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Self

from palaver.testing.fake_state import Watched
from palaver.testing.faults_kinds import FAULTS, SPEAKS, Fault, named
from palaver.testing.faults_wire import MODELS, Asked, Exchange, read_request

__all__ = ["FAULTS", "SPEAKS", "Asked", "Exchange", "Fault", "FaultServer"]

DEFAULT_TEXT = "Good evening. The night is young. Sit down and tell me of yourself."


class FaultServer(Watched):
    """An OpenAI-compatible streaming server, to be used with `async with`.

    Args:
        text: What it says where it speaks: a text, or a function of the number of the request,
            from 0, that returns one.
        script: What to do with each chat completion: each entry is taken out for one request, and
            the last one stays and is repeated. The default speaks.
        model: Name of the model that it lists.
        first_s: Time before the first token where it speaks, in seconds.
        token_s: Time before every further token, in seconds.
        drip_s: Time between two bytes where it drips, in seconds.

    Attributes:
        asked: Every chat completion that was asked for, in order.
        calls: Every request as `METHOD /path`.
        models: What to do when it is asked which models it has; by default it lists its own.
        opened: How many connections were opened in all.
        port: Where it listens, once it does.
    """

    def __init__(
        self,
        text: str | Callable[[int], str] = DEFAULT_TEXT,
        *,
        script: Sequence[str | Fault] = (SPEAKS,),
        model: str = "base",
        first_s: float = 0.0,
        token_s: float = 0.0,
        drip_s: float = 1.0,
    ) -> None:
        super().__init__()
        for what in script:
            named(what)  # an unknown name is an error here, not in the middle of an answer
        self.script: list[str | Fault] = list(script)
        self.models: str | Fault = MODELS
        self.asked: list[Asked] = []
        self.calls: list[str] = []
        self.opened = 0
        self.model, self.first_s, self.token_s, self.drip_s = model, first_s, token_s, drip_s
        self._text = text
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @property
    def running(self) -> int:
        """How many chat completions are being answered."""
        return sum(one.outcome == "running" for one in self.asked)

    @property
    def cancelled(self) -> int:
        """How many answers the peer did not want to hear to their end."""
        return sum(one.outcome == "closed" for one in self.asked)

    async def listen(self) -> None:
        """Listen: the first time on a free port, and after `refuse` on the same one again."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._connected, "127.0.0.1", self.port, reuse_address=True
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Break every connection and refuse new ones, as a port does on which nobody listens."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for writer in self._open.values():
            writer.transport.abort()
        # Whoever broke one ends it as well; nobody waits for anything but the loop here.
        if self._open:
            await asyncio.wait(set(self._open))
        await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.opened += 1
        await self.notify()
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the peer is gone, in the middle of a request or of an answer
        finally:
            writer.close()
            del self._open[task]
            await self.notify()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun = b""
        while True:
            asked = await read_request(reader, begun)
            if asked is None:
                return
            self.calls.append(f"{asked.method} {asked.path}")
            if asked.method == "POST":
                what = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                asked.text = (
                    self._text if isinstance(self._text, str) else self._text(len(self.asked))
                )
                self.asked.append(asked)
            else:
                what = self.models
            exchange = Exchange(asked, writer, self)
            await self.notify()
            rest = await self._play(named(what), exchange, reader)
            await self.notify()
            if rest is None:
                return
            begun = rest

    async def _play(
        self, fault: Fault, exchange: Exchange, reader: asyncio.StreamReader
    ) -> bytes | None:
        """Answer until the end or until the peer leaves.

        Returns:
            What was read of the next request, or None where the connection is over.
        """
        asked = exchange.asked
        play = asyncio.ensure_future(fault(exchange))
        # To read is the only way to learn at once that the peer has gone.
        watch = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({play, watch}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done() and not watch.exception() and watch.result():
                await asyncio.wait({play})  # the next request, early
        finally:
            for task in (play, watch):
                task.cancel()
            await asyncio.wait({play, watch})
        if exchange.was_cut:
            asked.end("cut")
        elif play.cancelled() or isinstance(play.exception(), OSError):
            asked.end("closed")
        else:
            play.result()
            asked.end("whole")
            if exchange.may_go_on:
                return b"" if watch.cancelled() else watch.result() or None
        return None
