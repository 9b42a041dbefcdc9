"""What the client has to send, and what of it the server has surely handled.

The protocol has no receipts. But a server handles the messages of a connection in order, so a
`pong` says that everything before its `ping` was handled, and that no error about it is still to
come. The outbox puts such a ping behind every batch, and keeps what is not yet confirmed, to send
it again after a cut: all messages may be repeated without harm.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from palaver.errors import ServerError

__all__ = ["Outbox", "Request", "encode"]

BATCH = 32
"""Messages after which a ping is put in between, however many are waiting."""


def encode(message: Mapping[str, Any]) -> str:
    """Return a message as it is sent: one JSON object, ASCII.

    Raises:
        ValueError: It holds something that JSON has no word for, such as NaN or an object.
    """
    try:
        return json.dumps(message, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise ValueError(f"only plain data can be sent: {error}") from error


@dataclass(eq=False, slots=True)
class Request:
    """One message on its way.

    Attributes:
        number: Its place in the order of sending; also its `id` on the wire.
        message: The message, or None for one that only waits for those before it.
        frame: The message as it is sent.
        done: Set when it is confirmed, or failed.
        on_done: Called with the message when it is confirmed.
        turn: The turn it is about, or None.
        starts_turn: Whether it is confirmed by `turn.accepted` instead of a pong.
    """

    number: int
    message: dict[str, Any] | None
    frame: str
    done: asyncio.Future[None]
    on_done: Callable[[dict[str, Any]], None] | None = None
    turn: str | None = None
    starts_turn: bool = False

    @property
    def id(self) -> str:
        """The `id` on the wire."""
        return f"m{self.number}"

    def confirm(self) -> None:
        """The server has handled it."""
        if self.on_done is not None and self.message is not None:
            self.on_done(self.message)
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """The server has refused it, or it cannot be sent any more."""
        if not self.done.done():
            self.done.set_exception(error)
            # Whoever waited may have run out of time; then nobody asks for the exception.
            self.done.exception()


@dataclass(slots=True)
class Outbox:
    """The queue of one client; bounded by the client, which lets only so many callers in.

    Attributes:
        changed: Set while there is something to send.
    """

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _restore: deque[Request] = field(default_factory=deque)
    _waiting: deque[Request] = field(default_factory=deque)
    _sent: dict[str, Request] = field(default_factory=dict)
    _turns: dict[str, Request] = field(default_factory=dict)
    _barriers: deque[tuple[int, int]] = field(default_factory=deque)
    _numbers: int = 0
    _nonces: int = 0
    _highest: int = 0
    _since_ping: int = 0
    _restoring: int = 0

    def request(
        self,
        message: Mapping[str, Any] | None,
        *,
        on_done: Callable[[dict[str, Any]], None] | None = None,
        turn: str | None = None,
        starts_turn: bool = False,
    ) -> Request:
        """Make a request; `put` sends it.

        Args:
            message: The message without `id`, or None to wait for those before it.
            on_done: Called with the message when the server has handled it.
            turn: The turn it is about.
            starts_turn: Whether it is confirmed by `turn.accepted`.
        """
        self._numbers += 1
        whole = None if message is None else {**message, "id": f"m{self._numbers}"}
        return Request(
            self._numbers,
            whole,
            "" if whole is None else encode(whole),
            asyncio.get_running_loop().create_future(),
            on_done,
            turn,
            starts_turn,
        )

    def put(self, request: Request) -> None:
        """Send a request when its turn comes."""
        self._waiting.append(request)
        self.changed.set()

    def withdraw(self, request: Request) -> bool:
        """Take a request back whose caller gave up; return whether it had not been sent yet."""
        try:
            self._waiting.remove(request)
        except ValueError:
            # It is on its way: what came of it is still noted, but nobody waits for it.
            if request.starts_turn and request.turn is not None:
                self._turns.pop(request.turn, None)
                self._sent.pop(request.id, None)
            return False
        return True

    def next(self) -> str | None:
        """Return the next frame to send, or None if there is nothing."""
        while self._since_ping < BATCH:
            if self._restore:
                request = self._restore.popleft()
            elif self._waiting and not self._restoring:
                request = self._waiting.popleft()
            else:
                break
            self._sent[request.id] = request
            self._highest = max(self._highest, request.number)
            if request.starts_turn and request.turn is not None:
                self._turns[request.turn] = request
            self._since_ping += 1
            if request.frame:
                return request.frame
        if self._since_ping:
            return self.ping()
        self.changed.clear()
        return None

    def ping(self) -> str:
        """Return a ping that confirms everything sent before it."""
        self._nonces += 1
        self._since_ping = 0
        self._barriers.append((self._nonces, self._highest))
        return encode({"type": "ping", "nonce": f"b{self._nonces}"})

    def pong(self, nonce: str | None) -> None:
        """Confirm everything that was sent before this ping."""
        if nonce is None or not nonce.startswith("b") or not nonce[1:].isdigit():
            return
        highest = None
        while self._barriers and self._barriers[0][0] <= int(nonce[1:]):
            highest = self._barriers.popleft()[1]
        if highest is None:
            return
        for key, request in list(self._sent.items()):
            if request.number <= highest and not request.starts_turn:
                del self._sent[key]
                self._settle(request, None)

    def accepted(self, turn: str) -> None:
        """Confirm the request that started a turn."""
        request = self._turns.pop(turn, None)
        if request is not None:
            self._sent.pop(request.id, None)
            request.confirm()

    def refused(self, error: ServerError, re: str | None) -> bool:
        """Fail the request an error is about; return whether there is one."""
        request = self._sent.pop(re, None) if re is not None else None
        if request is None and error.turn is not None:
            request = self._turns.get(error.turn)
        if request is None:
            return False
        self._sent.pop(request.id, None)
        if request.starts_turn and request.turn is not None:
            self._turns.pop(request.turn, None)
        self._settle(request, error)
        return True

    def _settle(self, request: Request, error: ServerError | None) -> None:
        if error is None:
            request.confirm()
        else:
            request.fail(error)
        if request.number <= 0:
            self._restoring -= 1
            if not self._restoring:
                self.changed.set()

    def reconnected(self) -> None:
        """Send again what may have been lost: a new connection goes on with the session."""
        again = sorted(self._sent.values(), key=lambda request: request.number)
        # Requests that restore a reset session have numbers up to 0 and go first.
        self._restore.extendleft(reversed([one for one in again if one.number <= 0]))
        self._waiting.extendleft(reversed([one for one in again if one.number > 0]))
        self._sent.clear()
        self._turns.clear()
        self._barriers.clear()
        self._since_ping = 0
        self._highest = -sys.maxsize
        self.changed.set()

    def reset(self, state: Iterable[Mapping[str, Any]], lost: Callable[[str], bool]) -> None:
        """Begin a new session: first its state, then what was not yet confirmed.

        Args:
            state: Messages that tell the server what it was told before.
            lost: Says whether a turn ended with the old session; what is about it is dropped.
        """
        self._restore.clear()
        for key in [key for key, request in self._sent.items() if request.number <= 0]:
            del self._sent[key]
        self.reconnected()
        kept = []
        for request in self._waiting:
            if request.turn is not None and not request.starts_turn and lost(request.turn):
                # Its turn has ended with an error of its own; there is nothing left to say of it.
                request.confirm()
            else:
                kept.append(request)
        self._waiting = deque(kept)
        loop = asyncio.get_running_loop()
        messages = list(state)
        self._restoring = len(messages)
        for place, message in enumerate(messages):
            number = place - len(messages) + 1
            whole = {**message, "id": f"m{number}"}
            self._restore.append(Request(number, whole, encode(whole), loop.create_future()))

    def fail(self, error: Exception) -> None:
        """Fail everything: the client is over."""
        for request in (*self._sent.values(), *self._restore, *self._waiting):
            request.fail(error)
        self._sent.clear()
        self._turns.clear()
        self._restore.clear()
        self._waiting.clear()
