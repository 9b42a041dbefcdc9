"""One server: its model, its window, and a reply on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

import aiohttp

from palaver.chain.backend import Finish, GenerateRequest
from palaver.chain.http import Http
from palaver.errors import (
    BackendError,
    BackendResponseError,
    BackendTimeout,
    BackendUnavailable,
    ModelNotFound,
    StreamBroken,
)
from palaver_ollama.api import Api
from palaver_ollama.call import Call
from palaver_ollama.config import OllamaSettings, seconds
from palaver_ollama.failures import from_status
from palaver_ollama.loader import Loader
from palaver_ollama.window import Window
from palaver_ollama.wire import chat_body, choose, load_body, same_model

__all__ = ["Server"]

LOAD_S = 600.0
"""Time to load a model, in seconds; Ollama itself gives up after five minutes without progress."""
DEFAULT_NUM_CTX = 4_096
"""Ollama's own context window, on all but large graphics cards."""


class Server:
    """One server of a backend; a `palaver.chain.backend.Replica`.

    Args:
        backend: Name of the backend, for its errors.
        url: The server's address.
        settings: Settings of the backend.
        http: Client to talk to it with.
        report: Tells whoever runs Palaver.
        learned: Called when it is known how long a prompt may be.

    Attributes:
        name: Its address.
        api: Asks it questions.
        model: The model, once it is known.
        context_tokens: Its context window, once it is known.
        active: Requests that are there now, or wait in the window.
    """

    def __init__(
        self,
        backend: str,
        url: str,
        settings: OllamaSettings,
        http: Http,
        report: Callable[[str], None],
        learned: Callable[[], None],
    ) -> None:
        self._backend, self.name, self._settings = backend, url, settings
        self._http, self._report, self._learned = http, report, learned
        self.api = Api(backend, url, http)
        self.model: str | None = None
        self.context_tokens: int | None = None
        self.active = 0
        self._asking = asyncio.Lock()
        self._trained: int | None = None
        self.loader = Loader(backend, self._load, seconds(settings.keep_alive))
        self._window: Window | None = None
        if settings.batch_size:
            self._window = Window(backend, settings.batch_size, settings.batch_window_ms / 1000)

    # --- the model ------------------------------------------------------------------------------

    async def ask(self) -> str:
        """Return the model to ask for; turns that need to know together ask once.

        Raises:
            BackendError: The server does not say, or does not have it.
        """
        async with self._asking:
            if self.model is None:
                wanted = self._settings.model or await self._choose()
                await self._learn(wanted)
                self.model = wanted
            return self.model

    async def _choose(self) -> str:
        found = choose(await self.api.ps(), await self.api.tags())
        if found is None:
            raise ModelNotFound(
                self._backend,
                "",
                f"{self.name} has no model; `palaver ollama pull llama3.2` downloads one",
            )
        self._report(
            f"backend {self._backend} uses {found!r} at {self.name}; set `model` to keep it"
        )
        return found

    async def _learn(self, model: str) -> None:
        """Find out how long a prompt may be."""
        shown = await self.api.show(model)
        self._trained = shown.trained_tokens
        self._fit(self._settings.num_ctx or shown.num_ctx or DEFAULT_NUM_CTX)
        await self.measure(model)

    async def measure(self, model: str) -> None:
        """Take the context window that the model really has, if it is in memory."""
        for one in await self.api.ps():
            if same_model(one.name, model) and one.context_length and not self._settings.num_ctx:
                self._fit(one.context_length)

    def _fit(self, tokens: int) -> None:
        self.context_tokens = min(tokens, self._trained or tokens)
        self._learned()

    async def _load(self) -> None:
        """Load the model with a request of its own.

        Raises:
            BackendError: It cannot be loaded.
        """
        model = await self.ask()
        status, answer = await self._http.fetch(
            "POST",
            f"{self.name}/api/chat",
            limit_s=LOAD_S,
            body=load_body(self._settings, model),
        )
        if status != 200:
            raise self._refused(status, {}, answer)
        await self.measure(model)

    def warm(self, adapter: str | None, /) -> bool:
        """Return whether the model is in memory; an adapter would be a model of its own."""
        return self.loader.loaded

    def lost(self) -> None:
        """Note that it was away: it may come back with other models, and has none in memory."""
        self.model = None
        self.loader.forget()

    async def close(self) -> None:
        """Stop loading and grouping; safe to call twice."""
        await self.loader.close()
        if self._window is not None:
            self._window.close()

    # --- a reply --------------------------------------------------------------------------------

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Stream a reply; see `palaver.chain.backend.Backend`."""
        window = self._window
        self.active += 1
        try:
            if window is not None:
                await window.enter(request)
            try:
                await self.loader.ready(request.deadline)
                response = await self._send(request)
                call = Call(self._backend, self.model or "", request, response)
                try:
                    reader = call.reader
                    read, feed = response.content.readany, reader.feed
                    while not reader.over:
                        try:
                            data = await read()
                        except (aiohttp.ClientError, OSError) as err:
                            raise call.failed(err) from err
                        text = feed(data) if data else reader.end()
                        if text:
                            yield text
                        if not data:
                            break
                    finish = call.finish()
                    self.loader.touch()
                    yield finish
                finally:
                    await call.close()
            finally:
                if window is not None:
                    window.leave()
        except (BackendUnavailable, StreamBroken):
            self.lost()
            raise
        except BackendResponseError:
            # Such as "llama runner process has terminated".
            self.loader.forget()
            raise
        finally:
            self.active -= 1

    async def _send(self, request: GenerateRequest) -> aiohttp.ClientResponse:
        """Ask for a reply and return its stream.

        Raises:
            BackendError: There is none.
        """
        model = await self.ask()
        body = chat_body(request, self._settings, model)
        url = f"{self.name}/api/chat"
        try:
            response = await self._http.send("POST", url, body, request.deadline)
        except (asyncio.CancelledError, BackendTimeout):
            # Headers come with the first token. Perhaps somebody else's model is in memory now
            # and ours was being loaded, which ended with this request.
            self.loader.doubt()
            raise
        try:
            if response.status == 200:
                if "json" in response.content_type:
                    self.loader.touch()
                    return response
                raise BackendResponseError(
                    self._backend,
                    f"answers with {response.content_type}, not with a stream; check `url`",
                )
            answer = await self._http.read(response, request.deadline)
        except BaseException:
            response.close()
            raise
        response.release()
        raise self._refused(response.status, response.headers, answer)

    def _refused(self, status: int, headers: Mapping[str, str], answer: bytes) -> BackendError:
        error = from_status(self._backend, self.model or "", status, headers, answer)
        if isinstance(error, ModelNotFound):
            self.lost()
        return error
