"""`GET /metrics`: counts turns as they end, and shows everything when Prometheus asks."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from palaver.chain.readings import read_all
from palaver.errors import ConfigError, ProtocolError
from palaver.hookspecs import hookimpl
from palaver.server.security import GATE
from palaver_metrics.gpu import GpuReader
from palaver_metrics.lag import LoopLag
from palaver_metrics.live import Frozen, snapshot
from palaver_metrics.names import Names
from palaver_metrics.turns import TurnMetrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from palaver.chain.readings import Reading
    from palaver.gateway import Gateway
    from palaver.session_info import SessionInfo
    from palaver.turn.model import Turn, TurnResult

__all__ = ["VARIABLE", "MetricsBridge"]

log = logging.getLogger("palaver.metrics")

VARIABLE = "PALAVER_METRICS_TOKEN"
LEAST_CHARS = 16
"""Shortest token that is accepted: whoever guesses it sees what the game costs."""
READ_S = 0.8
"""Time for backends to tell of their servers in one scrape, in seconds."""
FRESH_S = 1.0
"""Several who scrape at once share what backends told so long ago, in seconds."""


class MetricsBridge:
    """The bridge to Prometheus.

    Args:
        environ: The environment, which may hold the scrapers' own token.
        gpu: Reads the graphics cards of this machine.

    Raises:
        ConfigError: That token is too short.

    Attributes:
        name: `metrics`.
    """

    name = "metrics"

    def __init__(
        self, *, environ: Mapping[str, str] | None = None, gpu: GpuReader | None = None
    ) -> None:
        token = (os.environ if environ is None else environ).get(VARIABLE, "")
        if token and len(token) < LEAST_CHARS:
            raise ConfigError(
                f"is shorter than {LEAST_CHARS} characters; make one with `openssl rand -hex 32`",
                key=VARIABLE,
            )
        self._token = token.encode("utf-8", "surrogatepass")
        self._gpu = gpu or GpuReader()
        self._registry = CollectorRegistry()
        self._lag = LoopLag(self._registry)
        self._turns: TurnMetrics | None = None
        self._sessions = {"engine": 0, "player": 0}
        self._asking: asyncio.Task[dict[str, Sequence[Reading]]] | None = None
        self._asked_at = 0.0

    def routes(self, gateway: Gateway) -> Sequence[web.AbstractRouteDef]:
        """Return the route `/metrics`."""

        async def metrics(request: web.Request) -> web.Response:
            try:
                self._check(request)
            except ProtocolError as err:
                return web.json_response(
                    {"error": {"code": err.code, "message": err.message, "retryable": False}},
                    status=401,
                    headers={"WWW-Authenticate": "Bearer"},
                )
            return await self._page(gateway, request.headers.get("Accept", ""))

        return [web.get("/metrics", metrics)]

    async def start(self, gateway: Gateway) -> None:
        """Begin to count."""
        self._turns = TurnMetrics(self._registry, Names(gateway.settings.tiers, gateway.backends))
        ProcessCollector(registry=self._registry)
        self._lag.start()
        self._gpu.start()

    async def close(self) -> None:
        """Stop measuring; safe to call twice."""
        self._gpu.close()
        await self._lag.close()
        task, self._asking = self._asking, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=1)

    @hookimpl
    def palaver_turn_finished(self, turn: Turn, result: TurnResult) -> None:
        """Count a turn."""
        if self._turns is not None:
            self._turns.finished(turn, result)

    @hookimpl
    def palaver_turn_feedback(self, kind: str) -> None:
        """Count what a player thinks."""
        if self._turns is not None:
            self._turns.feedback(kind)

    @hookimpl
    def palaver_session_opened(self, session: SessionInfo) -> None:
        """Count a session."""
        self._sessions[session.role] += 1

    @hookimpl
    def palaver_session_closed(self, session: SessionInfo) -> None:
        """Count it no longer."""
        self._sessions[session.role] -= 1

    def _check(self, request: web.Request) -> None:
        """Let scrapers in by their own token, and engines by theirs.

        Raises:
            ProtocolError: It is neither, where one of them is needed.
        """
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        if self._token and kind.lower() == "bearer":
            if hmac.compare_digest(value.strip().encode("utf-8", "surrogateescape"), self._token):
                return
        principal = request.app[GATE].bearer(request)
        # Without a key nobody has to show a token, and then the scrapers' own is the only one.
        if principal.role != "engine" or (self._token and not principal.key):
            raise ProtocolError(
                "unauthorized", f"show the token in {VARIABLE}, or one of the role `engine`"
            )

    async def _page(self, gateway: Gateway, accept: str) -> web.Response:
        readings = await self._readings(gateway)
        live = Frozen(snapshot(gateway, self._sessions, self._gpu.gpus, readings))
        encode, content_type = choose_encoder(accept)

        # A thousand lines take some milliseconds, which are the players'.
        body = await asyncio.to_thread(encode, _Both(self._registry, live))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _readings(self, gateway: Gateway) -> dict[str, Sequence[Reading]]:
        """Ask the backends, or wait with those who just did."""
        loop = asyncio.get_running_loop()
        if self._asking is None or (self._asking.done() and loop.time() - self._asked_at > FRESH_S):
            self._asked_at = loop.time()
            backends = [entry.backend for entry in gateway.backends.values()]
            self._asking = loop.create_task(read_all(backends, READ_S), name="read backends")
        # A scraper that leaves does not take the answer from the others.
        await asyncio.wait({self._asking})
        return self._asking.result()


class _Both:
    """What was counted and what was read now, as one registry."""

    def __init__(self, registry: CollectorRegistry, live: Frozen) -> None:
        self._registry, self._live = registry, live

    def collect(self) -> Iterator[Metric]:
        """Return all of them, without the times of creation, which nobody draws."""
        for metric in self._registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric
        yield from self._live.collect()
