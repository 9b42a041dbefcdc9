"""Who may still be asked for one turn, in the tier's order, and which servers were already."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palaver.chain.servers import Entry, Server

__all__ = ["LineUp"]


class LineUp:
    """The backends of one turn that wait to be asked.

    Attributes:
        instants: Those that answer from memory, whether they were asked already or not.
    """

    def __init__(self) -> None:
        self.instants: list[Entry] = []
        self._queue: deque[Entry] = deque()
        self._tried: dict[str, set[Server]] = {}
        self._retries: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def first(self) -> Entry:
        """The one that is next.

        Raises:
            IndexError: Nobody is left.
        """
        return self._queue[0]

    @property
    def authored(self) -> bool:
        """Whether nobody is left but those that answer from memory."""
        return all(entry.type.instant for entry in self._queue)

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add backends in the order to try."""
        self._queue.extend(entries)
        self.instants.extend(entry for entry in entries if entry.type.instant)

    def pop(self) -> Entry:
        """Take out the one that is next."""
        return self._queue.popleft()

    def only_instants(self) -> None:
        """Leave nobody but those that answer from memory."""
        self._queue = deque(entry for entry in self._queue if entry.type.instant)

    def tried(self, name: str) -> Collection[Server]:
        """Return the servers of a backend that were asked."""
        return self._tried.get(name, ())

    def retries(self, name: str) -> int:
        """Return how often a backend was asked again because of what it said."""
        return self._retries.get(name, 0)

    def asked(self, name: str, server: Server) -> None:
        """Note that a server was asked; it is not asked again by itself."""
        self._tried.setdefault(name, set()).add(server)

    def call_back(self, entry: Entry, server: Server) -> None:
        """Let a backend be asked next, the same server too."""
        if entry not in self._queue:
            self._tried[entry.backend.name].discard(server)
            self._queue.appendleft(entry)

    def again(self, entry: Entry, server: Server, most: int) -> None:
        """Let a backend be asked next, unless it was asked again so often already."""
        name = entry.backend.name
        done = self.retries(name)
        if done < most:
            self._retries[name] = done + 1
            self._tried[name].discard(server)
            self._queue.appendleft(entry)

    def another_server(self, entry: Entry) -> None:
        """Let another server of a backend be asked next, if there is one that was not."""
        if self._untried(entry):
            self._queue.appendleft(entry)

    def another_server_later(self, entry: Entry) -> None:
        """Let another server of a backend be asked when no other backend is left."""
        if len(entry.servers) > 1 and entry not in self._queue and self._untried(entry):
            at = next((i for i, one in enumerate(self._queue) if one.type.instant), None)
            self._queue.insert(len(self._queue) if at is None else at, entry)

    def _untried(self, entry: Entry) -> bool:
        return len(self.tried(entry.backend.name)) < len(entry.servers)
