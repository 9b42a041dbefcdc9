"""What is counted when a turn is over.

A few additions on series that were looked up before: nothing here runs for a token, and a turn
costs some microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram

from palaver_metrics.names import Names
from palaver_metrics.reasons import categorize

if TYPE_CHECKING:
    from palaver.turn.model import Attempt, Turn, TurnResult

__all__ = ["SECONDS", "TurnMetrics"]

# fmt: off
SECONDS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5,
    0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0,
)
# fmt: on
"""Bounds of the histograms of times, in seconds: steps of at most a half from 20 ms to 30 s, so
that p95 and p99 can be read, with the shipped tiers' own limits among them."""
MAX_SERIES = 2_000
"""Combinations of labels that are kept at hand."""

Metric = TypeVar("Metric", Counter, Histogram)


class TurnMetrics:
    """Counters and histograms of turns.

    Args:
        registry: Where they are registered.
        names: The names that may stand in labels.
    """

    def __init__(self, registry: CollectorRegistry, names: Names) -> None:
        self._names = names
        self._at_hand: dict[tuple[Any, ...], Any] = {}

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"palaver_{name}", text, labels, registry=registry)

        def seconds(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(
                f"palaver_{name}_seconds", text, labels, registry=registry, buckets=SECONDS
            )

        self._turns = counter(
            "turns",
            "Turns that are over, by tier, status and the backend that spoke last.",
            "tier",
            "status",
            "backend",
        )
        self._first_text = seconds(
            "first_text", "From a turn's acceptance to its first shown text.", "tier"
        )
        self._whole = seconds("turn", "From a turn's acceptance to its end.", "tier")
        self._links = counter(
            "link_outcomes",
            "What became of each backend that a turn's chain came to, and why.",
            "backend",
            "outcome",
            "reason",
        )
        self._backend_first = seconds(
            "backend_first_text", "From asking a backend to its first text.", "backend"
        )
        self._tokens = counter(
            "tokens",
            "Tokens that backends read (prompt) and wrote (completion), lost attempts too.",
            "backend",
            "kind",
        )
        self._hedges = counter(
            "hedged_turns", "Turns in which two backends were at work at once.", "tier"
        )
        self._feedback = counter("feedback", "What players thought of replies.", "kind")
        for kind in ("skip", "like", "dislike", "report"):
            self._feedback.labels(kind)

    def finished(self, turn: Turn, result: TurnResult) -> None:
        """Count a turn that is over."""
        at_hand = self._series
        tier = self._names.tier(turn.tier_name)
        served = self._names.backend(result.served_by.backend)
        at_hand(self._turns, tier, result.status, served).inc()
        if result.ttft_ms is not None:
            at_hand(self._first_text, tier).observe(result.ttft_ms / 1000)
        at_hand(self._whole, tier).observe(result.total_ms / 1000)
        tokens = 0
        running_until = -1.0
        hedged = False
        for link in result.trail:
            tokens += self._link(link)
            if link.begun_ms is not None:
                hedged = hedged or link.begun_ms < running_until
                running_until = max(running_until, link.at_ms)
        if hedged:
            at_hand(self._hedges, tier).inc()
        usage = result.usage
        if not tokens and usage.prompt_tokens + usage.completion_tokens:
            # A trail without tokens: all of them are the last speaker's.
            self._spent(served, usage.prompt_tokens, usage.completion_tokens)

    def feedback(self, kind: str) -> None:
        """Count what a player thinks of a reply."""
        self._series(self._feedback, kind).inc()

    def _link(self, link: Attempt) -> int:
        backend = self._names.backend(link.backend)
        self._series(self._links, backend, link.outcome, categorize(link.reason)).inc()
        if link.begun_ms is not None and link.first_ms is not None:
            took_s = max(0.0, link.first_ms - link.begun_ms) / 1000
            self._series(self._backend_first, backend).observe(took_s)
        if link.prompt_tokens or link.completion_tokens:
            self._spent(backend, link.prompt_tokens, link.completion_tokens)
        return link.prompt_tokens + link.completion_tokens

    def _spent(self, backend: str, prompt: int, completion: int) -> None:
        self._series(self._tokens, backend, "prompt").inc(max(0, prompt))
        self._series(self._tokens, backend, "completion").inc(max(0, completion))

    def _series(self, metric: Metric, *labels: str) -> Metric:
        key = (metric, *labels)
        found: Metric | None = self._at_hand.get(key)
        if found is None:
            found = metric.labels(*labels)
            if len(self._at_hand) < MAX_SERIES:
                self._at_hand[key] = found
        return found
