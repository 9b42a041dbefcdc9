"""The backend on real sockets: keys, what it learns, how it ends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from palaver.chain.backend import BackendType, Finish, Sampling
from palaver.errors import (
    BackendOverloaded,
    BackendRefused,
    BackendResponseError,
    BackendTimeout,
    BackendUnauthorized,
    BackendUnavailable,
    ModelNotFound,
)
from palaver.testing.fake_cloud import HANG, FakeCloud, Raw, Reply, Thought
from palaver.testing.fake_vllm_lab import free_port
from palaver.testing.scripted import Pause
from palaver.testing.turns import make_request
from palaver_cloud import call, palaver_register_backends
from palaver_cloud.backend import CloudBackend
from palaver_cloud.gemini_stream import GeminiReader
from palaver_cloud.providers import PROVIDERS
from palaver_cloud.sse import Reader

Make = Callable[..., CloudBackend]
each_provider = pytest.mark.parametrize("provider", PROVIDERS)
KEY = "sk-a-very-secret-key"


async def ask(backend: CloudBackend, **fields: Any) -> tuple[str, Finish]:
    """Return what a backend says, and how it ends."""
    async with aclosing(backend.generate(make_request(**fields))) as stream:
        *pieces, finish = [piece async for piece in stream]
    assert isinstance(finish, Finish)
    return "".join(map(str, pieces)), finish


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a variable that holds a key."""
    monkeypatch.setenv("TEST_CLOUD_KEY", KEY)
    return "TEST_CLOUD_KEY"


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    """Serve every request with one handler; yields the address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def test_its_type_costs_money_and_names_its_address() -> None:
    """The type tells the core what ceilings and trust need to know."""
    types: list[BackendType] = []
    palaver_register_backends(types.append)
    (kind,) = types
    assert (kind.name, kind.paid, kind.addresses) == ("cloud", True, frozenset({"url"}))


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "header", "value"),
    [
        ("openai", "Authorization", f"Bearer {KEY}"),
        ("anthropic", "x-api-key", KEY),
        ("gemini", "x-goog-api-key", KEY),
    ],
)
async def test_sends_its_key_in_the_providers_header(
    make_backend: Make, key: str, reports: list[str], provider: str, header: str, value: str
) -> None:
    """The key is in one header, and in nothing else that is sent, said or shown."""
    async with FakeCloud(provider, api_key=KEY) as server:
        backend = make_backend(provider, url=server.url, api_key_env=key)
        await backend.start()
        assert (await ask(backend))[0] == "Good evening."
        (asked,) = server.asked
    headers = {name.lower(): text for name, text in asked.headers.items()}
    assert headers.pop(header.lower()) == value
    assert KEY not in f"{headers}{asked.body}{server.calls}"
    assert reports == []
    assert KEY not in f"{backend!r}{backend.settings!r}{vars(backend)}"
    assert ("anthropic-version" in headers) == (provider == "anthropic")


async def test_a_header_of_its_own(make_backend: Make, key: str) -> None:
    """A compatible server may want its key elsewhere, as Azure does."""
    async with FakeCloud("openai") as server:
        await ask(make_backend(url=server.url, api_key_env=key, key_header="api-key"))
        headers = server.asked[0].headers
    assert headers["api-key"] == KEY
    assert "Authorization" not in headers


@each_provider
async def test_a_wrong_key_is_told_without_it(
    make_backend: Make, key: str, provider: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that repeats the key in its error does not bring it into ours, or into a log."""
    caplog.set_level(logging.DEBUG)
    async with FakeCloud(provider, api_key="another") as server:
        backend = make_backend(provider, url=server.url, api_key_env=key)
        with pytest.raises(BackendUnauthorized, match="TEST_CLOUD_KEY") as caught:
            await ask(backend)
        health = await backend.health()
    error = caught.value
    assert KEY not in f"{error}{error!r}{vars(error)}{error.__cause__!r}{health}{caplog.text}"
    assert not health.ok


@each_provider
@pytest.mark.parametrize("value", [None, "", " \n", "schlüssel", "a\nb"])
async def test_without_a_key_no_connection_is_opened(
    make_backend: Make, monkeypatch: pytest.MonkeyPatch, provider: str, value: str | None
) -> None:
    """A key that is not there is an error that names its variable, and nothing is asked."""
    monkeypatch.delenv("TEST_CLOUD_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_CLOUD_KEY", value)
    async with FakeCloud(provider) as server:
        backend = make_backend(provider, url=server.url, api_key_env="TEST_CLOUD_KEY")
        await backend.start()
        for _ in range(3):
            with pytest.raises(BackendUnauthorized, match="TEST_CLOUD_KEY"):
                await ask(backend)
        health = await backend.health()
        with pytest.raises(BackendUnauthorized):
            await backend.models()
        assert (server.calls, server.connections) == ([], 0)
    assert not health.ok


async def test_a_key_may_end_with_a_line(
    make_backend: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was read from a file with its last line break is still the key."""
    monkeypatch.setenv("TEST_CLOUD_KEY", f"{KEY}\n")
    async with FakeCloud("openai", api_key=KEY) as server:
        assert await ask(make_backend(url=server.url, api_key_env="TEST_CLOUD_KEY"))


@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("gemini", "GEMINI_API_KEY"),
    ],
)
async def test_the_providers_key_goes_to_the_provider_only(
    make_backend: Make, monkeypatch: pytest.MonkeyPatch, provider: str, variable: str
) -> None:
    """A key that was set for the provider's own server is not sent to another `url`."""
    monkeypatch.setenv(variable, KEY)
    async with FakeCloud(provider) as server:
        assert await ask(make_backend(provider, url=server.url))
        assert KEY not in str(server.asked[0].headers)
    monkeypatch.delenv(variable)
    with pytest.raises(BackendUnauthorized, match=variable):
        await ask(make_backend(provider))
    with pytest.raises(BackendUnauthorized, match=variable):
        await ask(make_backend(provider, url=PROVIDERS[provider].host))


@each_provider
async def test_follows_no_redirect(make_backend: Make, key: str, provider: str) -> None:
    """A redirect is an error that names where it leads, and no key goes there."""
    async with FakeCloud(provider) as elsewhere:

        async def handler(_request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(f"{elsewhere.url}/models")

        async with serving(handler) as url:
            backend = make_backend(provider, url=url, api_key_env=key)
            with pytest.raises(BackendResponseError, match="redirected"):
                await ask(backend)
            assert not (await backend.health()).ok
        assert elsewhere.calls == []


async def test_a_local_server_needs_no_key(make_backend: Make, reports: list[str]) -> None:
    """Any compatible address works without a key and without a word about one."""
    async with FakeCloud("openai") as server:
        backend = make_backend(url=f"http://127.0.0.1:{server.port}")
        await backend.start()
        assert (await ask(backend))[0] == "Good evening."
        assert "Authorization" not in server.asked[0].headers
    assert reports == []


@each_provider
async def test_starting_opens_no_connection(make_backend: Make, provider: str) -> None:
    """A backend that is never used never connects, as `spend.mode = "off"` promises."""
    async with FakeCloud(provider) as server:
        backend = make_backend(provider, url=server.url)
        await backend.start()
        await backend.close()
        assert (server.calls, server.connections) == ([], 0)


# --- replies -------------------------------------------------------------------------------------


@each_provider
async def test_thoughts_are_not_spoken(make_backend: Make, provider: str) -> None:
    """Only words are passed on, and the finish tells model and counts."""
    async with FakeCloud(provider) as server:
        server.replies = [[Thought("Hm."), "Good", Thought("So?"), " evening.", Thought("!")]]
        said, finish = await ask(make_backend(provider, url=server.url))
    assert said == "Good evening."
    assert finish.model is not None
    assert finish.model.startswith("base-")
    assert (finish.completion_tokens, finish.cached_tokens) == (2, 2)


@each_provider
async def test_connections_are_used_again(make_backend: Make, provider: str) -> None:
    """After a whole reply the next turn needs no new connection."""
    async with FakeCloud(provider) as server:
        backend = make_backend(provider, url=server.url)
        for _ in range(3):
            await ask(backend)
        assert server.connections == 1


@each_provider
async def test_a_reply_that_was_left_takes_its_connection_with_it(
    make_backend: Make, provider: str
) -> None:
    """Closing the generator closes the socket, and the provider stops."""
    async with FakeCloud(provider) as server:
        server.replies = [["Good", HANG]]
        backend = make_backend(provider, url=server.url)
        async with aclosing(backend.generate(make_request())) as stream:
            assert await anext(stream) == "Good"
        await asyncio.wait_for(server.asked[0].aborted.wait(), 20)


@each_provider
async def test_a_cancelled_turn_closes_its_socket(make_backend: Make, provider: str) -> None:
    """Cancelling whoever waits for the first word ends the request at the provider."""
    async with FakeCloud(provider) as server:
        server.replies = [[HANG]]
        task = asyncio.create_task(ask(make_backend(provider, url=server.url)))
        async with asyncio.timeout(20):
            await server.until(lambda: server.running == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.asked[0].aborted.wait()
            await server.until(lambda: server.running == 0)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
async def test_nobody_waits_for_the_count(
    make_backend: Make, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs after its finish reason has given a whole reply."""
    monkeypatch.setattr(Reader, "end_s", 0.05)
    monkeypatch.setattr(GeminiReader, "end_s", 0.05)
    async with FakeCloud(provider) as server:
        words = server.words("base")
        finish = words.last("stop").encode()
        server.replies = [["Good evening.", Raw(finish), HANG]]
        said, ended = await ask(make_backend(provider, url=server.url))
        await asyncio.wait_for(server.asked[0].aborted.wait(), 20)
    assert (said, ended.reason) == ("Good evening.", "stop")


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
async def test_pings_after_the_end_hold_up_nobody(
    make_backend: Make, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that goes on with pings after its finish reason has given a whole reply."""
    monkeypatch.setattr(Reader, "end_s", 0.2)
    monkeypatch.setattr(GeminiReader, "end_s", 0.2)
    async with FakeCloud(provider) as server:
        finish = server.words("base").last("stop").encode()
        # Without an end, and each well within the limit.
        pings = [Pause(1), Raw(b": ping\n\n")] * 10_000
        server.replies = [["Good evening.", Raw(finish), *pings]]
        said, ended = await ask(make_backend(provider, url=server.url))
        await asyncio.wait_for(server.asked[0].aborted.wait(), 20)
    assert (said, ended.reason) == ("Good evening.", "stop")


@each_provider
async def test_cancelling_before_the_headers_closes_the_socket(
    make_backend: Make, provider: str
) -> None:
    """A provider that has not even begun to answer is left at once, too."""
    async with FakeCloud(provider) as server:
        server.replies = [Reply(before_headers=HANG)]
        task = asyncio.create_task(ask(make_backend(provider, url=server.url)))
        async with asyncio.timeout(20):
            await server.until(lambda: server.running == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.asked[0].aborted.wait()


@each_provider
async def test_a_reply_that_is_withheld_is_a_refusal(make_backend: Make, provider: str) -> None:
    """A filter before the first word is an error, so that another backend speaks."""
    async with FakeCloud(provider) as server:
        server.replies = [Reply(steps=[], finish="filter")]
        with pytest.raises(BackendRefused, match="withholds"):
            await ask(make_backend(provider, url=server.url))


@each_provider
async def test_a_reply_that_a_filter_cut_says_so(make_backend: Make, provider: str) -> None:
    """A filter after some words ends the reply with its own reason."""
    async with FakeCloud(provider) as server:
        server.replies = [Reply(steps=["Good"], finish="filter")]
        said, finish = await ask(make_backend(provider, url=server.url))
    assert (said, finish.reason) == ("Good", "filter")


@each_provider
async def test_thinking_that_used_everything_up_is_told(make_backend: Make, provider: str) -> None:
    """A reply without a word because of thinking is an error that says what to set."""
    async with FakeCloud(provider) as server:
        server.replies = [Reply(steps=[Thought("Hm.")], finish="length")]
        with pytest.raises(BackendResponseError, match="thinking_tokens"):
            await ask(make_backend(provider, url=server.url))


@each_provider
@pytest.mark.parametrize(
    ("steps", "said"),
    [
        pytest.param(["One", " line.", "\nAnother", " one.", HANG], "One line.", id="new line"),
        pytest.param(["\n\nOne", " line.\n", HANG], "\n\nOne line.", id="after its first word"),
        pytest.param(["One", " line. An", "na", ": Hm.", HANG], "One line. ", id="in pieces"),
        pytest.param(["One Ann", "ette. An"], "One Annette. An", id="almost"),
    ],
)
async def test_stop_strings_hold_where_the_model_takes_none(
    make_backend: Make, provider: str, steps: list[Any], said: str
) -> None:
    """A reply ends at its stop strings, told or not, and the rest is not generated."""
    async with FakeCloud(provider) as server:
        server.replies = [steps]
        omit = ["stop", "stop_sequences", "stopSequences"]
        backend = make_backend(provider, url=server.url, omit=omit)
        text, finish = await ask(backend, sampling=Sampling(stop=("\n", "Anna:")))
        if HANG in steps:
            await asyncio.wait_for(server.asked[0].aborted.wait(), 20)
    assert (text, finish.reason) == (said, "stop")


# --- what a model does not take ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        ("openai", "temperature"),
        ("openai", "stop"),
        ("openai", "stream_options"),
        ("anthropic", "temperature"),
        ("anthropic", "stop_sequences"),
        ("gemini", "topP"),
        ("gemini", "thinkingConfig"),
    ],
)
async def test_learns_what_a_model_refuses(
    make_backend: Make, reports: list[str], provider: str, field: str
) -> None:
    """A refused field costs one attempt, once; the turn that finds out is answered."""
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=9, stop=("Anna:",))
    async with FakeCloud(provider) as server:
        server.refuses = {field}
        backend = make_backend(provider, url=server.url, thinking_tokens=0)
        for _ in range(3):
            assert (await ask(backend, sampling=sampling))[0] == "Good evening."
        assert len(server.asked) == 4
        fields = [server.words.fields(asked.body) for asked in server.asked]
    assert [field in one for one in fields] == [True, False, False, False]
    (report,) = reports
    assert field in report


async def test_takes_the_other_name_for_the_longest_reply(
    make_backend: Make, reports: list[str]
) -> None:
    """A server that wants `max_completion_tokens` gets that, with the same number."""
    async with FakeCloud("openai") as server:
        server.refuses = {"max_tokens"}
        backend = make_backend(url=server.url)
        assert (await ask(backend, sampling=Sampling(max_tokens=9)))[0] == "Good evening."
        assert server.asked[1].body["max_completion_tokens"] == 9
    assert len(reports) == 1


@each_provider
async def test_a_request_is_not_tried_for_ever(make_backend: Make, provider: str) -> None:
    """A server that refuses everything is given up after a few attempts."""
    async with FakeCloud(provider) as server:
        words = "temperature top_p topP stop stop_sequences stopSequences seed max_tokens"
        server.error = (400, server.words("base").error(400, f"no {words} maxOutputTokens"))
        sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=9, stop=("a", "b"))
        with pytest.raises(BackendRefused):
            await ask(make_backend(provider, url=server.url), sampling=sampling, seed=1)
        assert len(server.asked) <= call.MAX_REFUSED


@each_provider
async def test_learns_nothing_of_a_refusal_that_names_fields_by_chance(
    make_backend: Make, reports: list[str], provider: str
) -> None:
    """A server that refuses the prompt and quotes it refuses no field of it."""
    async with FakeCloud(provider) as server:
        quoted = server.words("base").error(400, "'stop, and take the seed' is not allowed")
        server.error = (400, quoted)
        sampling = Sampling(temperature=0.5, max_tokens=9, stop=("a", "b"))
        backend = make_backend(provider, url=server.url)
        with pytest.raises(BackendRefused):
            await ask(backend, sampling=sampling, seed=1)
        server.error = None
        assert (await ask(backend, sampling=sampling, seed=1))[0] == "Good evening."
        first, last = (server.words.fields(one.body) for one in (server.asked[0], server.asked[-1]))
    assert set(first) == set(last)
    assert not reports


@each_provider
async def test_what_is_left_out_by_hand_is_not_sent(make_backend: Make, provider: str) -> None:
    """`omit` saves the attempt that is refused."""
    async with FakeCloud(provider) as server:
        server.refuses = {"temperature"}
        backend = make_backend(provider, url=server.url, omit=["temperature"])
        await ask(backend, sampling=Sampling(temperature=0.5))
        assert len(server.asked) == 1


# --- when it goes wrong --------------------------------------------------------------------------


@each_provider
@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize(("header", "seconds"), [("7", 7), (None, None)], ids=["7 s", "no wish"])
async def test_an_overloaded_provider_may_say_for_how_long(
    make_backend: Make, provider: str, status: int, header: str | None, seconds: float | None
) -> None:
    """429, 503 and 529 are told apart from other errors, with and without `Retry-After`."""
    async with FakeCloud(provider) as server:
        server.replies = [Reply(status=status, retry_after=header)]
        with pytest.raises(BackendOverloaded) as caught:
            await ask(make_backend(provider, url=server.url))
    assert (caught.value.status_code, caught.value.retry_after_s) == (status, seconds)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(lambda: web.json_response({"choices": []}), id="no stream"),
        pytest.param(lambda: web.Response(text="<html>", content_type="text/html"), id="page"),
        pytest.param(web.Response, id="empty"),
        pytest.param(
            lambda: web.json_response({"error": {"message": "Boom.", "code": 500}}),
            id="error with status 200",
        ),
    ],
)
@each_provider
async def test_what_is_no_stream_is_told(
    make_backend: Make, provider: str, response: Callable[[], web.Response]
) -> None:
    """An answer of another kind is an error, whatever its status says."""

    async def handle(_request: web.Request) -> web.Response:
        return response()

    async with serving(handle) as url:
        backend = make_backend(provider, url=url)
        with pytest.raises(BackendResponseError):
            await ask(backend)
        assert not (await backend.health()).ok


async def test_nobody_there_says_what_to_look_at(make_backend: Make) -> None:
    """A server that is away is an error that names the address and what to look at."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(BackendUnavailable, match="is this machine online"):
        await ask(make_backend(url=url))


@each_provider
async def test_the_deadline_holds_in_the_middle_of_a_word(
    make_backend: Make, provider: str
) -> None:
    """A stream that stops half way through an event ends with the turn's time."""
    async with FakeCloud(provider) as server:
        server.replies = [["Good", Raw(b'data: {"choi'), HANG]]
        deadline = asyncio.get_running_loop().time() + 0.2
        with pytest.raises(BackendTimeout) as caught:
            await ask(make_backend(provider, url=server.url), deadline=deadline)
    assert caught.value.phase == "total"


# --- health --------------------------------------------------------------------------------------


@each_provider
async def test_health_costs_nothing(make_backend: Make, provider: str) -> None:
    """Whether it is well is asked of the list of models, and no reply is asked for."""
    async with FakeCloud(provider) as server:
        health = await make_backend(provider, url=server.url).health()
        assert health.ok
        assert "base" in health.detail
        assert server.asked == []
        assert [call.split()[0] for call in server.calls] == ["GET"]
        other = await make_backend(provider, url=server.url, model="elf").health()
        assert "does not list elf" in other.detail


async def test_a_model_that_the_provider_does_not_list_is_not_well(
    make_backend: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's own list is complete; that of a compatible server may not be."""
    async with FakeCloud("openai") as server:
        assert (await make_backend(url=server.url, model="elf").health()).ok
        monkeypatch.setattr(PROVIDERS["openai"], "host", f"http://127.0.0.1:{server.port}")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        health = await make_backend(model="elf").health()
        with pytest.raises(ModelNotFound):
            await ask(make_backend(model="elf"))
    assert not health.ok
    assert health.detail.endswith("set `model` to one it has")


async def test_a_server_without_a_list_may_be_well(make_backend: Make) -> None:
    """Some compatible servers list nothing, and answer all the same."""

    async def handle(_request: web.Request) -> web.Response:
        raise web.HTTPNotFound

    async with serving(handle) as url:
        health = await make_backend(url=url).health()
    assert health.ok
    assert "lists no models" in health.detail
