"""What a vLLM server tells of itself at `/metrics`, and what loading adapters took, as readings.

Names as in vLLM's `v1/metrics/loggers.py` (0.9 to 0.33). Only totals over the server's engines are
taken: `vllm:lora_requests_info` alone makes a new series for every set of adapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from palaver.chain.readings import Reading

if TYPE_CHECKING:
    from palaver_vllm.adapters import AdapterLoader, Residency

__all__ = ["adapter_readings", "scan", "server_readings"]


class _Known(NamedTuple):
    name: str
    kind: Literal["gauge", "counter"]
    help: str


_KNOWN: Mapping[str, _Known] = {
    "vllm:num_requests_running": _Known(
        "model_server_running_requests",
        "gauge",
        "Requests that the model server works on, whoever sent them.",
    ),
    "vllm:num_requests_waiting": _Known(
        "model_server_waiting_requests", "gauge", "Requests that wait inside the model server."
    ),
    "vllm:kv_cache_usage_perc": _Known(
        "model_server_kv_cache_ratio", "gauge", "Share of the KV cache that is in use, 0 to 1."
    ),
    "vllm:num_preemptions_total": _Known(
        "model_server_preemptions_total",
        "counter",
        "Requests that the model server put off for want of KV cache.",
    ),
    "vllm:prefix_cache_queries_total": _Known(
        "model_server_prefix_cache_queried_tokens_total",
        "counter",
        "Tokens of prompts that were looked up in the prefix cache.",
    ),
    "vllm:prefix_cache_hits_total": _Known(
        "model_server_prefix_cache_hit_tokens_total",
        "counter",
        "Tokens of prompts that were found in the prefix cache.",
    ),
    "vllm:prompt_tokens_total": _Known(
        "model_server_prompt_tokens_total", "counter", "Tokens of prompts that were computed."
    ),
    "vllm:generation_tokens_total": _Known(
        "model_server_generation_tokens_total", "counter", "Tokens that were generated."
    ),
}


def scan(text: str) -> dict[str, float]:
    """Return the totals of the known metrics in a page of Prometheus's text format.

    Args:
        text: The page; lines that cannot be read are left out.
    """
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("vllm:"):
            continue
        name = line.partition("{")[0].partition(" ")[0]
        if name not in _KNOWN:
            continue
        # A label may hold a brace or a space; what comes after the last brace is the number.
        rest = line.rpartition("}")[2] if "{" in line else line[len(name) :]
        try:
            value = float(rest.split()[0])
        except (ValueError, IndexError):
            continue
        if value == value and abs(value) != float("inf"):
            found[name] = found.get(name, 0.0) + value
    return found


def server_readings(server: str, text: str) -> list[Reading]:
    """Return what a page of a server's metrics tells.

    Args:
        server: Its address.
        text: The page.
    """
    return [
        Reading(known.name, value, known.help, known.kind, server)
        for name, value in scan(text).items()
        for known in (_KNOWN[name],)
    ]


def adapter_readings(server: str, residency: Residency, loader: AdapterLoader) -> list[Reading]:
    """Return what is known of a server's adapters.

    Args:
        server: Its address.
        residency: What it has.
        loader: What loads them.
    """
    loads = "Adapters that were to be loaded onto a server, by what became of it."
    return [
        Reading(
            "adapters_resident",
            len(residency.loaded),
            "Adapters that a server has.",
            "gauge",
            server,
        ),
        Reading(
            "adapter_load_seconds",
            loader.seconds,
            "Time that loading an adapter took; every stream of the server stands still meanwhile.",
            "summary",
            server,
            count=loader.loaded,
        ),
        Reading("adapter_loads_total", loader.loaded, loads, "counter", server, {"result": "ok"}),
        Reading(
            "adapter_loads_total", loader.failed, loads, "counter", server, {"result": "failed"}
        ),
    ]
