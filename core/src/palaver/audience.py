"""Who is told when something is over: plugins, and the core's own quality signals.

All of it runs in the background; nobody who plays waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from palaver.background import Background
from palaver.hookcalls import CORE, HookCall, resolve

if TYPE_CHECKING:
    import pluggy

    from palaver.quality import Quality
    from palaver.session_info import SessionInfo
    from palaver.turn.model import Turn

__all__ = ["Audience"]


class Audience:
    """Tells whoever wants to know.

    Args:
        manager: The plugins.
        quality: Watches how good replies are.
    """

    def __init__(self, manager: pluggy.PluginManager, quality: Quality) -> None:
        self._background = Background()
        self._opened = resolve(manager, "palaver_session_opened")
        self._closed = resolve(manager, "palaver_session_closed")
        self._finished = (
            HookCall("palaver_turn_finished", CORE, quality.turn_finished, ("turn", "result")),
            *resolve(manager, "palaver_turn_finished"),
        )
        self._feedback = (
            HookCall("palaver_turn_feedback", CORE, quality.feedback, ("turn", "session", "kind")),
            *resolve(manager, "palaver_turn_feedback"),
        )

    async def close(self) -> None:
        """Let what still runs come to its end, but not for long; safe to call twice."""
        await self._background.close()

    def session_opened(self, session: SessionInfo) -> None:
        """Tell that an engine has joined."""
        for call in self._opened:
            self._background.tell(call, session=session)

    def session_closed(self, session: SessionInfo) -> None:
        """Tell that an engine has left."""
        for call in self._closed:
            self._background.tell(call, session=session)

    def turn_finished(self, turn: Turn) -> None:
        """Tell what a turn came to."""
        for call in self._finished:
            self._background.tell(call, turn=turn, result=turn.result)

    def feedback(self, turn: str, session: SessionInfo, kind: str, note: str | None) -> None:
        """Tell what a player thinks of a reply."""
        for call in self._feedback:
            self._background.tell(call, turn=turn, session=session, kind=kind, note=note)
