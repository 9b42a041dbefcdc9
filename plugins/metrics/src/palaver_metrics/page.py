"""What `GET /metrics` answers: what was counted so far, and what is read at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from palaver.chain.readings import read_all
from palaver_metrics.gpu import GpuReader
from palaver_metrics.lag import LoopLag
from palaver_metrics.live import Frozen, snapshot
from palaver_metrics.names import Names
from palaver_metrics.turns import TurnMetrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from palaver.chain.readings import Reading
    from palaver.gateway import Gateway

__all__ = ["Page"]

READ_S = 0.8
"""Time for backends to tell of their servers in one scrape, in seconds."""
FRESH_S = 1.0
"""Several who scrape at once share what backends told so long ago, in seconds."""


class Page:
    """The metrics of one gateway.

    Args:
        gateway: The gateway.
        gpu: Reads the graphics cards of this machine.

    Attributes:
        turns: Counts turns.
    """

    def __init__(self, gateway: Gateway, gpu: GpuReader) -> None:
        self._gateway, self._gpu = gateway, gpu
        self._registry = CollectorRegistry()
        self._lag = LoopLag(self._registry)
        self.turns = TurnMetrics(self._registry, Names(gateway.settings.tiers, gateway.backends))
        ProcessCollector(registry=self._registry)
        self._asking: asyncio.Task[dict[str, Sequence[Reading]]] | None = None
        self._asked_at = 0.0

    def start(self) -> None:
        """Begin to measure what nobody tells."""
        self._lag.start()
        self._gpu.start()

    async def close(self) -> None:
        """Stop; safe to call twice."""
        self._gpu.close()
        await self._lag.close()
        task, self._asking = self._asking, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=1)

    async def write(self, accept: str, sessions: Mapping[str, int]) -> tuple[bytes, str]:
        """Return the page and its content type.

        Args:
            accept: What the scraper understands, as its header says.
            sessions: Open sessions by role.
        """
        readings = await self._readings()
        live = Frozen(snapshot(self._gateway, sessions, self._gpu.gpus, readings))
        encode, content_type = choose_encoder(accept)
        # A thousand lines take some milliseconds, which are the players'.
        return await asyncio.to_thread(encode, _Both(self._registry, live)), content_type

    async def _readings(self) -> dict[str, Sequence[Reading]]:
        """Ask the backends, or wait with those who just did."""
        loop = asyncio.get_running_loop()
        asking = self._asking
        if asking is None or (asking.done() and loop.time() - self._asked_at > FRESH_S):
            self._asked_at = loop.time()
            backends = [entry.backend for entry in self._gateway.backends.values()]
            asking = loop.create_task(read_all(backends, READ_S), name="read backends")
            self._asking = asking
        # A scraper that leaves does not take the answer from the others.
        await asyncio.wait({asking})
        return {} if asking.cancelled() else asking.result()


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
