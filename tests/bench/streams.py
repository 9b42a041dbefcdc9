"""A light WebSocket client that only counts: many streams, with next to no work per frame.

It runs in a process of its own, so that what it costs is not counted to the server, and reads
frames by their headers, so that it is not what limits the run.

usage: streams.py KIND URL STREAMS ROUNDS TOKENS      KIND is relay or palaver
Prints one JSON object: tokens and frames received, the first-text times and gaps, in seconds.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from urllib.parse import urlsplit

MASK = b"\0\0\0\0"
"""A mask of zeros is a valid mask, and costs nothing."""


def text_frame(text: str) -> bytes:
    """Return a masked text frame."""
    data = text.encode()
    if len(data) < 126:
        return bytes([0x81, 0x80 | len(data)]) + MASK + data
    return bytes([0x81, 0x80 | 126]) + len(data).to_bytes(2, "big") + MASK + data


class Stream(asyncio.Protocol):
    """One connection that runs one stream after another."""

    def __init__(self, kind: str, number: int, rounds: int, host: str, path: str) -> None:
        self.kind, self.number, self.left = kind, number, rounds
        self.host, self.path = host, path
        self.buffer = bytearray()
        self.upgraded = self.ready = False
        self.frames = self.chars = 0
        self.firsts: list[float] = []
        self.gap = 0.0
        self.asked = self.last = 0.0
        self.over = asyncio.get_running_loop().create_future()
        self.go = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        protocol = "Sec-WebSocket-Protocol: palaver.v1\r\n" if self.kind == "palaver" else ""
        transport.write(  # type: ignore[attr-defined]
            f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: 13\r\n{protocol}\r\n".encode()
        )

    def send(self, message: object) -> None:
        self.transport.write(text_frame(json.dumps(message)))  # type: ignore[attr-defined]

    def ask(self) -> None:
        self.asked = self.last = time.perf_counter()
        self.first = False
        if self.kind == "relay":
            self.send({"id": f"{self.number}", "text": "Good evening."})
        else:
            turn = {"type": "turn.start", "turn": f"t{self.left}", "npc": f"n{self.number}"}
            self.send({**turn, "player": "p", "text": "Good evening."})

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        if not self.upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert b" 101 " in buffer[: buffer.find(b"\r\n")], bytes(buffer)
            del buffer[: end + 4]
            self.upgraded = True
            if self.kind == "relay":
                self.go.set_result(None)
            else:
                game = {"game": f"g{self.number}", "client": {"name": "bench"}}
                self.send({"type": "session.start", "protocol": 1, **game})
                self.send({"type": "npc.upsert", "npc": f"n{self.number}", "persona": "bench"})
        at, size = 0, len(buffer)
        while size - at >= 2:
            length, head = buffer[at + 1] & 0x7F, 2
            if length == 126:
                if size - at < 4:
                    break
                length, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            if size - at < head + length:
                break
            self.frame(buffer[at + head : at + head + length])
            at += head + length
        del buffer[:at]

    def frame(self, frame: bytearray) -> None:
        if frame.startswith((b'{"type":"token"', b'{"type":"turn.delta"')):
            now = time.perf_counter()
            if not self.first:
                self.first = True
                self.firsts.append(now - self.asked)
            elif now - self.last > self.gap:
                self.gap = now - self.last
            self.last = now
            self.frames += 1
            self.chars += len(frame)
        elif frame.startswith((b'{"type":"done"', b'{"type":"turn.done"')):
            if b'"status":"completed"' not in frame and self.kind == "palaver":
                self.over.set_exception(RuntimeError(frame.decode()))
                return
            self.left -= 1
            if self.left:
                self.ask()
            else:
                self.over.set_result(None)
        elif frame.startswith(b'{"type":"session.ready"'):
            self.go.set_result(None)
        elif frame.startswith(b'{"type":"error"'):
            self.over.set_exception(RuntimeError(frame.decode()))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(ConnectionError("the server closed the connection"))


async def main(kind: str, url: str, streams: int, rounds: int, tokens: int) -> None:
    """Run the streams and print what they saw."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    made = []
    for number in range(streams):
        _, stream = await loop.create_connection(
            lambda n=number: Stream(kind, n, rounds, parts.netloc, parts.path or "/"),  # type: ignore[misc]
            parts.hostname,
            parts.port,
        )
        made.append(stream)
    await asyncio.gather(*(stream.go for stream in made))
    print("ready", flush=True)
    # Whoever started this reads the server's CPU time now, then says go.
    await loop.run_in_executor(None, sys.stdin.readline)
    begun = time.perf_counter()
    for number, stream in enumerate(made):
        stream.ask()
        if number % 25 == 24:
            await asyncio.sleep(0.01)
    await asyncio.gather(*(stream.over for stream in made))
    took = time.perf_counter() - begun
    firsts = sorted(first for stream in made for first in stream.firsts)
    print(
        json.dumps(
            {
                "tokens": streams * rounds * tokens,
                "frames": sum(stream.frames for stream in made),
                "seconds": took,
                "firsts": firsts,
                "gaps": sorted(stream.gap for stream in made),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    kind, url, *numbers = sys.argv[1:]
    try:
        import uvloop

        uvloop.install()
    except ImportError:
        pass
    asyncio.run(main(kind, url, *map(int, numbers)))
