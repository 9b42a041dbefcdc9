"""Messages on their way to a gateway, until it has surely handled them.

The protocol has no receipts, but a server handles the messages of a connection in order: the
`pong` to a ping behind them says that they are handled, and that no error about them is to come.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from palaver.errors import ProtocolError
from palaver_luanti.upstream import encode

__all__ = ["Batch"]

_numbers = itertools.count(1)


class Batch:
    """What one request of a mod has to tell.

    Args:
        messages: The messages.
        limit: Largest size of one, in bytes; a larger one would end the connection.

    Attributes:
        number: Its number, in the ids that its messages get.
        done: Set once all are handled.
        sent: How often it was sent again.
    """

    def __init__(self, messages: Sequence[Mapping[str, Any]], limit: int) -> None:
        self.number = next(_numbers)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent = 0
        self._messages = messages
        self._errors: dict[int, str] = {}
        self._frames: list[str] = []
        for place, message in enumerate(messages):
            frame = encode({**message, "id": f"b{self.number}:{place}"})
            if len(frame) <= limit:
                self._frames.append(frame)
                continue
            hint = f"a message may have at most {limit} bytes; split it, or send less"
            error: dict[str, Any] = {"type": "error", "code": "too_large", "message": hint}
            if message.get("type") == "turn.start":
                error["turn"] = message.get("turn")
            self.refuse(place, {**error, "retryable": False})
        name = f"b{self.number}:{len(messages)}"
        self._frames.append(encode({"type": "ping", "id": name, "nonce": name}))

    @staticmethod
    def place(re: object) -> tuple[int, int]:
        """Return number and place of an id of ours; zeros of another's."""
        number, _, place = re[1:].partition(":") if isinstance(re, str) else ("", "", "")
        return (
            int(number) if number.isdecimal() else 0,
            int(place) if place.isdecimal() else 0,
        )

    def frames(self) -> Iterator[str]:
        """Return what is to be sent."""
        return iter(self._frames)

    def refuse(self, place: int, error: Mapping[str, Any]) -> None:
        """Take an error about one of them; the mod gets it with an id of its own."""
        if place >= len(self._messages):
            self.confirm()  # The ping was refused, for its rate: that too is an answer to it.
            return
        id_ = self._messages[place].get("id")
        own = {"re": id_} if isinstance(id_, str) else {}
        self._errors[place] = encode(
            {**{key: value for key, value in error.items() if key != "re"}, **own}
        )

    def confirm(self) -> None:
        """All are handled."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: ProtocolError) -> None:
        """They will not be handled, or nobody will know."""
        if not self.done.done():
            self.done.set_exception(error)
            # Whoever waited may be gone; then nobody asks for it.
            self.done.exception()

    def answers(self) -> list[str]:
        """Return the errors, in the order of the messages."""
        return [self._errors[place] for place in sorted(self._errors)]
