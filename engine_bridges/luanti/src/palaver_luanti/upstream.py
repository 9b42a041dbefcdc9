"""Where the sessions of mods live: in this process, or in a gateway elsewhere.

The endpoints know only this, so that they are the same on Palaver's own port and beside the game.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from palaver.errors import ProtocolError
from palaver_luanti.letters import mend

if TYPE_CHECKING:
    from palaver.server.security import Principal
    from palaver_luanti.mailbox import Mailbox

__all__ = ["AWAY", "GONE", "Line", "Upstream", "away", "encode", "gone"]

GONE = "unknown_session"
"""Code of the error that makes a mod open a new session and send its state again."""
AWAY = "away"
"""Code of the error while there is no gateway to talk to."""


def gone(why: str) -> ProtocolError:
    """Return the error of a session that is over."""
    hint = f"{why}; open a session with `start` and send the state again"
    return ProtocolError(GONE, hint, retryable=True)


def away(why: str) -> ProtocolError:
    """Return the error of a gateway that cannot be reached now."""
    return ProtocolError(AWAY, why, retryable=True)


def encode(message: Mapping[str, Any]) -> str:
    """Return a message as a frame of the wire protocol: ASCII JSON."""
    return mend(json.dumps(message, separators=(",", ":")))


class Line(Protocol):
    """One session upstream.

    Attributes:
        messages_per_s: How many messages it takes in a second, on average.
        receipts: How many of these it sends itself with each `tell`.
    """

    messages_per_s: float
    receipts: int

    async def tell(self, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        """Have messages handled, in order, and return the errors about them, as frames.

        Raises:
            ProtocolError: There is nobody to tell (`AWAY`), or the session is over (`GONE`).
        """

    async def close(self) -> None:
        """End the session with its turns; safe to call twice."""


class Upstream(Protocol):
    """What runs turns.

    Attributes:
        turns: How many prompts may be at work at once.
    """

    turns: int

    async def open(self, start: Mapping[str, Any], principal: Principal, mailbox: Mailbox) -> Line:
        """Open a session whose messages go into a mailbox.

        Args:
            start: A `session.start`, without a token.
            principal: Who asks.
            mailbox: Where its messages go; its `fail` is called when the session is over.

        Raises:
            ProtocolError: It is refused, or there is nobody to ask.
        """

    async def ask(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Run one turn without a session, and return its `turn.done`.

        Args:
            fields: Those of `POST /v1/turns`; where they are None they are left out.

        Raises:
            ProtocolError: It cannot be run.
        """

    async def personas(self) -> Mapping[str, str]:
        """Return the world's personas: names by id.

        Raises:
            ProtocolError: There is nobody to ask.
        """

    async def about(self) -> dict[str, Any]:
        """Return what `/info` tells of server, world and backends.

        Raises:
            ProtocolError: There is nobody to ask.
        """

    async def close(self) -> None:
        """End everything that is open; safe to call twice."""
