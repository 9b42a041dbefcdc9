"""The HTTP client of a backend: no proxies, no redirects, no cookies, no decompression."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace

import aiohttp

from palaver.chain.http_errors import RUNNING, from_exception
from palaver.errors import BackendError, BackendResponseError, BackendTimeout

__all__ = ["KEEPALIVE_S", "MAX_BODY_BYTES", "Http"]

KEEPALIVE_S = 4.0
"""Idle connections are closed after this; uvicorn, and so vLLM's server, closes them after 5
seconds, and a request that meets that moment would be lost."""
STALE_S = 0.25
"""How soon an idle connection that its server had closed says so, in seconds. One that ends later
had its request read, and perhaps paid for: that is not sent again."""
MAX_BODY_BYTES = 1_000_000
"""Largest answer that is read whole: an error, or a list of models."""


class Http:
    """Talks to the servers of one backend.

    Args:
        backend: Name of the backend, for its errors.
        connect_s: Time to connect, in seconds.
        headers: Further headers of every request, such as the one with the key. They go to
            every address that is asked for: one client talks to the servers of one owner.
        keepalive_s: How long an idle connection is kept, in seconds.
        hint: What to do when nobody listens, for the end of that error's text.
    """

    def __init__(
        self,
        backend: str,
        *,
        connect_s: float,
        headers: Mapping[str, str] | None = None,
        keepalive_s: float = KEEPALIVE_S,
        hint: str = RUNNING,
    ) -> None:
        self._backend, self._connect_s = backend, connect_s
        self._keepalive_s, self._hint = keepalive_s, hint
        self._headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            **(headers or {}),
        }
        self._session: aiohttp.ClientSession | None = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, ttl_dns_cache=60, keepalive_timeout=self._keepalive_s
                ),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                trace_configs=[trace],
                # A server's stream of headers is bounded here, one of tokens by its reader.
                read_bufsize=2**16,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections; safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self, method: str, url: str, body: bytes | None, deadline: float | None
    ) -> aiohttp.ClientResponse:
        """Send a request and wait for the answer's headers.

        Args:
            method: HTTP method.
            url: Address.
            body: JSON, or None.
            deadline: `loop.time()` by which the headers must be there, or None.

        Raises:
            BackendError: There was no answer.
        """
        session = self._open_session()
        loop = asyncio.get_running_loop()
        started = loop.time()
        for last in (False, True):
            way = _Way()
            try:
                async with asyncio.timeout_at(deadline):
                    return await session.request(
                        method, url, data=body, allow_redirects=False, trace_request_ctx=way
                    )
            except (aiohttp.ClientError, OSError) as err:
                stale = way.reused and loop.time() - started < STALE_S
                if not last and stale and _was_closed(err):
                    # It was idle and the server had just closed it: nobody read the request.
                    continue
                if isinstance(err, TimeoutError) and not isinstance(err, aiohttp.ClientError):
                    limit_s = max(0.0, (deadline or started) - started)
                    raise BackendTimeout(self._backend, "total", limit_s) from err
                raise self._failed(_origin(url), err) from err
        raise AssertionError("unreachable")

    async def fetch(
        self, method: str, url: str, *, limit_s: float, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Send a request and return status and body of the answer.

        Args:
            method: HTTP method.
            url: Address.
            limit_s: Time for all of it, in seconds.
            body: JSON, or None.

        Raises:
            BackendError: There was no answer in time, or one that is too large.
        """
        deadline = asyncio.get_running_loop().time() + limit_s
        response = await self.send(method, url, body, deadline)
        try:
            return response.status, await self.read(response, deadline)
        finally:
            response.release()

    async def read(self, response: aiohttp.ClientResponse, deadline: float | None) -> bytes:
        """Return the whole body of an answer that is small.

        Args:
            response: The answer.
            deadline: `loop.time()` by which it must be there, or None.

        Raises:
            BackendError: It does not come, or is too large.
        """
        data = b""
        try:
            async with asyncio.timeout_at(deadline):
                while part := await response.content.readany():
                    data += part
                    if len(data) > MAX_BODY_BYTES:
                        raise BackendResponseError(
                            self._backend, f"answers with more than {MAX_BODY_BYTES} bytes"
                        )
        except TimeoutError as err:
            response.close()
            raise BackendTimeout(self._backend, "total", 0.0) from err
        except (aiohttp.ClientError, OSError) as err:
            raise self._failed(str(response.url.origin()), err) from err
        except BackendError:
            response.close()
            raise
        return data

    def _failed(self, url: str, err: Exception) -> BackendError:
        if isinstance(err, aiohttp.ClientResponseError):
            # It shows the request's headers, and so the key, wherever it is printed as a cause.
            info = err.request_info
            err.request_info = info._replace(headers={})  # type: ignore[arg-type]  # only printed
            err.args = ()
        return from_exception(self._backend, url, err, self._connect_s, hint=self._hint)


class _Way:
    """How a request went out.

    Attributes:
        reused: Whether over a connection that had been idle.
    """

    __slots__ = ("reused",)

    def __init__(self) -> None:
        self.reused = False


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
    context.trace_request_ctx.reused = True


def _was_closed(err: Exception) -> bool:
    """Return whether an open connection ended before an answer began."""
    if isinstance(err, aiohttp.ClientConnectorError):
        return False
    return isinstance(err, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
