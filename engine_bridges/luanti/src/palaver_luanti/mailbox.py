"""What waits for one mod: messages of turns, until the mod says that it has seen them.

A session upstream pushes into it as it would into a connection. The mod comes for it in two ways:
an *ask* waits for the first event of one turn, the *poll* for whatever else there is. Both may
bring the same message, and an answer may get lost on its way, so a message stays until a later
request has a `cursor` at or beyond its `seq`.

Pieces of text of one turn that nobody was given yet become one: a mod that comes every 100 ms
wants one piece, not ten. What was given out is never joined with what comes later, so that its
`seq` always says whether the mod has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from palaver.errors import ProtocolError
from palaver_luanti.letters import Asks, Item, Poll, read_head
from palaver_luanti.upstream import gone

__all__ = ["MOST_BYTES", "MOST_MESSAGES", "Mailbox"]

MOST_MESSAGES = 200
"""Messages in one answer: Lua reads them in one step of the game server."""
MOST_BYTES = 64_000
"""Size of them; a single message is given however large."""
KEPT_BYTES = 2_000_000
KEPT_MESSAGES = 4_000
"""What may wait. A mod that lets more come together has stopped to read."""

_FIRST = frozenset({"turn.delta", "turn.action", "turn.done"})
"""What an ask waits for."""


class Mailbox:
    """The mailbox of one session.

    Attributes:
        seq: The last `seq` that came in.
        full: Called once when the mod has stopped to read, so that the session ends.
        over: Why nothing more will come, or None.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.full: Callable[[], None] | None = None
        self.over: ProtocolError | None = None
        self._away: ProtocolError | None = None
        # By `seq`, in its order.
        self._items: dict[int, Item] = {}
        self._last: dict[str, Item] = {}
        self._bytes = 0
        self._open: set[str] = set()
        self._spoken: set[str] = set()
        """Open turns of which there were words."""
        self._asks = Asks()
        self._poll: Poll | None = None
        self._urgent = False

    @property
    def open(self) -> int:
        """Turns that were accepted and are not done."""
        return len(self._open)

    def knows(self, turn: str) -> bool:
        """Say whether a turn is open, or something of it waits."""
        return turn in self._open or any(one.turn == turn for one in self._items.values())

    # What a session does with its way out

    def push(self, frame: str) -> None:
        """Take a message; it never waits."""
        if self.over is not None:
            return
        head = read_head(frame)
        if head.seq <= self.seq:
            return  # It came before a cut, too; or it is no message of a turn.
        self.seq = head.seq
        kind, turn = head.type, head.turn
        last = self._last.get(turn)
        if kind == "turn.delta" and last is not None and last.parts and not last.given:
            del self._items[last.seq]
            last.join(head.seq, head.text, len(frame))
            self._items[head.seq] = last
        else:
            self._items[head.seq] = self._last[turn] = Item(head, frame)
            if kind == "turn.accepted":
                self._open.add(turn)
            elif kind == "turn.done":
                self._open.discard(turn)
        first = kind == "turn.delta" and turn not in self._spoken
        if first:
            self._spoken.add(turn)
        elif kind == "turn.done":
            self._spoken.discard(turn)
        self._bytes += len(frame)
        if self._bytes > KEPT_BYTES or len(self._items) > KEPT_MESSAGES:
            self._make_room()
        self._wake(kind, turn, first=first)

    def replay(self, frames: Iterable[str]) -> None:
        """Take what came while there was no connection."""
        for frame in frames:
            self.push(frame)

    def replace(self) -> None:
        """Be told that another way out has taken this one's place."""
        self.fail(gone("the session goes on elsewhere"))

    def fail(self, error: ProtocolError) -> None:
        """Take nothing more: the session is over, and everybody who waits is told."""
        if self.over is None:
            self.over = error
            self._items.clear()
            self._last.clear()
            self._open.clear()
            self._spoken.clear()
            self._wake_all()

    def pause(self, error: ProtocolError | None) -> None:
        """Let nobody wait while the gateway is away; None when it is back."""
        self._away = error
        if error is not None:
            self._wake_all()

    # What a mod does

    def seen(self, cursor: int) -> None:
        """Forget what the mod has seen.

        Raises:
            ProtocolError: It has seen what was never sent.
        """
        if cursor > self.seq:
            raise ProtocolError(
                "bad_message",
                f"`cursor` is {cursor}, but the last message had {self.seq}; send the `cursor` of "
                "this session's last answer",
            )
        while self._items:
            seq = next(iter(self._items))
            if seq > cursor:
                return
            self._drop(seq)

    async def ask(self, turn: str, wait_s: float) -> None:
        """Wait for the first event of a turn.

        Raises:
            ProtocolError: The session is over, or the gateway is away.
        """
        self._check()
        waits = turn in self._open and not any(
            one.turn == turn and one.kind in _FIRST for one in self._items.values()
        )
        if not waits or wait_s <= 0:
            return
        try:
            await self._asks.wait(turn, wait_s)
        except asyncio.CancelledError:
            # The mod has left: what came in for it is the poll's now.
            if self._poll is not None and self._news():
                self._poll.wake()
            raise
        self._check()

    async def poll(self, wait_s: float, linger_s: float) -> bool:
        """Wait for whatever there is besides what asks wait for.

        Args:
            wait_s: How long for the first message.
            linger_s: How long for more after it; not where the mod has to answer, a turn begins to
                speak, or nothing more is to come.

        Returns:
            Whether it is still the poll; a later one takes its place, and gets the messages.

        Raises:
            ProtocolError: The session is over, or the gateway is away.
        """
        self._check()
        if wait_s <= 0:
            return True
        if self._poll is not None:
            self._poll.replaced = True
            self._poll.wake()
        poll = self._poll = Poll()
        try:
            if not self._news():
                await asyncio.wait({poll.woken}, timeout=wait_s)
            if self._news() and not self._urgent and linger_s > 0 and not poll.replaced:
                poll.woken = asyncio.get_running_loop().create_future()
                poll.lingers = True
                await asyncio.wait({poll.woken}, timeout=linger_s)
        finally:
            if self._poll is poll:
                self._poll = None
        self._check()
        return not poll.replaced

    def take(self, cursor: int, most: int, turn: str | None = None) -> tuple[list[str], int, bool]:
        """Give out messages.

        Args:
            cursor: What the mod has seen.
            most: How many it takes.
            turn: The only turn whose messages are wanted, or None.

        Returns:
            The messages, the new cursor, and whether there are more.
        """
        frames: list[str] = []
        size = 0
        more = False
        for item in self._items.values():
            if item.seq <= cursor or (turn is not None and item.turn != turn):
                continue
            frame = item.encode()
            size += len(frame)
            if frames and (len(frames) >= most or size > MOST_BYTES):
                more = True
                break
            frames.append(frame)
            item.given = True
            if turn is None:
                cursor = item.seq
            else:
                item.asked = True
        if turn is None:
            self._urgent = self._urgent and more
        return frames, cursor, more

    def _check(self) -> None:
        if self.over is not None:
            raise self.over.with_traceback(None)
        if self._away is not None:
            raise self._away.with_traceback(None)

    def _news(self) -> bool:
        """Say whether a poll has something to bring that nobody else was given."""
        if not self._open and self._items:
            return True
        return any(
            not item.asked and item.kind != "turn.accepted" and item.turn not in self._asks
            for item in self._items.values()
        )

    def _wake(self, kind: str, turn: str, *, first: bool) -> None:
        last = kind == "turn.done" and not self._open
        if turn in self._asks:
            if kind in _FIRST:
                self._asks.wake(turn)
            if not last:
                return
        if last or first or kind == "turn.action":
            # Nobody waits longer than they must for an answer, for first words, or for nothing.
            self._urgent = True
        poll = self._poll
        if poll is None or kind == "turn.accepted" or (poll.lingers and not self._urgent):
            return
        poll.wake()

    def _wake_all(self) -> None:
        if self._poll is not None:
            self._poll.wake()
        self._asks.wake()

    def _drop(self, seq: int) -> None:
        item = self._items.pop(seq)
        self._bytes -= item.size
        if self._last.get(item.turn) is item:
            del self._last[item.turn]

    def _make_room(self) -> None:
        """Forget what an answer has brought already; if that is not enough, nobody reads."""
        for seq in [seq for seq, item in self._items.items() if item.given]:
            self._drop(seq)
            if self._bytes <= KEPT_BYTES // 2 and len(self._items) <= KEPT_MESSAGES // 2:
                return
        if self._bytes > KEPT_BYTES or len(self._items) > KEPT_MESSAGES:
            self.fail(gone("too much was waiting that nobody came for"))
            if self.full is not None:
                self.full()
