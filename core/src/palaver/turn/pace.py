"""How often text goes out: what follows the first words of a reply is joined for a moment.

Nobody reads a token at a time, and each message costs its sender and its receiver more than the
token did. One timer serves every reply of a gateway, so nothing is set per token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

__all__ = ["Pace"]

log = logging.getLogger("palaver.turn")


class Pace:
    """Lets the text of many replies out together, a moment later.

    Args:
        window_s: Longest time that text waits, in seconds; 0 lets each piece out by itself.
    """

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._waiting: list[Callable[[], None]] = []

    def soon(self, let_out: Callable[[], None]) -> None:
        """Call a reply back when its text has to go out; once for each time it asks."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(self.window_s, self._all)
        self._waiting.append(let_out)

    def _all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for let_out in waiting:
            try:
                let_out()
            except Exception:
                # One whose sink has a bug must not keep back the text of all others.
                log.exception("the text of a reply could not be sent")
