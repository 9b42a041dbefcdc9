import pytest
from aiohttp import web

from palaver.testing.fake_ollama import FakeModel, FakeOllama
from palaver.testing.fake_vllm import FakeVllm
from palaver.testing.fake_vllm_lab import free_port
from palaver_ollama import detect as detecting
from palaver_ollama.detect import detect


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a busy machine time to answer."""
    monkeypatch.setattr(detecting, "DETECT_S", 20)


async def test_finds_an_ollama_server() -> None:
    """A server that answers as Ollama is found, with the model that was changed last."""
    models = {"embed:latest": FakeModel(capabilities=("embedding",)), "tiny:latest": FakeModel()}
    async with FakeOllama({**models, "other:1b": FakeModel()}) as server:
        found = await detect(server.url)
        assert found is not None
        assert (found.addresses, found.model) == ([server.url], "tiny:latest")


async def test_an_older_server_does_not_say_what_a_model_can() -> None:
    """Models for embeddings are known by their family, where the server tells no more."""
    models = {
        "embed:latest": FakeModel(capabilities=None, family="nomic-bert"),
        "tiny:latest": FakeModel(capabilities=None),
    }
    async with FakeOllama(models) as server:
        found = await detect(server.url)
        assert found is not None
        assert found.model == "tiny:latest"


async def test_leaves_a_server_without_models_alone() -> None:
    """An Ollama that has nothing to speak with is of no use."""
    async with FakeOllama({}) as server:
        assert await detect(server.url) is None


async def test_finds_nothing_where_nobody_listens() -> None:
    """A free port is no server."""
    assert await detect(f"http://127.0.0.1:{free_port()}") is None


async def test_takes_no_other_server_for_ollama() -> None:
    """Neither a vLLM nor a page that answers everything is an Ollama."""
    async with FakeVllm() as vllm:
        assert await detect(vllm.url) is None

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        assert await detect(f"http://127.0.0.1:{runner.addresses[0][1]}") is None
    finally:
        await runner.cleanup()
