"""Metrics for Prometheus at `GET /metrics`, on Palaver's one port."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from palaver.hookspecs import hookimpl

if TYPE_CHECKING:
    from palaver.bridge import Bridge

__version__ = "0.1.0"

__all__ = ["__version__"]


@hookimpl
def palaver_register_bridges(register: Callable[[Bridge], None]) -> None:
    """Offer the bridge `metrics`."""
    from palaver_metrics.bridge import MetricsBridge

    register(MetricsBridge())
