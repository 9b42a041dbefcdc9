import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from palaver.chain import stream
from palaver.chain.backend import Finish, Sampling
from palaver.errors import (
    BackendOverloaded,
    BackendResponseError,
    BackendTimeout,
    BackendUnavailable,
    ModelNotFound,
)
from palaver.testing.fake_vllm import HANG, FakeVllm, Reply
from palaver.testing.fake_vllm_lab import free_port
from palaver.testing.turns import make_request
from palaver_vllm.backend import VllmBackend

Make = Callable[..., VllmBackend]


async def ask(backend: VllmBackend, **fields: Any) -> tuple[str, Finish]:
    """Return what a backend says, and how it ends."""
    async with aclosing(backend.generate(make_request(**fields))) as stream:
        *pieces, finish = [piece async for piece in stream]
    assert isinstance(finish, Finish)
    return "".join(map(str, pieces)), finish


async def test_asks_for_what_is_wanted(fake_vllm: FakeVllm, backend: VllmBackend) -> None:
    """Sampling, stop strings, seed and schema go out in vLLM's fields, and nothing else."""
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=40, stop=("\n", "Anna:"))
    schema = {"type": "object"}
    await ask(backend, sampling=sampling, seed=7, priority=2, schema=schema)
    body = fake_vllm.asked[0].body
    assert body.pop("messages") == [
        {"role": "system", "content": "You are Valerius, a vampire. You answer in one sentence."},
        {"role": "user", "content": "Who are you?"},
    ]
    assert body == {
        "model": "base",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 40,
        "stop": ["\n", "Anna:"],
        "seed": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": schema, "strict": True},
        },
    }


async def test_leaves_out_what_is_not_wanted(fake_vllm: FakeVllm, backend: VllmBackend) -> None:
    """What the request leaves to the backend is not sent at all."""
    await ask(backend, sampling=Sampling())
    assert set(fake_vllm.asked[0].body) == {"model", "messages", "stream", "stream_options"}


async def test_sends_priority_only_where_it_counts(fake_vllm: FakeVllm, make_backend: Make) -> None:
    """The priority goes to servers that schedule by it."""
    await ask(make_backend(url=fake_vllm.url, priority=True), priority=2)
    assert fake_vllm.asked[0].body["priority"] == 2


async def test_extra_fields_do_not_replace_the_personas(
    fake_vllm: FakeVllm, make_backend: Make
) -> None:
    """`extra_body` fills in what nothing else sets."""
    extra = {"repetition_penalty": 1.1, "temperature": 1.5}
    backend = make_backend(url=fake_vllm.url, extra_body=extra)
    await ask(backend, sampling=Sampling(temperature=0.2))
    body = fake_vllm.asked[0].body
    assert (body["repetition_penalty"], body["temperature"]) == (1.1, 0.2)


async def test_continues_what_was_shown(fake_vllm: FakeVllm, backend: VllmBackend) -> None:
    """Text that the player has read is continued as the assistant's own message."""
    await ask(backend, shown="The night is long…")
    body = fake_vllm.asked[0].body
    assert body["messages"][-1] == {"role": "assistant", "content": "The night is long…"}
    assert body["continue_final_message"] is True
    assert body["add_generation_prompt"] is False


async def test_learns_model_and_context_from_the_server(
    fake_vllm: FakeVllm, make_backend: Make
) -> None:
    """Without settings the served base model and its context window are used."""
    fake_vllm.model = "tiny"
    backend = make_backend(url=fake_vllm.url)
    assert backend.settings.context_tokens is None
    await backend.start()
    assert backend.settings.context_tokens == 1024
    assert (await ask(backend))[1].model == "tiny"
    fixed = make_backend(url=fake_vllm.url, context_tokens=300)
    await fixed.start()
    assert fixed.settings.context_tokens == 300


async def test_a_wrong_model_is_named(fake_vllm: FakeVllm, make_backend: Make) -> None:
    """The error for a model that is not served tells what is."""
    with pytest.raises(ModelNotFound, match="serves base, not 'elf'; set `model`"):
        await ask(make_backend(url=fake_vllm.url, model="elf"))
    assert fake_vllm.asked == []


async def test_sends_its_key(
    make_backend: Make, monkeypatch: pytest.MonkeyPatch, reports: list[str]
) -> None:
    """The key comes from the environment, and a missing one is reported by its variable."""
    monkeypatch.setenv("TEST_VLLM_KEY", "secret")
    async with FakeVllm(api_key="secret") as server:
        backend = make_backend(url=server.url, api_key_env="TEST_VLLM_KEY")
        await backend.start()
        assert (await ask(backend))[0] == "Good evening."
        assert reports == []
        monkeypatch.delenv("TEST_VLLM_KEY")
        await make_backend(url=server.url, api_key_env="TEST_VLLM_KEY").start()
    assert "TEST_VLLM_KEY" in reports[0]
    assert not any("secret" in line for line in reports)


async def test_uses_no_proxy(
    fake_vllm: FakeVllm, make_backend: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxy variables of the environment do not lead a turn anywhere else."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert (await ask(make_backend(url=fake_vllm.url)))[0] == "Good evening."


async def test_uses_a_connection_again(
    fake_vllm: FakeVllm, backend: VllmBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a whole reply the next turn needs no new connection."""
    monkeypatch.setattr(stream, "DRAIN_S", 20)
    for _ in range(3):
        await ask(backend)
    assert fake_vllm.connections == 1


async def test_closes_the_connection_of_a_reply_it_left(
    fake_vllm: FakeVllm, backend: VllmBackend
) -> None:
    """A reply that was left early takes its connection with it."""
    fake_vllm.replies = [["Good", HANG]]
    async with aclosing(backend.generate(make_request())) as stream:
        assert await anext(stream) == "Good"
    await asyncio.wait_for(fake_vllm.asked[0].aborted.wait(), 20)


async def test_shows_each_server_to_the_chain(fake_vllm: FakeVllm, make_backend: Make) -> None:
    """With several servers the chain chooses: each has its name and streams its own replies."""
    async with FakeVllm() as other:
        backend = make_backend(urls=[fake_vllm.url, other.url])
        await backend.start()
        assert [replica.name for replica in backend.replicas] == [fake_vllm.url, other.url]
        stream = backend.replicas[1].generate(make_request())
        assert "".join([one async for one in stream if isinstance(one, str)]) == "Good evening."
        assert (len(fake_vllm.asked), len(other.asked)) == (0, 1)


async def test_finds_a_server_that_comes_later(make_backend: Make) -> None:
    """A server that is away at the start is used as soon as it is there."""
    server = FakeVllm(port=free_port())
    backend = make_backend(url=server.url)
    await backend.start()
    with pytest.raises(BackendUnavailable):
        await ask(backend)
    async with server:
        assert (await ask(backend))[0] == "Good evening."
        assert backend.settings.context_tokens == 1024


async def test_connecting_has_a_limit(make_backend: Make) -> None:
    """A machine that does not answer at all is given up after `connect_ms`."""
    with socket.socket() as listener:
        # A listener whose queue is full drops every further attempt, as a firewall does.
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(listener.getsockname())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            backend = make_backend(url=url, connect_ms=60, model="base")
            with pytest.raises(BackendTimeout) as caught:
                await ask(backend)
            assert caught.value.phase == "connect"
            assert caught.value.limit_s == 0.06
        finally:
            for one in waiting:
                one.close()


async def test_a_queue_that_is_full_may_name_a_date(
    fake_vllm: FakeVllm, backend: VllmBackend
) -> None:
    """`Retry-After` may be a date; one that is over means now."""
    fake_vllm.replies = [Reply(status=429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")]
    with pytest.raises(BackendOverloaded) as caught:
        await ask(backend)
    assert (caught.value.status_code, caught.value.retry_after_s) == (429, 0)


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    """Serve every request with one handler; yields the address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_follows_no_redirect(fake_vllm: FakeVllm, make_backend: Make) -> None:
    """A redirect is an error that names where it leads, and nobody goes there."""

    async def handler(_request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"{fake_vllm.url}/v1/models")

    async with serving(handler) as url:
        with pytest.raises(BackendResponseError, match="redirected"):
            await ask(make_backend(url=url))
    assert fake_vllm.calls == []


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(web.Response, id="empty"),
        pytest.param(lambda: web.Response(text="<html>", content_type="text/html"), id="page"),
        pytest.param(lambda: web.json_response({"data": [{"name": "x"}]}), id="other json"),
        pytest.param(lambda: web.json_response({"choices": []}), id="no stream"),
    ],
)
async def test_what_is_not_vllm_is_told_apart(
    make_backend: Make, response: Callable[[], web.Response]
) -> None:
    """A server of another kind is an error that says so, whatever it answers."""
    for lists in (False, True):

        async def handle(request: web.Request, lists: bool = lists) -> web.Response:
            if lists and request.path == "/v1/models":
                return web.json_response({"data": [{"id": "base"}]})
            return response()

        async with serving(handle) as url:
            with pytest.raises(BackendResponseError):
                await ask(make_backend(url=url))


async def test_a_server_that_closes_an_idle_connection_costs_no_turn(make_backend: Make) -> None:
    """A request that meets the closing of an idle connection is sent again on a new one."""
    stream = (
        b'data: {"choices": [{"delta": {"content": "Good."}, "finish_reason": "stop"}]}\n\n'
        b"data: [DONE]\n\n"
    )
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Content-Length: %d\r\n\r\n" % len(stream)
    )
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        for turn in range(2):
            request = await reader.readuntil(b"\r\n\r\n")
            asked += 1
            if turn == 1:
                break
            length = next(
                int(line.split(b":")[1])
                for line in request.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            writer.write(head + stream)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        backend = make_backend(url=f"http://127.0.0.1:{port}", model="base")
        backend.replicas[0].known = True
        assert (await ask(backend))[0] == "Good."
        assert (await ask(backend))[0] == "Good."
        assert asked == 3
        await backend.close()
