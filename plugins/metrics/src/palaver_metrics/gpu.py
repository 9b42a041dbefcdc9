"""Memory and utilisation of NVIDIA graphics cards of this machine, where there are any.

NVML answers in microseconds, or, with a driver in trouble, not at all. So a thread of its own asks
it, which nobody waits for, and a scrape shows what was read last.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

__all__ = ["Gpu", "GpuReader"]

log = logging.getLogger("palaver.metrics")

EVERY_S = 5.0
"""Time between two readings, in seconds."""
STALE_S = 30.0
"""Age up to which a reading is shown, in seconds."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics card.

    Attributes:
        index: Its number, as `nvidia-smi` counts.
        name: Its product name.
        used_bytes: Memory in use, in bytes.
        total_bytes: Memory it has, in bytes.
        utilization: Share of the last moment in which it was at work, 0 to 1.
    """

    index: int
    name: str
    used_bytes: int
    total_bytes: int
    utilization: float | None


class GpuReader:
    """Reads the cards in a thread.

    Args:
        every_s: Time between two readings, in seconds.
        nvml: The module `pynvml`, or None to look whether it is installed.
    """

    def __init__(self, every_s: float = EVERY_S, nvml: Any = None) -> None:
        self._every_s, self._nvml = every_s, nvml
        self._stop = threading.Event()
        self._read: tuple[float, Sequence[Gpu]] = (0.0, ())
        self.first = threading.Event()
        """Set once the cards were read, or it is known that there are none."""

    @property
    def gpus(self) -> Sequence[Gpu]:
        """The cards as they were read last; none if that is too long ago."""
        at, gpus = self._read
        return gpus if monotonic() - at < max(STALE_S, 3 * self._every_s) else ()

    def start(self) -> None:
        """Begin to read."""
        # A daemon: a driver that hangs must not keep the process from ending.
        threading.Thread(target=self._run, name="read graphics cards", daemon=True).start()

    def close(self) -> None:
        """Stop; waits for nothing, and is safe to call twice."""
        self._stop.set()

    def _run(self) -> None:
        try:
            nvml = self._nvml or importlib.import_module("pynvml")
            nvml.nvmlInit()
        except ImportError:
            log.debug("nvidia-ml-py is not installed; there are no metrics of graphics cards")
            self.first.set()
            return
        except Exception as err:
            # No driver, no card: the usual case, and nothing to complain about.
            log.debug("NVML cannot be used: %s", err)
            self.first.set()
            return
        try:
            while not self._stop.is_set():
                self._read = (monotonic(), _cards(nvml))
                self.first.set()
                self._stop.wait(self._every_s)
        except Exception as err:
            log.warning("graphics cards cannot be read any more: %s", err)
        finally:
            self.first.set()
            nvml.nvmlShutdown()


def _cards(nvml: Any) -> list[Gpu]:
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = nvml.nvmlDeviceGetName(handle)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        try:
            utilization = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        except nvml.NVMLError:
            # A part of a card (MIG) does not tell.
            utilization = None
        found.append(
            Gpu(
                index,
                name.decode() if isinstance(name, bytes) else str(name),
                int(memory.used),
                int(memory.total),
                utilization,
            )
        )
    return found
