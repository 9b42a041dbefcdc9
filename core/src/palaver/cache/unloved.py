"""Which replies players did not like: one of them is spared it, and several take it away."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["VOTES", "Unloved"]

VOTES = 3
"""So many different players take a reply away from everybody. One alone must not: it would cost a
new reply each time, for all."""
MAX_REPLIES = 10_000
MAX_PLAYERS = 10_000


class Unloved:
    """Votes against replies, and what each voter does not hear again."""

    def __init__(self) -> None:
        self._votes: OrderedDict[str, set[str]] = OrderedDict()
        self._spared: OrderedDict[str, frozenset[str]] = OrderedDict()

    def vote(self, reply: str, voter: str) -> bool:
        """Note that somebody does not like a reply; returns whether it is to be taken away.

        Args:
            reply: Id of the reply.
            voter: Who.
        """
        self._spared[voter] = self.spared(voter) | {reply}
        self._spared.move_to_end(voter)
        if len(self._spared) > MAX_PLAYERS:
            self._spared.popitem(last=False)
        voters = self._votes.setdefault(reply, set())
        voters.add(voter)
        if len(voters) >= VOTES:
            del self._votes[reply]
            return True
        if len(self._votes) > MAX_REPLIES:
            self._votes.popitem(last=False)
        return False

    def spared(self, voter: str) -> frozenset[str]:
        """Return ids of the replies that somebody does not want to hear again."""
        return self._spared.get(voter, frozenset())
