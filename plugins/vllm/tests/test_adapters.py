import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from palaver.chain.backend import BackendType, Finish
from palaver.chain.servers import Entry
from palaver.testing.fake_vllm import FakeVllm, Reply
from palaver.testing.turns import make_request
from palaver.world.manifest import AdapterManifest
from palaver_vllm import adapters
from palaver_vllm.adapters import Activity, Residency
from palaver_vllm.backend import VllmBackend
from palaver_vllm.config import VllmSettings

Make = Callable[..., VllmBackend]
Add = Callable[..., AdapterManifest]
LOAD = "POST /v1/load_lora_adapter"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "QUIET_S", 0.01)


async def ask(backend: VllmBackend, adapter: str) -> Finish:
    """Return how a reply with an adapter ends."""
    async with aclosing(backend.generate(make_request(adapter=adapter))) as stream:
        *_, finish = [piece async for piece in stream]
    assert isinstance(finish, Finish)
    return finish


async def test_uses_what_is_loaded(make_backend: Make, add_manifest: Add) -> None:
    """The persona's adapter is the model that is asked for."""
    add_manifest("vampire")
    async with FakeVllm(adapters={"vampire@1": "/adapters/vampire"}) as server:
        finish = await ask(make_backend(url=server.url), "vampire@1")
        assert server.asked[0].model == "vampire@1"
    assert (finish.model, finish.adapter, finish.note) == ("base", "vampire@1", None)


async def test_loads_what_is_missing_when_idle(
    fake_vllm: FakeVllm, backend: VllmBackend, add_manifest: Add, adapter_dir: Path
) -> None:
    """The first turn speaks with the base model and says so, the next one with the adapter."""
    add_manifest("vampire")
    finish = await ask(backend, "vampire@1")
    assert (finish.adapter, finish.note) == (None, "adapter vampire@1 not loaded yet")
    assert fake_vllm.asked[0].model == "base"
    await backend.replicas[0].loaded()
    assert fake_vllm.loads == [("vampire@1", str(adapter_dir))]
    finish = await ask(backend, "vampire@1")
    assert (finish.adapter, finish.note) == ("vampire@1", None)


async def test_does_not_load_while_somebody_speaks(
    fake_vllm: FakeVllm, backend: VllmBackend, add_manifest: Add
) -> None:
    """A load waits for the end of the streams of that server."""
    add_manifest("vampire")
    held = asyncio.Event()
    fake_vllm.replies = [["Good", held, " evening"], Reply()]
    talking = asyncio.create_task(ask(backend, "vampire@1"))
    await fake_vllm.wait_asked()
    await ask(backend, "vampire@1")
    assert not (await asyncio.wait([talking], timeout=0.05))[0]
    assert LOAD not in fake_vllm.calls
    held.set()
    await talking
    await backend.replicas[0].loaded()
    assert LOAD in fake_vllm.calls


async def test_does_not_wait_for_ever(
    fake_vllm: FakeVllm, make_backend: Make, add_manifest: Add
) -> None:
    """On a server that is never idle the adapter is loaded after the longest wait."""
    add_manifest("vampire")
    held = asyncio.Event()
    fake_vllm.replies = [["Good", held], Reply()]
    backend = make_backend(url=fake_vllm.url, load_wait_ms=20)
    talking = asyncio.create_task(ask(backend, "vampire@1"))
    await fake_vllm.wait_asked()
    await backend.replicas[0].loaded()
    assert fake_vllm.running == 1
    assert (await ask(backend, "vampire@1")).adapter == "vampire@1"
    held.set()
    await talking


async def test_loads_one_at_a_time(
    fake_vllm: FakeVllm, backend: VllmBackend, add_manifest: Add
) -> None:
    """Two adapters are loaded one after the other."""
    add_manifest("vampire")
    add_manifest("zombie")
    fake_vllm.load_hold = asyncio.Event()
    for name in ("vampire@1", "zombie@1", "vampire@1"):
        await ask(backend, name)
    await fake_vllm.until(lambda: LOAD in fake_vllm.calls)
    assert not (
        await asyncio.wait([asyncio.ensure_future(backend.replicas[0].loaded())], timeout=0.05)
    )[0]
    assert fake_vllm.calls.count(LOAD) == 1
    fake_vllm.load_hold.set()
    await backend.replicas[0].loaded()
    assert [name for name, _ in fake_vllm.loads] == ["vampire@1", "zombie@1"]


async def test_a_failed_load_is_told_once_and_not_repeated_at_once(
    fake_vllm: FakeVllm,
    backend: VllmBackend,
    add_manifest: Add,
    reports: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A load that fails is reported once, and tried again only after a while."""
    monkeypatch.setattr(adapters, "BACK_OFF_S", 300)
    add_manifest("vampire", path=tmp_path / "nowhere")
    for _ in range(3):
        finish = await ask(backend, "vampire@1")
        await backend.replicas[0].loaded()
    assert fake_vllm.calls.count(LOAD) == 1
    assert finish.note is not None
    assert finish.note.startswith("adapter vampire@1 not loaded yet (loading failed: ")
    (line,) = reports
    assert "No adapter found for" in line


async def test_tries_again_after_a_while(
    fake_vllm: FakeVllm,
    backend: VllmBackend,
    add_manifest: Add,
    reports: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the wait is over a mended adapter is loaded."""
    monkeypatch.setattr(adapters, "BACK_OFF_S", 0.0)
    folder = tmp_path / "later"
    add_manifest("vampire", path=folder)
    await ask(backend, "vampire@1")
    await backend.replicas[0].loaded()
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    await ask(backend, "vampire@1")
    await backend.replicas[0].loaded()
    assert (await ask(backend, "vampire@1")).adapter == "vampire@1"
    assert len(reports) == 1


async def test_says_what_a_server_without_runtime_loading_needs(
    make_backend: Make, add_manifest: Add, reports: list[str]
) -> None:
    """Where adapters cannot be loaded the report names flag and variable."""
    add_manifest("vampire")
    async with FakeVllm(runtime_lora=False) as server:
        backend = make_backend(url=server.url)
        await ask(backend, "vampire@1")
        await backend.replicas[0].loaded()
    assert "--enable-lora" in reports[0]
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in reports[0]


async def test_takes_over_what_somebody_else_loaded(
    fake_vllm: FakeVllm, backend: VllmBackend, add_manifest: Add, reports: list[str]
) -> None:
    """An adapter that another gateway has loaded in the meantime is no failure."""
    add_manifest("vampire")
    fake_vllm.adapters.load("vampire@1", "/elsewhere")
    await ask(backend, "vampire@1")
    await backend.replicas[0].loaded()
    assert (await ask(backend, "vampire@1")).adapter == "vampire@1"
    assert reports == []


async def test_an_adapter_for_another_base_is_not_used(
    fake_vllm: FakeVllm, backend: VllmBackend, add_manifest: Add
) -> None:
    """Where the base differs the turn uses the base model, and nothing is loaded."""
    add_manifest("vampire", base="llama")
    finish = await ask(backend, "vampire@1")
    await backend.replicas[0].loaded()
    assert finish.adapter is None
    assert finish.note == "adapter vampire@1 is for 'llama', the server has 'base'"
    assert LOAD not in fake_vllm.calls


async def test_the_base_may_be_served_under_another_name(
    make_backend: Make, add_manifest: Add
) -> None:
    """A manifest may name the base model by its path or folder, as the server tells it."""
    add_manifest("vampire", base="tiny")
    async with FakeVllm(root="/models/tiny") as server:
        backend = make_backend(url=server.url)
        await ask(backend, "vampire@1")
        await backend.replicas[0].loaded()
        assert (await ask(backend, "vampire@1")).adapter == "vampire@1"


async def test_an_unknown_adapter_is_told(backend: VllmBackend) -> None:
    """An adapter without a manifest means the base model and a note."""
    assert (await ask(backend, "elf@1")).note == "adapter elf@1 has no manifest"


async def test_what_the_server_has_needs_no_manifest(make_backend: Make) -> None:
    """An adapter that was given to the server when it was started can be used."""
    async with FakeVllm(adapters={"elf@1": "/elf"}) as server:
        assert (await ask(make_backend(url=server.url), "elf@1")).adapter == "elf@1"


async def test_adapters_can_be_off(
    fake_vllm: FakeVllm, make_backend: Make, add_manifest: Add
) -> None:
    """With `adapters = "off"` the base model speaks for all."""
    add_manifest("vampire")
    finish = await ask(make_backend(url=fake_vllm.url, adapters="off"), "vampire@1")
    assert (finish.adapter, finish.note) == (None, "adapter vampire@1 not used: adapters are off")


async def test_a_server_that_lost_its_adapters_costs_no_turn(
    fake_vllm: FakeVllm, backend: VllmBackend, add_manifest: Add
) -> None:
    """When the server no longer knows the adapter the same turn speaks with the base model."""
    add_manifest("vampire")
    await ask(backend, "vampire@1")
    await backend.replicas[0].loaded()
    fake_vllm.adapters.unload("vampire@1")
    finish = await ask(backend, "vampire@1")
    assert (finish.adapter, finish.note) == (None, "adapter vampire@1 not loaded yet")
    assert [asked.model for asked in fake_vllm.asked] == ["base", "vampire@1", "base"]
    await backend.replicas[0].loaded()
    assert (await ask(backend, "vampire@1")).adapter == "vampire@1"


async def test_a_restarted_server_gets_its_adapters_again(
    make_backend: Make, add_manifest: Add
) -> None:
    """After a restart on the same port adapters are loaded again."""
    add_manifest("vampire")
    server = FakeVllm()
    await server.start()
    backend = make_backend(url=server.url)
    for _ in range(2):
        await ask(backend, "vampire@1")
        await backend.replicas[0].loaded()
    await server.stop()
    await server.start()
    assert (await ask(backend, "vampire@1")).adapter is None
    await backend.replicas[0].loaded()
    assert (await ask(backend, "vampire@1")).adapter == "vampire@1"
    await server.stop()


async def test_does_not_wait_for_a_slot(make_backend: Make, add_manifest: Add) -> None:
    """With all slots in use by others a turn takes the base model instead of waiting."""
    loaded = {"vampire@1": "/vampire", "zombie@1": "/zombie"}
    async with FakeVllm(adapters=loaded, max_loras=1) as server:
        backend = make_backend(url=server.url, max_loras=1)
        held = asyncio.Event()
        server.replies = [["Good", held], Reply()]
        talking = asyncio.create_task(ask(backend, "vampire@1"))
        await server.wait_asked()
        finish = await ask(backend, "zombie@1")
        assert finish.adapter is None
        assert finish.note == "adapter zombie@1 has to wait: all adapter slots are in use"
        assert (await ask(backend, "vampire@1")).adapter == "vampire@1"
        held.set()
        await talking
        assert (await ask(backend, "zombie@1")).adapter == "zombie@1"


async def test_tells_which_server_has_the_adapter(fake_vllm: FakeVllm, make_backend: Make) -> None:
    """With several servers the chain asks the one that could use the adapter at once."""
    async with FakeVllm(adapters={"vampire@1": "/vampire"}) as other:
        backend = make_backend(urls=[fake_vllm.url, other.url])
        await backend.start()
        assert [replica.warm("vampire@1") for replica in backend.replicas] == [False, True]
        assert all(replica.warm(None) for replica in backend.replicas)
        entry = Entry(backend, BackendType("vllm", VllmSettings, lambda *_: backend))
        for _ in range(3):
            picked = entry.pick("vampire@1")
            assert picked is not None
            assert picked.name == other.url


async def test_closing_stops_a_load(
    fake_vllm: FakeVllm, backend: VllmBackend, add_manifest: Add
) -> None:
    """A backend that is closed while it loads leaves no task."""
    add_manifest("vampire")
    fake_vllm.load_hold = asyncio.Event()
    await ask(backend, "vampire@1")
    await fake_vllm.until(lambda: LOAD in fake_vllm.calls)
    async with asyncio.timeout(20):
        await backend.close()
    assert not any("load adapters" in task.get_name() for task in asyncio.all_tasks())


def test_residency_keeps_the_order_of_use() -> None:
    """What was used last is warm, as many as there are slots."""
    residency = Residency(2)
    residency.replace(["a", "b", "c"])
    residency.use("a")
    assert residency.loaded == ["b", "c", "a"]
    assert [residency.warm(name) for name in "abcd"] == [True, False, True, False]
    residency.replace(["d", "c", "a"])
    assert residency.loaded == ["d", "c", "a"]
    residency.forget()
    assert not residency.has("a")


async def test_activity_is_quiet_when_nobody_speaks() -> None:
    """A pause between two streams that is too short is no idle moment."""
    activity = Activity()
    activity.enter("a")
    waiting = asyncio.create_task(activity.quiet(60))
    activity.leave("a")
    await asyncio.sleep(0)
    activity.enter(None)
    assert not (await asyncio.wait([waiting], timeout=0.05))[0]
    activity.leave(None)
    await asyncio.wait_for(waiting, 20)
    assert activity.adapters == {}
