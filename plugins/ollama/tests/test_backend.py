import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from palaver.chain.backend import Finish, Sampling, replicas_of
from palaver.chain.lane import Urgency
from palaver.errors import (
    BackendOverloaded,
    BackendRefused,
    BackendResponseError,
    BackendTimeout,
    BackendUnavailable,
    ModelNotFound,
    StreamBroken,
)
from palaver.prompt.sections import Message
from palaver.testing.chains import make_chain
from palaver.testing.fake_ollama import CUT, HANG, Fail, FakeModel, FakeOllama, Raw, Reply, Think
from palaver.testing.fake_vllm_lab import free_port
from palaver.testing.turns import make_request
from palaver_ollama.backend import OllamaBackend
from palaver_ollama.server import Server

Make = Callable[..., OllamaBackend]


async def ask(
    source: OllamaBackend | Server, text: str = "Hm?", **fields: Any
) -> tuple[str, Finish]:
    """Return what a backend or one of its servers says, and how it ends."""
    async with aclosing(source.generate(make_request(text, **fields))) as stream:
        *pieces, finish = [piece async for piece in stream]
    assert isinstance(finish, Finish)
    return "".join(map(str, pieces)), finish


async def test_asks_for_what_is_wanted(fake_ollama: FakeOllama, make_backend: Make) -> None:
    """Sampling, stop strings, seed and schema go out in Ollama's fields, and nothing else."""
    backend = make_backend(url=fake_ollama.url, model="tiny", num_ctx=2048)
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=40, stop=("\n", "Anna:"))
    schema = {"type": "object"}
    await ask(backend, "Who are you?", sampling=sampling, seed=7, priority=2, schema=schema)
    body = fake_ollama.asked[0].body
    assert body.pop("messages") == [
        {"role": "system", "content": "You are Valerius, a vampire. You answer in one sentence."},
        {"role": "user", "content": "Who are you?"},
    ]
    assert body == {
        "model": "tiny",
        "stream": True,
        "think": False,
        "keep_alive": "30m",
        "format": schema,
        "options": {
            "num_ctx": 2048,
            "temperature": 0.5,
            "top_p": 0.9,
            "num_predict": 40,
            "stop": ["\n", "Anna:"],
            "seed": 7,
        },
    }


async def test_leaves_out_what_is_not_wanted(fake_ollama: FakeOllama, make_backend: Make) -> None:
    """What the request and the settings leave to the server is not sent at all."""
    await ask(make_backend(url=fake_ollama.url, think=None, keep_alive=-1), sampling=Sampling())
    body = fake_ollama.asked[0].body
    assert set(body) == {"model", "messages", "stream", "keep_alive", "options"}
    assert (body["options"], body["keep_alive"]) == ({}, -1)


async def test_options_do_not_replace_the_personas(
    fake_ollama: FakeOllama, make_backend: Make
) -> None:
    """`options` fill in what nothing else sets."""
    options = {"repeat_penalty": 1.1, "temperature": 1.5}
    backend = make_backend(url=fake_ollama.url, options=options)
    await ask(backend, sampling=Sampling(temperature=0.2))
    sent = fake_ollama.asked[0].body["options"]
    assert (sent["repeat_penalty"], sent["temperature"]) == (1.1, 0.2)


async def test_every_request_wants_the_same_window(
    fake_ollama: FakeOllama, make_backend: Make
) -> None:
    """Long and short turns, and the loading itself, never make the server load the model anew."""
    options = {"num_gpu": 20}
    backend = make_backend(url=fake_ollama.url, model="tiny", num_ctx=2048, options=options)
    await backend.start()
    for text, limit in (("Hm?", 10), ("Tell me all. " * 100, 400), ("Hm?", None)):
        await ask(backend, text, sampling=Sampling(max_tokens=limit), adapter="vampire@1")
    assert fake_ollama.loads == [("tiny:latest", 2048)]


async def test_continues_what_was_shown(fake_ollama: FakeOllama, backend: OllamaBackend) -> None:
    """Text that the player has read is continued as the assistant's own message."""
    await ask(backend, shown="The night is long…")
    assert fake_ollama.asked[0].body["messages"][-1] == {
        "role": "assistant",
        "content": "The night is long…",
    }
    ended = [Message("user", "Hm?"), Message("assistant", "The night")]
    await ask(backend, shown="The night", messages=ended)
    assert len(fake_ollama.asked[1].body["messages"]) == 2


async def test_tells_how_it_ended(fake_ollama: FakeOllama, backend: OllamaBackend) -> None:
    """Counts come from the last line; a persona's adapter is named as not used."""
    said, finish = await ask(backend, adapter="vampire@1")
    assert said == "Good evening."
    assert (finish.reason, finish.model, finish.adapter) == ("stop", "tiny", None)
    assert (finish.completion_tokens, finish.note) == (
        3,
        "adapter vampire@1 not used: Ollama has none",
    )
    assert finish.prompt_tokens
    _, finish = await ask(backend, sampling=Sampling(max_tokens=2))
    assert (finish.reason, finish.note) == ("length", None)


async def test_an_older_server_gives_no_reason(
    fake_ollama: FakeOllama, backend: OllamaBackend
) -> None:
    """Where the server says only that it is done, the count tells whether it was cut."""
    end = b'{"message":{"content":"."},"done":true,"eval_count":24}\n'
    fake_ollama.replies = [Reply(steps=["Good", Raw(end)], finish=None)]
    assert (await ask(backend, sampling=Sampling(max_tokens=24)))[1].reason == "length"
    assert (await ask(backend, sampling=Sampling(max_tokens=30)))[1].reason == "stop"


async def test_thoughts_are_not_spoken(fake_ollama: FakeOllama, make_backend: Make) -> None:
    """What a model thinks before it speaks does not reach the player, in whatever form."""
    fake_ollama.models["tiny:latest"] = FakeModel(capabilities=("completion", "thinking"))
    backend = make_backend(url=fake_ollama.url, think=True)
    fake_ollama.replies = [Reply(steps=[Think("He"), Think(" lies."), "Nev", "er."])]
    assert (await ask(backend))[0] == "Never."
    body = fake_ollama.asked[0].body
    assert (body["think"], body["options"]["num_predict"]) == (True, 1024 + 24)
    fake_ollama.replies = [["<think>", "He lies.", "</think>", "\n\nNever."]]
    assert (await ask(backend))[0] == "Never."


async def test_takes_the_model_that_is_there(
    fake_ollama: FakeOllama, make_backend: Make, reports: list[str]
) -> None:
    """Without a setting it is the loaded model, or the one changed last, and that is told."""
    fake_ollama.models["other:1b"] = FakeModel()
    await make_backend(url=fake_ollama.url).start()
    assert "uses 'tiny:latest'" in reports[0]
    assert (await ask(make_backend(url=fake_ollama.url, model="other:1b")))[1].model == "other:1b"
    assert (await ask(make_backend(url=fake_ollama.url)))[1].model == "other:1b"


@pytest.mark.parametrize(
    ("model", "settings", "wanted"),
    [
        (FakeModel(), {}, 4096),
        (FakeModel(), {"num_ctx": 2048}, 2048),
        (FakeModel(), {"num_ctx": 50_000}, 8192),
        (FakeModel(parameters='stop "x"\nnum_ctx                        3000\n'), {}, 3000),
        (FakeModel(context_length=512), {}, 512),
        (FakeModel(), {"context_tokens": 300}, 300),
    ],
)
async def test_learns_how_long_a_prompt_may_be(
    make_backend: Make, model: FakeModel, settings: dict[str, Any], wanted: int
) -> None:
    """The context window is the setting's, the Modelfile's, Ollama's, never more than trained."""
    async with FakeOllama({"tiny:latest": model}) as server:
        backend = make_backend(url=server.url, preload=False, **settings)
        await backend.start()
        assert backend.settings.context_tokens == wanted


async def test_measures_the_window_that_was_really_made(
    fake_ollama: FakeOllama, make_backend: Make
) -> None:
    """Where the server chooses, what it chose is known as soon as the model is loaded."""
    await ask(make_backend(url=fake_ollama.url, options={"num_gpu": 1}))
    fake_ollama.memory["tiny:latest"].num_ctx = 7000
    backend = make_backend(url=fake_ollama.url)
    await backend.start()
    assert backend.settings.context_tokens == 7000


async def test_a_missing_model_can_be_pulled(
    fake_ollama: FakeOllama, make_backend: Make, reports: list[str]
) -> None:
    """The error for a model that is not there says how to get it; once there, it is used."""
    backend = make_backend(url=fake_ollama.url, model="elf")
    await backend.start()
    assert "`palaver ollama pull elf`" in reports[0]
    with pytest.raises(ModelNotFound, match="`palaver ollama pull elf` downloads it"):
        await ask(backend)
    assert fake_ollama.asked == []
    fake_ollama.models["elf:latest"] = FakeModel()
    assert (await ask(backend))[1].model == "elf"


async def test_a_model_may_go_while_it_runs(
    fake_ollama: FakeOllama, backend: OllamaBackend
) -> None:
    """A model that was removed is missed by the next turn."""
    await ask(backend)
    del fake_ollama.models["tiny:latest"]
    with pytest.raises(ModelNotFound):
        await ask(backend)


async def test_sends_its_key(
    make_backend: Make, monkeypatch: pytest.MonkeyPatch, reports: list[str]
) -> None:
    """The key comes from the environment, and a missing one is reported by its variable."""
    monkeypatch.setenv("TEST_OLLAMA_KEY", "secret")
    async with FakeOllama(api_key="secret") as server:
        backend = make_backend(url=server.url, model="tiny", api_key_env="TEST_OLLAMA_KEY")
        await backend.start()
        assert (await ask(backend))[0] == "Good evening."
        assert reports == []
        monkeypatch.delenv("TEST_OLLAMA_KEY")
        await make_backend(url=server.url, api_key_env="TEST_OLLAMA_KEY").start()
    assert "TEST_OLLAMA_KEY" in reports[0]
    assert not any("secret" in line for line in reports)


async def test_uses_no_proxy(
    fake_ollama: FakeOllama, make_backend: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxy variables of the environment do not lead a turn anywhere else."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert (await ask(make_backend(url=fake_ollama.url)))[0] == "Good evening."


async def test_uses_a_connection_again(fake_ollama: FakeOllama, backend: OllamaBackend) -> None:
    """After a whole reply the next turn needs no new connection."""
    await ask(backend)
    before = fake_ollama.connections
    for _ in range(3):
        await ask(backend)
    assert fake_ollama.connections == before


async def test_closes_the_connection_of_a_reply_it_left(
    fake_ollama: FakeOllama, backend: OllamaBackend
) -> None:
    """A reply that was left early takes its connection with it."""
    fake_ollama.replies = [["Good", HANG]]
    async with aclosing(backend.generate(make_request())) as stream:
        assert await anext(stream) == "Good"
    await fake_ollama.asked[0].aborted.wait()


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply(status=503), BackendOverloaded, "server busy, please try again"),
        (Reply(status=429), BackendOverloaded, "429"),
        (
            Reply(status=500, error="model requires more system memory"),
            BackendResponseError,
            "memory",
        ),
        (Reply(status=502), BackendUnavailable, "proxy"),
        (Reply(status=403), BackendRefused, "403"),
        (["Good", Fail("an error was encountered")], BackendResponseError, "was encountered"),
        (["Good", Raw(b"<html>\n")], BackendResponseError, "what is not a chunk: '<html>'"),
        (["Good", CUT], StreamBroken, "the connection broke inside the stream"),
        (Reply(steps=["Good"], finish=None), StreamBroken, "before the reply was done"),
        (Reply(steps=[], finish="unload"), StreamBroken, "ended the stream with 'unload'"),
        (Reply(before_headers=CUT), BackendUnavailable, "went away before it answered"),
    ],
)
async def test_what_goes_wrong_is_told(
    fake_ollama: FakeOllama,
    backend: OllamaBackend,
    reply: Any,
    error: type[Exception],
    words: str,
) -> None:
    """Every failure is its own error with the server's words, and the next turn is served."""
    # A connection that breaks before the answer is tried once more: it may have been idle.
    times = 2 if reply == Reply(before_headers=CUT) else 1
    fake_ollama.replies = [*[reply] * times, Reply()]
    with pytest.raises(error, match=words):
        await ask(backend)
    if isinstance(reply, list):
        assert not backend.replicas[0].warm(None), "what broke in the middle may have lost it"
    assert (await ask(backend))[0] == "Good evening."


async def test_another_server_is_not_taken_for_ollama(make_backend: Make) -> None:
    """An address where something else answers says to check it."""
    async with FakeOllama() as server:
        backend = make_backend(url=f"{server.url}/other", model="tiny")
        with pytest.raises(BackendRefused, match="check `url`"):
            await ask(backend)


async def test_a_full_queue_at_the_server(make_backend: Make) -> None:
    """Where `OLLAMA_MAX_QUEUE` is reached, the turn goes on down the chain."""
    async with FakeOllama(parallel=1, max_queue=1) as server:
        server.replies = [["Good", HANG]]
        backend = make_backend(url=server.url, model="tiny")
        tasks = [asyncio.create_task(ask(backend)) for _ in range(2)]
        await server.wait_running(2)
        with pytest.raises(BackendOverloaded, match="maximum pending requests exceeded"):
            await ask(backend)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_running(0)


# --- groups ---------------------------------------------------------------------------------------


async def test_without_a_setting_nothing_is_grouped(
    fake_ollama: FakeOllama, backend: OllamaBackend
) -> None:
    """Requests go as they come unless `batch_size` says otherwise."""
    held = asyncio.Event()
    fake_ollama.replies = [[held, "Good."]]
    tasks = [asyncio.create_task(ask(backend)) for _ in range(8)]
    await fake_ollama.wait_running(8)
    held.set()
    await asyncio.gather(*tasks)
    assert fake_ollama.most == 8


async def test_requests_go_in_groups(fake_ollama: FakeOllama, make_backend: Make) -> None:
    """Never more than `batch_size` are at the server, and each one that leaves makes room."""
    held = asyncio.Event()
    fake_ollama.replies = [[held, "Good."]]
    backend = make_backend(url=fake_ollama.url, model="tiny", batch_size=3, batch_window_ms=1)
    tasks = [asyncio.create_task(ask(backend, str(number))) for number in range(8)]
    await fake_ollama.wait_running(3)
    held.set()
    await asyncio.gather(*tasks)
    assert fake_ollama.most == 3
    assert len(fake_ollama.asked) == 8


async def test_one_persona_after_the_other(make_backend: Make) -> None:
    """A server that works off one by one gets all of a persona's turns before another's."""
    async with FakeOllama(parallel=1) as server:
        held = asyncio.Event()
        server.replies = [[held, "Good."]]
        backend = make_backend(url=server.url, model="tiny", batch_size=1)
        tasks = []
        for number in range(6):
            messages = [Message("system", f"persona {number % 2}"), Message("user", str(number))]
            tasks.append(asyncio.create_task(ask(backend, messages=messages)))
        await server.wait_asked()
        held.set()
        await asyncio.gather(*tasks)
        assert [asked.last for asked in server.asked] == ["0", "2", "4", "1", "3", "5"]


async def test_rank_holds_for_those_who_wait(make_backend: Make) -> None:
    """With a window, too, the lowest tier is turned away, and the rest wait in the lane."""
    async with FakeOllama(parallel=1) as server:
        held = asyncio.Event()
        server.replies = [[held, "Good."]]
        backend = make_backend(url=server.url, model="tiny", batch_size=1, queue=3)
        lane = make_chain(backend).entries["local"].servers[0].lane
        turned_away = []

        async def one(number: int, rank: int) -> None:
            try:
                await lane.enter(Urgency(0, rank, f"player {number}"))
            except BackendOverloaded:
                turned_away.append(number)
                return
            try:
                await ask(backend, str(number))
            finally:
                lane.leave()

        tasks = [asyncio.create_task(one(number, 1)) for number in range(8)]
        await server.wait_asked()
        assert (lane.active, lane.waiting) == (5, 3)
        tasks.append(asyncio.create_task(one(8, 9)))
        await tasks[7]
        held.set()
        await asyncio.gather(*tasks)
        assert turned_away == [7]
        assert len(server.asked) == 8


async def test_who_waits_for_a_group_can_be_given_up(
    fake_ollama: FakeOllama, make_backend: Make
) -> None:
    """Turns that were cancelled while they waited never reach the server."""
    fake_ollama.replies = [["Good", HANG], Reply()]
    backend = make_backend(url=fake_ollama.url, model="tiny", batch_size=1)
    tasks = [asyncio.create_task(ask(backend, str(number))) for number in range(5)]
    await fake_ollama.wait_asked()
    for task in tasks[1:4]:
        task.cancel()
    tasks[0].cancel()
    await asyncio.gather(*tasks[:4], return_exceptions=True)
    assert (await tasks[4])[0] == "Good evening."
    assert [asked.last for asked in fake_ollama.asked] == ["0", "4"]


# --- several servers ------------------------------------------------------------------------------


async def test_each_server_is_a_replica(fake_ollama: FakeOllama, make_backend: Make) -> None:
    """The chain sees the servers one by one, by their addresses."""
    async with FakeOllama() as other:
        backend = make_backend(urls=[fake_ollama.url, other.url], model="tiny")
        await backend.start()
        replicas = replicas_of(backend)
        assert [one.name for one in replicas] == [fake_ollama.url, other.url]
        second = backend.replicas[1]
        assert (await ask(second))[0] == "Good evening."
        assert second.warm(None)
        assert (len(fake_ollama.asked), len(other.asked)) == (0, 1)


async def test_asks_the_next_server_where_one_is_away(
    fake_ollama: FakeOllama, make_backend: Make, reports: list[str]
) -> None:
    """With several servers one that is away or full costs no turn, also without a chain."""
    async with FakeOllama() as full:
        full.replies = [Reply(status=503)]
        urls = [f"http://127.0.0.1:{free_port()}", full.url, fake_ollama.url]
        backend = make_backend(urls=urls, model="tiny")
        await backend.start()
        for _ in range(4):
            assert (await ask(backend))[0] == "Good evening."
    assert len(reports) == 1
    assert len(fake_ollama.asked) == 4


async def test_all_servers_away_is_an_error_that_says_what_to_do(make_backend: Make) -> None:
    """When nobody answers the error tells where, and how a server is started."""
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(BackendUnavailable, match="`ollama serve` starts it"):
        await ask(make_backend(urls=urls))


async def test_health_tells_of_every_server(fake_ollama: FakeOllama, make_backend: Make) -> None:
    """One server that is well is enough; each has its line."""
    backend = make_backend(
        urls=[fake_ollama.url, f"http://127.0.0.1:{free_port()}"], model="tiny", preload=False
    )
    health = await backend.health()
    assert health.ok
    assert "Ollama 0.12.6" in health.detail
    assert "tiny (on disk)" in health.detail
    assert "cannot connect" in health.detail
    await ask(backend)
    assert "tiny (loaded)" in (await backend.health()).detail


async def test_lists_what_speaks(fake_ollama: FakeOllama, backend: OllamaBackend) -> None:
    """Models for embeddings are not listed; the one in use is the first."""
    fake_ollama.models = {
        "embed:latest": FakeModel(capabilities=("embedding",)),
        "other:1b": FakeModel(),
        **fake_ollama.models,
    }
    assert [model.name for model in await backend.models()] == ["tiny", "other:1b"]


async def test_the_deadline_holds_while_the_server_reads(
    fake_ollama: FakeOllama, backend: OllamaBackend
) -> None:
    """Ollama sends no headers before the first token; the deadline ends that wait too."""
    fake_ollama.replies = [Reply(before_headers=HANG)]
    deadline = asyncio.get_running_loop().time() + 0.2
    with pytest.raises(BackendTimeout):
        await ask(backend, deadline=deadline)
    await fake_ollama.wait_running(0)
