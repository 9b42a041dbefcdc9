"""What lies in a mailbox, and who waits for it."""

from __future__ import annotations

import asyncio
import json
import re
from json.encoder import encode_basestring_ascii as quote
from time import monotonic

import msgspec

__all__ = ["Asks", "Head", "Item", "Poll", "mend", "read_head"]


class Head(msgspec.Struct):
    """What is to be known of a message."""

    type: str
    turn: str = ""
    seq: int = 0
    text: str = ""


_HEAD = msgspec.json.Decoder(Head)
_SURROGATE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\."
)


def read_head(frame: str) -> Head:
    """Return what is to be known of a message.

    Raises:
        ValueError: It is none; also as `msgspec.DecodeError`.
    """
    try:
        return _HEAD.decode(frame)
    except msgspec.DecodeError:
        if not _may_have_halves(frame):
            raise
    # A model's tokens may end within a character; its other half comes with the next.
    return msgspec.convert(json.loads(frame), Head)


def mend(frame: str) -> str:
    """Return a message without halves of characters, on which the engine's JSON reader gives up.

    It would take nothing of an answer that holds one.
    """
    if not _may_have_halves(frame):
        return frame
    return _SURROGATE.sub(lambda found: "\\ufffd" if found["half"] else found[0], frame)


def _may_have_halves(frame: str) -> bool:
    return "\\ud" in frame or "\\uD" in frame


class Item:
    """A message, or several pieces of text as one."""

    __slots__ = ("asked", "at", "frame", "given", "kind", "parts", "seq", "size", "turn")

    def __init__(self, head: Head, frame: str) -> None:
        self.turn, self.kind, self.seq = head.turn, head.type, head.seq
        self.frame = frame
        self.parts: list[str] = [head.text] if head.type == "turn.delta" else []
        self.size = len(frame)
        self.given = self.asked = False
        self.at = monotonic() if head.type == "turn.action" else None

    def join(self, seq: int, text: str, size: int) -> None:
        """Take one more piece of text."""
        self.seq = seq
        self.parts.append(text)
        self.size += size

    def encode(self) -> str:
        """Return it as JSON."""
        if len(self.parts) > 1:
            text = "".join(self.parts)
            self.parts = [text]
            self.frame = (
                f'{{"type":"turn.delta","turn":{quote(self.turn)},"seq":{self.seq},'
                f'"text":{quote(text)}}}'
            )
        self.frame = mend(self.frame)
        if self.at is None:
            return self.frame
        # An NPC waits for the game only so long: what it has given up is not to be done any more.
        return f'{self.frame[:-1]},"age_ms":{(monotonic() - self.at) * 1000:.0f}}}'


class Asks:
    """Asks that wait, by their turns."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def __contains__(self, turn: str) -> bool:
        return turn in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, turn: str, wait_s: float) -> None:
        """Wait until a turn's asks are woken, but no longer than this, in seconds."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(turn, set())
        waiting.add(woken)
        try:
            await asyncio.wait({woken}, timeout=wait_s)
        finally:
            waiting.discard(woken)
            if not waiting:
                del self._waiting[turn]

    def wake(self, turn: str | None = None) -> None:
        """Let the asks of a turn go on, or all of them."""
        for name in list(self._waiting) if turn is None else (turn,):
            for woken in self._waiting[name]:
                if not woken.done():
                    woken.set_result(None)


class Poll:
    """A poll that waits."""

    __slots__ = ("lingers", "replaced", "woken")

    def __init__(self) -> None:
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lingers = self.replaced = False

    def wake(self) -> None:
        """Let it go on."""
        if not self.woken.done():
            self.woken.set_result(None)
