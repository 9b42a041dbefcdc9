"""What is read from the gateway at the moment of a scrape: queues, breakers, games, quality.

It is read on the event loop, where nothing changes meanwhile, and written out in a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

from palaver._version import __version__ as core_version

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from palaver.chain.readings import Reading
    from palaver.gateway import Gateway
    from palaver_metrics.gpu import Gpu

__all__ = ["Frozen", "snapshot"]

log = logging.getLogger("palaver.metrics")

STATES = ("closed", "open", "half_open")
MAX_FINDS = 500
"""Series of what bridges found; more are left out."""


class Frozen:
    """A collector of metrics that were read already.

    Args:
        metrics: The metrics.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._metrics


def snapshot(
    gateway: Gateway,
    sessions: Mapping[str, int],
    gpus: Sequence[Gpu],
    readings: Mapping[str, Sequence[Reading]],
) -> list[Metric]:
    """Read everything; a part that fails is logged and left out.

    Args:
        gateway: The gateway.
        sessions: Open sessions by role.
        gpus: Graphics cards of this machine.
        readings: What backends told of their servers.
    """
    parts: tuple[Callable[[], Iterator[Metric]], ...] = (
        lambda: _games(gateway, sessions),
        lambda: _limits(gateway),
        lambda: _servers(gateway),
        lambda: _hedges(gateway),
        lambda: _cache(gateway),
        lambda: _spend(gateway),
        lambda: _quality(gateway),
        lambda: _finds(gateway),
        lambda: _gpus(gpus),
        lambda: _readings(readings),
    )
    found: list[Metric] = []
    for part in parts:
        try:
            found += list(part())
        except Exception:
            log.exception("a part of the metrics cannot be read; the others are shown")
    return found


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"palaver_{name}", text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"palaver_{name}", text, labels=labels)


def _games(gateway: Gateway, sessions: Mapping[str, int]) -> Iterator[Metric]:
    info = _gauge("build_info", "Always 1; the version is in the label.", "version")
    info.add_metric([core_version], 1)
    yield info
    one = _gauge("sessions", "Sessions that are open, cut off ones too, by role.", "role")
    for role, count in sessions.items():
        one.add_metric([role], count)
    yield one
    games = _gauge("games", "Games that are open.")
    games.add_metric([], len(gateway.games))
    yield games
    personas = _gauge("personas", "Personas of the world as it is now.")
    personas.add_metric([], len(gateway.world.personas))
    yield personas


def _limits(gateway: Gateway) -> Iterator[Metric]:
    limit = _gauge(
        "tier_first_text_limit_seconds", "By when the tier wants its first text shown.", "tier"
    )
    for name, tier in gateway.settings.tiers.items():
        limit.add_metric([name], tier.first_text_ms / 1000)
    yield limit


def _servers(gateway: Gateway) -> Iterator[Metric]:
    labels = ("backend", "server")
    active = _gauge("server_active_requests", "Requests that a server works on for us.", *labels)
    waiting = _gauge("server_waiting_requests", "Requests that wait for a server.", *labels)
    state = _gauge(
        "server_breaker_state",
        "1 for the state that the server's breaker is in, 0 for the others.",
        *labels,
        "state",
    )
    opened = _counter("server_breaker_opened", "How often a server was left alone.", *labels)
    for name, entry in gateway.backends.items():
        for server in entry.servers:
            which = [name, server.name]
            active.add_metric(which, server.active)
            waiting.add_metric(which, server.waiting)
            opened.add_metric(which, server.breaker.opened)
            now = server.breaker.state
            for one in STATES:
                state.add_metric([*which, one], float(one == now))
    yield from (active, waiting, state, opened)


def _hedges(gateway: Gateway) -> Iterator[Metric]:
    budget = gateway.hedges
    hedges = _counter(
        "hedges",
        "Second backends started beside a late one (spent), and those there was no budget for "
        "(denied).",
        "result",
    )
    hedges.add_metric(["spent"], budget.spent)
    hedges.add_metric(["denied"], budget.denied)
    yield hedges


def _cache(gateway: Gateway) -> Iterator[Metric]:
    lookups = _counter(
        "cache_lookups",
        "Turns that looked into the dialogue cache: hit, miss, or bypassed where the rule does "
        "not tell the situation.",
        "tier",
        "result",
    )
    kept = _counter(
        "cache_replies", "Replies that were stored in the cache, or renewed there.", "tier", "how"
    )
    for tier, one in gateway.cache.counts.items():
        for result, count in (("hit", one.hits), ("miss", one.misses), ("bypass", one.bypassed)):
            lookups.add_metric([tier, result], count)
        kept.add_metric([tier, "stored"], one.stored)
        kept.add_metric([tier, "renewed"], one.renewed)
    yield lookups
    yield kept


def _spend(gateway: Gateway) -> Iterator[Metric]:
    cost = _counter(
        "cost_usd",
        "What calls of backends cost by the price table, in US dollars: lost attempts, renewals "
        "of the cache and the judge too.",
        "backend",
        "tier",
    )
    for which, usd in gateway.governor.costs.items():
        cost.add_metric(which, usd)
    yield cost
    today = gateway.governor.spent()
    spent = _gauge("spend_today_usd", "What was spent since midnight UTC, in US dollars.", "tier")
    tiers = today.get("tier", {})
    spent.add_metric(["all"], sum(today.get("all", {}).values()))
    for name in gateway.settings.tiers:
        spent.add_metric([name], tiers.get(name, 0.0))
    yield spent
    ceiling = _gauge(
        "spend_ceiling_usd", "What may be spent in a day (UTC), in US dollars, if limited.", "tier"
    )
    if gateway.settings.spend.usd_per_day is not None:
        ceiling.add_metric(["all"], gateway.settings.spend.usd_per_day)
    for name, tier in gateway.settings.tiers.items():
        if tier.usd_per_day is not None:
            ceiling.add_metric([name], tier.usd_per_day)
    yield ceiling


def _quality(gateway: Gateway) -> Iterator[Metric]:
    quality = gateway.quality
    labels = ("signal", "scope", "name")
    recent = _gauge(
        "quality_recent",
        "A quality signal of late: a share of turns from 0 to 1, or for judge the mean score "
        "from 1 to 5.",
        *labels,
    )
    baseline = _gauge(
        "quality_baseline", "The same signal's own long-time average, once it is known.", *labels
    )
    samples = _counter("quality_samples", "What a quality signal was made of.", *labels)
    alert = _gauge(
        "quality_alert", "1 while a signal is worse than its own baseline by a tenth.", *labels
    )
    for state in quality.states():
        which = [state.signal, state.scope, state.name]
        recent.add_metric(which, state.recent)
        if state.baseline is not None:
            baseline.add_metric(which, state.baseline)
        samples.add_metric(which, state.samples)
        alert.add_metric(which, float(state.alert))
    raised = _counter("quality_alerts", "Quality alerts raised since the start.")
    raised.add_metric([], quality.raised)
    yield from (recent, baseline, samples, alert, raised)
    judge = quality.judge
    if judge is not None:
        judged = _counter(
            "quality_judged",
            "Replies of the judge's sample: scored, failed, or left out for want of room.",
            "result",
        )
        for result in ("scored", "failed", "left_out"):
            judged.add_metric([result], getattr(judge, result))
        yield judged


def _finds(gateway: Gateway) -> Iterator[Metric]:
    """Yield what bridges count by who spoke, category and action, as moderation does.

    A bridge that wants to be shown has `counts`, a mapping of three such words to a number.
    """
    finds = _counter(
        "finds",
        "What a bridge such as moderation found in what was said, by who said it (player, npc), "
        "and what was done about it.",
        "bridge",
        "who",
        "category",
        "action",
    )
    for bridge in gateway.plugins.bridges:
        counts = getattr(bridge, "counts", None)
        if not isinstance(counts, Mapping):
            continue
        for which, count in islice(counts.items(), MAX_FINDS):
            # Other bridges may count other things.
            if isinstance(which, tuple) and len(which) == 3:
                finds.add_metric([bridge.name, *map(str, which)], count)
    yield finds


def _gpus(gpus: Sequence[Gpu]) -> Iterator[Metric]:
    labels = ("gpu", "model")
    used = _gauge("gpu_memory_used_bytes", "Memory in use on a graphics card.", *labels)
    total = _gauge("gpu_memory_total_bytes", "Memory that a graphics card has.", *labels)
    busy = _gauge(
        "gpu_utilization_ratio", "Share of time a graphics card was at work, 0 to 1.", *labels
    )
    for gpu in gpus:
        which = [str(gpu.index), gpu.name]
        used.add_metric(which, gpu.used_bytes)
        total.add_metric(which, gpu.total_bytes)
        if gpu.utilization is not None:
            busy.add_metric(which, gpu.utilization)
    yield from (used, total, busy)


def _readings(readings: Mapping[str, Sequence[Reading]]) -> Iterator[Metric]:
    """Yield what backends told; of the same name all have the same labels and the same kind."""
    by_name: dict[str, list[tuple[str, Reading]]] = {}
    for backend, told in readings.items():
        for reading in told:
            by_name.setdefault(reading.name, []).append((backend, reading))
    for name, found in by_name.items():
        first = found[0][1]
        more = list(dict.fromkeys(key for _, reading in found for key in reading.labels))
        labels = ("backend", "server", *more)
        metric: GaugeMetricFamily | CounterMetricFamily | SummaryMetricFamily
        if first.kind == "summary":
            metric = SummaryMetricFamily(f"palaver_{name}", first.help, labels=labels)
        elif first.kind == "counter":
            metric = _counter(name.removesuffix("_total"), first.help, *labels)
        else:
            metric = _gauge(name, first.help, *labels)
        # A series that is told twice would spoil the whole page.
        seen: set[tuple[str, ...]] = set()
        for backend, reading in found:
            which = (backend, reading.server, *(reading.labels.get(key, "") for key in more))
            if reading.kind != first.kind or which in seen:
                continue
            seen.add(which)
            if isinstance(metric, SummaryMetricFamily):
                metric.add_metric(which, int(reading.count), reading.value)
            else:
                metric.add_metric(which, reading.value)
        yield metric
