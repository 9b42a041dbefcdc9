"""The trail of a turn: who was asked, what became of it, how long it took and what it cost."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING

from palaver.errors import (
    BackendError,
    BackendRefused,
    BackendUnauthorized,
    BackendUnavailable,
)
from palaver.spend.tokens import prompt_tokens, text_tokens
from palaver.turn.model import Attempt as Entry
from palaver.turn.model import Outcome, ServedBy

if TYPE_CHECKING:
    from palaver.chain.attempt import Attempt
    from palaver.spend import Governor
    from palaver.turn.model import Turn

__all__ = ["Trail", "failure"]

log = logging.getLogger("palaver.chain")


class Trail:
    """Writes the trail of one turn.

    Args:
        turn: The turn.
        governor: Keeps account of what is spent, or None.
    """

    def __init__(self, turn: Turn, governor: Governor | None) -> None:
        self._turn, self._governor = turn, governor

    def note(self, backend: str, outcome: Outcome, reason: str | None = None) -> Entry:
        """Add what became of a backend that did not work for the turn.

        Args:
            backend: Its name.
            outcome: What became of it.
            reason: Why, in words.
        """
        turn = self._turn
        at_ms = (perf_counter() - turn.accepted_at) * 1000
        entry = Entry(backend, outcome, at_ms, reason)
        turn.result.trail.append(entry)
        if outcome in ("failed", "refused", "died", "late", "objected"):
            log.info("%s: backend %s %s: %s", turn.id, backend, outcome, reason)
        return entry

    def close(self, attempt: Attempt, outcome: Outcome, reason: str | None = None) -> None:
        """Add what became of an attempt, with its times and its cost; once for each."""
        turn = self._turn
        if not attempt.own and outcome == "served" and reason is None:
            reason = "shared with another turn that asked the same"
        entry = self.note(attempt.name, outcome, reason)
        if len(attempt.entry.servers) > 1:
            entry.server = attempt.server.name
        entry.begun_ms = (attempt.begun - turn.accepted_at) * 1000
        if attempt.first is not None:
            entry.first_ms = (attempt.first - turn.accepted_at) * 1000
        if attempt.own and attempt.flight.sent:
            self._account(attempt, entry)
        elif attempt.reservation is not None and self._governor is not None:
            self._governor.settle(attempt.reservation, 0, 0, 0)

    def served(self, attempt: Attempt) -> None:
        """Say who spoke."""
        finish = attempt.finish
        self._turn.result.served_by = ServedBy(
            attempt.name,
            attempt.entry.type.name,
            finish.model if finish else None,
            finish.adapter if finish else None,
        )

    def _account(self, attempt: Attempt, entry: Entry) -> None:
        finish, prompt, completion = attempt.finish, None, None
        if finish is not None:
            prompt, completion = finish.prompt_tokens, finish.completion_tokens
        if not attempt.entry.type.instant:
            ratio = attempt.entry.backend.settings.chars_per_token
            # Some compatible servers say 0 of whatever it was, and would be free of charge.
            if not completion:
                completion = text_tokens("".join(attempt.flight.pieces), ratio)
            if not prompt:
                read = completion or not _unread(attempt.error)
                prompt = prompt_tokens(attempt.request.messages, ratio) if read else 0
        entry.prompt_tokens, entry.completion_tokens = prompt or 0, completion or 0
        if attempt.reservation is not None and self._governor is not None:
            cached = (finish.cached_tokens if finish else None) or 0
            entry.cost_usd = self._governor.settle(
                attempt.reservation, entry.prompt_tokens, entry.completion_tokens, cached
            )
        usage = self._turn.result.usage
        usage.prompt_tokens += entry.prompt_tokens
        usage.completion_tokens += entry.completion_tokens
        usage.cost_usd += entry.cost_usd


def _unread(error: Exception | None) -> bool:
    """Return whether a server never read the prompt, so that nothing is paid for it.

    One that answers and then withholds its reply has read it.
    """
    if isinstance(error, BackendUnavailable | BackendUnauthorized):
        return True
    return isinstance(error, BackendRefused) and error.status_code is not None


def failure(attempt: Attempt, otherwise: str = "answered nothing") -> tuple[Outcome, str]:
    """Return outcome and reason of an attempt that has nothing to show.

    Args:
        attempt: The attempt.
        otherwise: The reason where there was no error.
    """
    error = attempt.error
    if error is None:
        return ("late" if attempt.cut or attempt.late else "failed"), attempt.cut or otherwise
    if not isinstance(error, BackendError):
        log.error("backend %s has a bug: %r", attempt.name, error, exc_info=error)
        return "failed", f"a bug in the backend: {type(error).__name__}"
    reason = error.reason
    if len(attempt.entry.servers) > 1:
        reason = (
            f"{reason} ({attempt.server.name})" if attempt.server.name not in reason else reason
        )
    return ("refused" if isinstance(error, BackendRefused) else "failed"), reason
