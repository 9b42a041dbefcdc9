"""A world with everything that metrics tell of, and a graphics card that is none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from palaver.chain.readings import Reading
from palaver.testing.scripted import ScriptedBackend

GIB = 2**30


class TalkativeBackend(ScriptedBackend):
    """A scripted backend that tells of its servers what one with vLLM does."""

    async def readings(self) -> Sequence[Reading]:
        """Tell of two servers."""
        found = []
        for number, server in enumerate(("http://one:8000", "http://two:8000"), start=1):
            found += [
                Reading("model_server_running_requests", number, "Running.", "gauge", server),
                Reading("model_server_waiting_requests", 0, "Waiting.", "gauge", server),
                Reading("model_server_kv_cache_ratio", 0.25, "KV.", "gauge", server),
                Reading(
                    "model_server_prefix_cache_queried_tokens_total",
                    100.0 * (1 + len(self.calls)),
                    "Queried.",
                    "counter",
                    server,
                ),
                Reading(
                    "model_server_prefix_cache_hit_tokens_total",
                    50.0 * (1 + len(self.calls)),
                    "Hits.",
                    "counter",
                    server,
                ),
                Reading("adapter_load_seconds", 0.5, "Time.", "summary", server, count=2),
                Reading("adapter_loads_total", 2, "Loads.", "counter", server, {"result": "ok"}),
                Reading(
                    "adapter_loads_total", 1, "Loads.", "counter", server, {"result": "failed"}
                ),
            ]
        return found


def fake_nvml(*, tells_use: bool = True) -> Any:
    """Return a module like `pynvml` with one card of which a quarter is in use."""
    module: Any = ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def use(_card: int) -> SimpleNamespace:
        if not tells_use:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=40, memory=10)

    module.NVMLError = NVMLError
    module.closed = False
    module.nvmlInit = lambda: None
    module.nvmlShutdown = lambda: setattr(module, "closed", True)
    module.nvmlDeviceGetCount = lambda: 1
    module.nvmlDeviceGetHandleByIndex = lambda index: index
    module.nvmlDeviceGetName = lambda _card: "NVIDIA Test"
    module.nvmlDeviceGetMemoryInfo = lambda _card: SimpleNamespace(used=4 * GIB, total=16 * GIB)
    module.nvmlDeviceGetUtilizationRates = use
    return module


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A graphics card that is none, as the installed `pynvml` would show it."""
    module = fake_nvml()
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


@pytest.fixture
def make_nvml() -> Any:
    """Makes modules like `pynvml`."""
    return fake_nvml


@pytest.fixture
def talkative() -> TalkativeBackend:
    """A backend that answers, and tells of its servers."""
    return TalkativeBackend("local", "Good evening.")
