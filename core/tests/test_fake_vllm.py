import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from palaver.testing.fake_vllm import CUT, HANG, Fail, FakeVllm, Raw, Reply

MESSAGES = [{"role": "user", "content": "Who are you?"}]


class Client:
    """A plain client, as naive as can be."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    def chat(self, **body: Any) -> Any:
        body = {"model": "base", "messages": MESSAGES, "stream": True, **body}
        return self.session.post(f"{self.url}/v1/chat/completions", json=body)

    async def events(self, **body: Any) -> list[Any]:
        async with self.chat(**body) as reply:
            assert reply.status == 200
            text = (await reply.read()).decode()
        events = [event for event in text.split("\n\n") if event]
        return [e if e == "data: [DONE]" else json.loads(e.removeprefix("data: ")) for e in events]

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if text.startswith("{") else text

    async def get(self, path: str) -> str:
        async with self.session.get(self.url + path) as reply:
            return await reply.text()

    async def gauge(self, name: str) -> float:
        lines = (await self.get("/metrics")).splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest_asyncio.fixture
async def client(fake_vllm: FakeVllm) -> AsyncIterator[Client]:
    """Return a client of the fake server."""
    async with aiohttp.ClientSession() as session:
        yield Client(session, fake_vllm.url)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Return a folder that looks like an adapter of rank 8."""
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    return tmp_path


async def test_streams_as_vllm_does(client: Client) -> None:
    """The first chunk has no text, the last one the finish reason, then come usage and [DONE]."""
    events = await client.events(stream_options={"include_usage": True})
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    texts = [event["choices"][0]["delta"]["content"] for event in events[1:4]]
    assert "".join(texts) == "Good evening."
    assert events[4]["choices"][0]["finish_reason"] == "stop"
    assert events[5]["choices"] == []
    assert events[5]["usage"]["completion_tokens"] == 3
    assert events[6] == "data: [DONE]"


async def test_stops_at_limits(client: Client) -> None:
    """A reply ends at `max_tokens` with `length` and before a stop string with `stop`."""
    long = await client.events(max_tokens=2)
    assert long[-2]["choices"][0]["finish_reason"] == "length"
    assert [event["choices"][0]["delta"]["content"] for event in long[:-1]] == [
        "",
        "Good",
        " evening",
    ]
    stopped = await client.events(stop=["ven"])
    last = stopped[-2]["choices"][0]
    assert last["delta"]["content"] == " e"
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", "ven")


async def test_ways_to_go_wrong_inside_a_stream(fake_vllm: FakeVllm, client: Client) -> None:
    """An error event, garbage and a missing finish reason all come under status 200."""
    fake_vllm.replies = [["Good", Fail()], ["Good", Raw(b"data: nonsense\n\n")], Reply(finish=None)]
    failed = await client.events()
    assert failed[2]["error"]["code"] == 500
    assert failed[3] == "data: [DONE]"
    with pytest.raises(ValueError, match="Expecting value"):
        await client.events()
    assert (await client.events())[-2]["choices"][0]["finish_reason"] is None


async def test_breaks_the_connection(fake_vllm: FakeVllm, client: Client) -> None:
    """A connection can break in the middle of a stream and before the headers."""
    fake_vllm.replies = [["Good", CUT], Reply(before_headers=CUT)]
    with pytest.raises(aiohttp.ClientError):
        await client.events()
    with pytest.raises(aiohttp.ClientError):
        await client.events()


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(before_headers=HANG), id="before the headers"),
        pytest.param(Reply(steps=[HANG]), id="after the headers"),
        pytest.param(Reply(steps=["Good", HANG]), id="in the middle"),
    ],
)
async def test_a_client_that_leaves_aborts(
    fake_vllm: FakeVllm, client: Client, reply: Reply
) -> None:
    """Closing the connection ends the generation, and the fake says so."""
    fake_vllm.replies = [reply]
    task = asyncio.ensure_future(client.events())
    asked = await fake_vllm.wait_asked()
    assert await client.gauge("vllm:num_requests_running") == 1
    task.cancel()
    await asked.aborted.wait()
    await fake_vllm.wait_running(0)
    assert await client.gauge("vllm:num_requests_running") == 0


async def test_refuses(fake_vllm: FakeVllm, client: Client) -> None:
    """Statuses come with vLLM's error JSON and the headers of the script."""
    fake_vllm.replies = [Reply(status=503, retry_after="2"), Reply(status=429)]
    async with client.chat() as reply:
        assert reply.status == 503
        assert reply.headers["Retry-After"] == "2"
        assert (await reply.json())["error"]["code"] == 503
    async with client.chat() as reply:
        assert reply.status == 429


async def test_says_what_is_missing(client: Client) -> None:
    """An unknown model is 404 and a prompt beyond the window 400, in vLLM's words."""
    status, body = await client.post("/v1/chat/completions", model="elf", messages=MESSAGES)
    assert (status, body["error"]["type"]) == (404, "NotFoundError")
    assert body["error"]["message"] == "The model `elf` does not exist. Valid aliases: base."
    long = [{"role": "user", "content": "x" * 5000}]
    status, body = await client.post("/v1/chat/completions", model="base", messages=long)
    assert (status, body["error"]["param"]) == (400, "input_tokens")
    assert (await client.post("/v1/nothing"))[0] == 404


async def test_adapters_keep_vllms_rules(
    fake_vllm: FakeVllm, client: Client, adapter: Path
) -> None:
    """Loading twice is refused, a missing folder is 404, unloading drops only the name."""
    body = {"lora_name": "vampire@1", "lora_path": str(adapter)}
    assert await client.post("/v1/load_lora_adapter", **body) == (
        200,
        "Success: LoRA adapter 'vampire@1' added successfully.",
    )
    status, again = await client.post("/v1/load_lora_adapter", **body)
    assert (status, again["error"]["type"]) == (400, "InvalidUserInput")
    cards = json.loads(await client.get("/v1/models"))["data"]
    assert [(c["id"], c["parent"], c["max_model_len"]) for c in cards] == [
        ("base", None, 1024),
        ("vampire@1", "base", None),
    ]
    events = await client.events(model="vampire@1")
    assert events[0]["model"] == "vampire@1"
    assert 'running_lora_adapters="vampire@1"' in await client.get("/metrics")
    assert (await client.post("/v1/unload_lora_adapter", lora_name="vampire@1"))[0] == 200
    assert fake_vllm.adapters.resident == {str(adapter): None}
    assert (await client.post("/v1/unload_lora_adapter", lora_name="vampire@1"))[0] == 404
    missing = {"lora_name": "elf@1", "lora_path": str(adapter / "no")}
    assert (await client.post("/v1/load_lora_adapter", **missing))[0] == 404


async def test_loading_pauses_every_stream(
    fake_vllm: FakeVllm, client: Client, adapter: Path
) -> None:
    """While an adapter is read no stream of the server moves."""
    held, loading = asyncio.Event(), asyncio.Event()
    fake_vllm.replies = [["Good", held, " evening"]]
    fake_vllm.load_hold = loading
    stream = asyncio.ensure_future(client.events())
    asked = await fake_vllm.wait_asked()
    load = asyncio.ensure_future(
        client.post("/v1/load_lora_adapter", lora_name="a@1", lora_path=str(adapter))
    )
    await fake_vllm.until(lambda: "POST /v1/load_lora_adapter" in fake_vllm.calls)
    held.set()
    await fake_vllm.until(lambda: asked.sent == "Good evening")
    assert not (await asyncio.wait([stream], timeout=0.02))[0]
    loading.set()
    assert (await load)[0] == 200
    assert len(await stream) == 5


async def test_more_adapters_than_slots_wait(client: Client, fake_vllm: FakeVllm) -> None:
    """A stream of one adapter too many begins when a slot is free."""
    held = asyncio.Event()
    async with FakeVllm(max_loras=1, adapters={"a@1": "/a", "b@1": "/b"}) as server:
        server.replies = [["A", held], ["B"]]
        one = Client(client.session, server.url)
        first = asyncio.ensure_future(one.events(model="a@1"))
        await server.wait_asked()
        second = asyncio.ensure_future(one.events(model="b@1"))
        asked = await server.wait_asked(2)
        assert not (await asyncio.wait([second], timeout=0.02))[0]
        assert asked.sent == ""
        held.set()
        await asyncio.gather(first, second)


async def test_counts_prefix_hits_by_adapter(client: Client) -> None:
    """The same beginning is found again, but not under another model name."""
    prompt = [{"role": "user", "content": "x" * 640}]
    await client.events(messages=prompt)
    assert await client.gauge("vllm:prefix_cache_hits_total") == 0
    await client.events(messages=prompt)
    assert await client.gauge("vllm:prefix_cache_hits_total") == 160
    assert await client.gauge("vllm:prefix_cache_queries_total") == 322


async def test_asks_for_its_key(client: Client) -> None:
    """With a key `/v1` is closed and `/health` is open."""
    async with FakeVllm(api_key="secret") as server:
        one = Client(client.session, server.url)
        assert await one.post("/v1/chat/completions") == (401, {"error": "Unauthorized"})
        assert await one.get("/health") == ""


async def test_splits_bytes(fake_vllm: FakeVllm, client: Client) -> None:
    """Bytes can be split anywhere and arrive whole."""
    fake_vllm.replies = [Reply(steps=["Blut — 血"], split_bytes=1, newline="\r\n", comments=True)]
    async with client.chat() as reply:
        text = (await reply.read()).decode()
    assert "Blut — 血" in text
    assert text.startswith(": keep-alive\r\n\r\ndata: {")


async def test_can_go_away_and_come_back(client: Client) -> None:
    """After a restart on the same port the adapters that were loaded are gone."""
    server = FakeVllm(adapters={"a@1": "/a"})
    await server.start()
    one = Client(client.session, server.url)
    server.adapters.load("b@1", "/b")
    await server.stop()
    await server.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await one.get("/health")
    await server.start()
    cards = json.loads(await one.get("/v1/models"))["data"]
    assert [card["id"] for card in cards] == ["base", "a@1"]
    await server.stop()
