"""What a vLLM server tells of itself, and what is known of its adapters, as metrics."""

from collections.abc import Callable

import pytest

from palaver.chain.readings import Reading, read_all
from palaver.testing.fake_vllm import FakeVllm, Reply
from palaver.testing.turns import make_request
from palaver.world.manifest import AdapterManifest
from palaver_vllm import adapters
from palaver_vllm.backend import VllmBackend
from palaver_vllm.readings import scan

Make = Callable[..., VllmBackend]
Add = Callable[..., AdapterManifest]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "QUIET_S", 0.01)


async def told(backend: VllmBackend) -> dict[str, Reading]:
    """Return what a backend tells, by name and label."""
    readings = (await read_all([backend], 20))["local"]
    return {f"{one.name}{''.join(one.labels.values())}": one for one in readings}


async def test_a_server_tells_of_itself(fake_vllm: FakeVllm, backend: VllmBackend) -> None:
    """Its totals are there under names that say their units, with the server's address."""
    async for _ in backend.generate(make_request()):
        pass
    found = await told(backend)
    assert found["model_server_running_requests"].kind == "gauge"
    queried = found["model_server_prefix_cache_queried_tokens_total"]
    assert (queried.kind, queried.server) == ("counter", fake_vllm.url)
    assert queried.value > 0
    assert not [name for name in found if "lora" in name]


async def test_loading_is_timed(
    fake_vllm: FakeVllm, backend: VllmBackend, add_manifest: Add
) -> None:
    """How many adapters were loaded, how long it took, how many failed, how many are there."""
    manifest = add_manifest("vampire")
    backend.replicas[0].load_later(manifest, "base")
    await backend.replicas[0].loaded()
    found = await told(backend)
    assert found["adapters_resident"].value == 1
    assert found["adapter_loads_totalok"].value == 1
    assert found["adapter_loads_totalfailed"].value == 0
    took = found["adapter_load_seconds"]
    assert (took.kind, took.count) == ("summary", 1)
    assert took.value > 0


async def test_a_load_that_fails_counts(
    fake_vllm: FakeVllm, make_backend: Make, add_manifest: Add
) -> None:
    """A server that takes no adapters makes failures, and no time."""
    async with FakeVllm(runtime_lora=False) as server:
        backend = make_backend(url=server.url)
        await backend.start()
        backend.replicas[0].load_later(add_manifest("vampire"), "base")
        await backend.replicas[0].loaded()
        found = await told(backend)
    assert found["adapter_loads_totalfailed"].value == 1
    assert found["adapter_load_seconds"].count == 0


async def test_a_server_that_is_away(fake_vllm: FakeVllm, backend: VllmBackend) -> None:
    """Of one that is away only what is known here is told; the others tell all the same."""
    await fake_vllm.stop()
    found = await told(backend)
    assert "adapters_resident" in found
    assert not [name for name in found if name.startswith("model_server")]


async def test_several_servers_tell_side_by_side(make_backend: Make) -> None:
    """Each has its own readings."""
    async with FakeVllm() as one, FakeVllm() as two:
        one.replies = two.replies = [Reply()]
        backend = make_backend(urls=[one.url, two.url])
        readings = (await read_all([backend], 20))["local"]
    running = [one.server for one in readings if one.name == "model_server_running_requests"]
    assert sorted(running) == sorted([one.url, two.url])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("# HELP vllm:num_requests_running x\n", {}),
        ("vllm:num_requests_running 2.0\n", {"vllm:num_requests_running": 2.0}),
        (
            (
                'vllm:num_requests_running{engine="0",model_name="a}b c"} 2.0 1700000000\n'
                'vllm:num_requests_running{engine="1",model_name="x"} 3\n'
            ),
            {"vllm:num_requests_running": 5.0},
        ),
        ('vllm:kv_cache_usage_perc{engine="0"} NaN\n', {}),
        ('vllm:kv_cache_usage_perc{engine="0"} +Inf\n', {}),
        ('vllm:kv_cache_usage_perc{engine="0"}\n', {}),
        ('vllm:kv_cache_usage_perc{engine="0"} many\n', {}),
        ('vllm:lora_requests_info{running_lora_adapters="a,b"} 1.0\n', {}),
        ('vllm:num_requests_waiting_by_reason{reason="capacity"} 1.0\n', {}),
        ("<html>\x00</html>", {}),
    ],
)
def test_reading_a_page(text: str, found: dict[str, float]) -> None:
    """Known names are summed over engines; whatever else stands there is left out."""
    assert scan(text) == found
