import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from palaver.chain.backend import Finish
from palaver.errors import BackendResponseError, BackendTimeout, BackendUnavailable
from palaver.testing.fake_ollama import HANG, FakeModel, FakeOllama, Reply
from palaver.testing.fake_vllm_lab import free_port
from palaver.testing.turns import make_request
from palaver_ollama.backend import OllamaBackend
from palaver_ollama.loader import Loader

Make = Callable[..., OllamaBackend]


async def ask(backend: OllamaBackend, deadline: float | None = None) -> str:
    """Return what a backend says."""
    async with aclosing(backend.generate(make_request(deadline=deadline))) as stream:
        return "".join([piece async for piece in stream if not isinstance(piece, Finish)])


async def test_the_model_is_loaded_at_the_start(
    fake_ollama: FakeOllama, backend: OllamaBackend
) -> None:
    """Before anybody speaks the model is on its way into memory, and starting does not wait."""
    await fake_ollama.until(lambda: "tiny:latest" in fake_ollama.memory)
    assert fake_ollama.asked == []
    assert await ask(backend) == "Good evening."
    assert fake_ollama.loads == [("tiny:latest", 4096)]
    assert fake_ollama.memory["tiny:latest"].keep_s == 1800


async def test_it_can_be_left_for_the_first_turn(
    fake_ollama: FakeOllama, make_backend: Make
) -> None:
    """With `preload = false` the first turn loads it."""
    backend = make_backend(url=fake_ollama.url, model="tiny", preload=False)
    await backend.start()
    assert fake_ollama.loads == []
    assert not backend.replicas[0].warm(None)
    assert await ask(backend) == "Good evening."
    assert backend.replicas[0].warm(None)


async def test_a_turn_that_is_given_up_does_not_end_the_loading(
    fake_ollama: FakeOllama, make_backend: Make
) -> None:
    """The model comes into memory although the turn that wanted it was cancelled."""
    fake_ollama.load_hold = asyncio.Event()
    backend = make_backend(url=fake_ollama.url, model="tiny", preload=False)
    turns = [asyncio.create_task(ask(backend)) for _ in range(3)]
    await fake_ollama.until(lambda: len(fake_ollama.loads) == 1)
    for turn in turns[:2]:
        turn.cancel()
    await asyncio.gather(*turns[:2], return_exceptions=True)
    fake_ollama.load_hold.set()
    assert await turns[2] == "Good evening."
    assert (fake_ollama.loads, fake_ollama.aborted_loads) == ([("tiny:latest", 4096)], 0)
    assert len(fake_ollama.asked) == 1


async def test_a_turn_does_not_wait_for_it_longer_than_it_may(
    fake_ollama: FakeOllama, make_backend: Make
) -> None:
    """The deadline of a turn ends its wait for the model, not the loading."""
    fake_ollama.load_hold = asyncio.Event()
    backend = make_backend(url=fake_ollama.url, model="tiny", preload=False)
    with pytest.raises(BackendTimeout):
        await ask(backend, asyncio.get_running_loop().time() + 0.05)
    fake_ollama.load_hold.set()
    assert await ask(backend) == "Good evening."
    assert fake_ollama.aborted_loads == 0


async def test_a_model_that_was_pushed_out_comes_back(
    fake_ollama: FakeOllama, backend: OllamaBackend
) -> None:
    """When another program's model took its place, a cancelled turn does not end its return.

    The turn's own request had begun to load it; Palaver asks for it again by itself.
    """
    await ask(backend)
    fake_ollama.memory.clear()
    fake_ollama.load_hold = asyncio.Event()
    turn = asyncio.create_task(ask(backend))
    await fake_ollama.until(lambda: len(fake_ollama.loads) == 2)
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)
    await fake_ollama.until(lambda: fake_ollama.aborted_loads == 1)
    fake_ollama.load_hold.set()
    await fake_ollama.until(lambda: "tiny:latest" in fake_ollama.memory)
    assert await ask(backend) == "Good evening."
    assert len(fake_ollama.loads) == 3


async def test_a_server_that_was_started_again_loads_it_again(make_backend: Make) -> None:
    """After a restart the next turn has the model loaded, and meets no old connection."""
    server = FakeOllama(port=free_port())
    backend = make_backend(url=server.url, model="tiny")
    await backend.start()
    with pytest.raises(BackendUnavailable):
        await ask(backend)
    async with server:
        assert await ask(backend) == "Good evening."
    with pytest.raises(BackendUnavailable):
        await ask(backend)
    async with server:
        assert await ask(backend) == "Good evening."
    assert len(server.loads) == 2


async def test_what_fails_to_load_is_reported(
    make_backend: Make, reports: list[str], fake_ollama: FakeOllama
) -> None:
    """Loading that fails at the start is told with the server's words, and met by turns."""
    backend = make_backend(url=fake_ollama.url, model="tiny", options={"num_predict": "many"})
    await backend.start()
    with pytest.raises(BackendResponseError, match='"num_predict" must be of type integer'):
        await ask(backend)
    assert any("must be of type integer" in line for line in reports)


async def test_closing_ends_it(fake_ollama: FakeOllama, make_backend: Make) -> None:
    """A backend that is closed while the model loads leaves nothing behind, also no turn."""
    fake_ollama.load_hold = asyncio.Event()
    backend = make_backend(url=fake_ollama.url, model="tiny")
    await backend.start()
    turn = asyncio.create_task(ask(backend))
    await fake_ollama.until(lambda: len(fake_ollama.loads) == 1)
    turn.cancel()
    await backend.close()
    await asyncio.gather(turn, return_exceptions=True)
    await fake_ollama.until(lambda: fake_ollama.aborted_loads == 1)


async def test_two_models_on_one_server_take_turns(make_backend: Make) -> None:
    """What `palaver check` warns of: each change of backend loads a model."""
    async with FakeOllama({"a:latest": FakeModel(), "b:latest": FakeModel()}) as server:
        one = make_backend(url=server.url, model="a", preload=False)
        other = make_backend(url=server.url, model="b", preload=False)
        for _ in range(2):
            await ask(one)
            await ask(other)
        assert [name for name, _ in server.loads] == ["a:latest", "b:latest"] * 2


async def test_after_a_pause_it_is_made_sure_of() -> None:
    """After `keep_alive` the model counts as gone, and the next turn has it loaded first."""
    loads = 0

    async def load() -> None:
        nonlocal loads
        loads += 1

    short, long = Loader("local", load, 0.5), Loader("local", load, 1_000)
    for _ in range(2):
        await short.ready(None)
        await long.ready(None)
    assert (short.loaded, long.loaded, loads) == (False, True, 3)
    long.doubt()
    assert not long.loaded
    await long.ready(None)
    assert loads == 4
    await long.close()
    long.doubt()
    assert loads == 4


async def test_a_hanging_server_keeps_one_loading_at_most(
    fake_ollama: FakeOllama, backend: OllamaBackend
) -> None:
    """However many turns are given up, one request at most looks after the model."""
    await ask(backend)
    fake_ollama.replies = [Reply(before_headers=HANG)]
    fake_ollama.memory.clear()
    fake_ollama.load_hold = asyncio.Event()
    for number in range(5):
        turn = asyncio.create_task(ask(backend))
        # The first asks the server itself, the others wait for the loading.
        await fake_ollama.until(lambda: len(fake_ollama.loads) >= 2)
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        assert len(fake_ollama.asked) == 2, number
    await fake_ollama.until(lambda: len(fake_ollama.loads) == 3)
    assert fake_ollama.aborted_loads == 1
