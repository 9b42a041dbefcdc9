"""Graphics cards are read in a thread, and one that hangs holds up nobody."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from palaver_metrics.gpu import Gpu, GpuReader

WAIT_S = 20


def read(reader: GpuReader) -> list[Gpu]:
    """Start a reader and return what it has read first."""
    reader.start()
    assert reader.first.wait(WAIT_S)
    return list(reader.gpus)


def test_a_card_is_read(nvml: Any) -> None:
    """Memory and utilisation come from NVML, which is let go in the end."""
    reader = GpuReader(every_s=0.001)
    (gpu,) = read(reader)
    assert (gpu.index, gpu.name, gpu.utilization) == (0, "NVIDIA Test", 0.4)
    assert gpu.used_bytes * 4 == gpu.total_bytes
    reader.close()
    reader.close()
    for thread in threading.enumerate():
        if thread.name == "read graphics cards":
            thread.join(WAIT_S)
    assert nvml.closed


def test_a_part_of_a_card_tells_no_use(make_nvml: Any) -> None:
    """Where NVML does not tell the utilisation, the memory is told all the same."""
    reader = GpuReader(nvml=make_nvml(tells_use=False))
    (gpu,) = read(reader)
    assert gpu.utilization is None
    assert gpu.used_bytes
    reader.close()


def test_no_card_is_nothing_to_complain_about(
    monkeypatch: pytest.MonkeyPatch, make_nvml: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the package, the driver or a card there are no readings and no warnings."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read(GpuReader()) == []
    broken = make_nvml()

    def fail() -> None:
        raise broken.NVMLError("Driver Not Loaded")

    broken.nvmlInit = fail
    assert read(GpuReader(nvml=broken)) == []
    assert not caplog.records


def test_a_driver_that_hangs(make_nvml: Any) -> None:
    """What was read last is shown for a while, and then nothing; nobody waits."""
    module, held, asked = make_nvml(), threading.Event(), threading.Event()
    count = module.nvmlDeviceGetCount
    times = iter(range(100))

    def hang() -> int:
        if next(times):
            asked.set()
            held.wait(WAIT_S)
        return int(count())

    module.nvmlDeviceGetCount = hang
    reader = GpuReader(every_s=0.001, nvml=module)
    assert read(reader)
    assert asked.wait(WAIT_S)
    assert reader.gpus, "it is not too long ago"
    at, gpus = reader._read
    reader._read = (at - 1_000, gpus)
    assert reader.gpus == ()
    reader.close()
    held.set()
