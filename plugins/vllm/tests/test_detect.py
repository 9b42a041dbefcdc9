import pytest
from aiohttp import web

from palaver.testing.fake_vllm import FakeVllm
from palaver.testing.fake_vllm_lab import free_port
from palaver_vllm import detect as detecting
from palaver_vllm.detect import detect


async def test_finds_a_vllm_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers as vLLM is found, with the name of its base model."""
    monkeypatch.setattr(detecting, "DETECT_S", 20)
    async with FakeVllm(model="tiny", adapters={"vampire@1": "/vampire"}) as server:
        found = await detect(server.url)
        assert found is not None
        assert (found.addresses, found.model) == ([server.url], "tiny")


async def test_finds_nothing_where_nobody_listens() -> None:
    """A free port is no server."""
    assert await detect(f"http://127.0.0.1:{free_port()}") is None


async def test_takes_no_other_server_for_vllm() -> None:
    """A server that lists models but is not vLLM is left alone."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/version":
            return web.json_response({"version": "1.0"})
        return web.json_response({"data": [{"id": "llama", "owned_by": "library"}]})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        assert await detect(f"http://127.0.0.1:{runner.addresses[0][1]}") is None
    finally:
        await runner.cleanup()
