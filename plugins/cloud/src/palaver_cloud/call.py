"""One reply: asking for it, and streaming it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import aiohttp

from palaver.chain.backend import Finish, GenerateRequest
from palaver.chain.http import Http
from palaver.chain.http_errors import short
from palaver.chain.stream import HttpStream
from palaver_cloud.failures import Failures, refused_field
from palaver_cloud.provider import Provider
from palaver_cloud.sse import Usage
from palaver_cloud.stops import Stops

__all__ = ["Call"]

MAX_REFUSED = 4
"""Fields that may be refused one after the other before the request is given up."""


class Call:
    """One request for a reply.

    Args:
        http: Client to talk with.
        provider: How the server is spoken to.
        failures: Makes the errors.
        omitted: Fields that the model is known to refuse; what is learned is added.
        report: Tells whoever runs Palaver.
        request: What is wanted.
    """

    def __init__(
        self,
        http: Http,
        provider: Provider,
        failures: Failures,
        omitted: set[str],
        report: Callable[[str], None],
        request: GenerateRequest,
    ) -> None:
        self._http, self._provider, self._failures = http, provider, failures
        self._omitted, self._report, self._request = omitted, report, request
        self._started = asyncio.get_running_loop().time()
        self._reader = provider.reader()
        self._stops = Stops(())
        self._end_at: float | None = None

    async def stream(self) -> AsyncGenerator[str | Finish, None]:
        """Yield the reply's pieces and how it ended.

        Raises:
            BackendError: The provider does something wrong.
        """
        self._failures.check_key()
        reader = self._reader
        said_anything = False
        response = await self._open()
        stream = HttpStream(self._failures.backend, response, self._request.deadline, self._started)
        try:
            read, feed, stops = response.content.readany, reader.feed, self._stops
            while not reader.over:
                try:
                    data = await read() if reader.finish is None else await self._read_end(response)
                except (aiohttp.ClientError, OSError) as err:
                    raise stream.failed(err) from err
                text = feed(data) if data else reader.end()
                if stops:
                    text = stops.feed(text)
                    if not data or reader.over:
                        text += stops.end()
                if text:
                    said_anything = True
                    yield text
                if not data or stops.found:
                    break
            if stream.expired and reader.finish is None:
                raise stream.timeout()
            if stops.found and reader.trouble is None:
                # What follows is not wanted, so there is no count of it either.
                reader.finish = "stop"
            error = self._failures.from_reader(reader, said_anything=said_anything)
            if error is not None:
                raise error
            yield self._finish()
        finally:
            await stream.close(whole=reader.done)

    async def _open(self) -> aiohttp.ClientResponse:
        """Return the stream; fields that the model refuses are left out and noted."""
        deadline, failures = self._request.deadline, self._failures
        refused: set[str] = set()
        while True:
            asked = self._provider.ask(self._request, self._omitted | refused)
            response = await self._http.send(
                "POST", self._provider.chat_url(), asked.body, deadline
            )
            try:
                if response.status == 200 and response.content_type == "text/event-stream":
                    self._stops = Stops(asked.stops)
                    # Only now: a refusal that quotes the prompt names fields by chance.
                    for field in sorted(refused):
                        self._learn(field)
                    return response
                answer = await self._http.read(response, deadline)
            except BaseException:
                response.close()
                raise
            response.release()
            if response.status == 200:
                raise failures.no_stream(response.content_type, answer)
            error, trouble = failures.from_answer(response.status, response.headers, answer)
            found = refused_field(response.status, trouble, asked.fields)
            if found is None or len(refused) + 1 == MAX_REFUSED:
                raise error
            refused.add(found)

    def _learn(self, field: str) -> None:
        if field not in self._omitted:
            self._omitted.add(field)
            self._report(
                f"backend {self._failures.backend}: {self._failures.model} refuses `{field}`, "
                f'which is left out from now on; omit = ["{field}"] saves the first attempt'
            )

    async def _read_end(self, response: aiohttp.ClientResponse) -> bytes:
        """Read what follows the finish reason; nothing, if it does not come soon."""
        if self._end_at is None:
            self._end_at = asyncio.get_running_loop().time() + self._reader.end_s
        try:
            # One limit for all of it: pings may follow as long as the server likes.
            async with asyncio.timeout_at(self._end_at):
                return await response.content.readany()
        except TimeoutError:
            return b""

    def _finish(self) -> Finish:
        reader, usage = self._reader, self._reader.usage or Usage()
        return Finish(
            reason=reader.finish or "stop",
            model=reader.model or self._failures.model,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
            cached_tokens=usage.cached,
            note=f"withheld: {short(reader.why)}" if reader.why else None,
        )
