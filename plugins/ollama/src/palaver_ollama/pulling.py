"""Downloads a model, as the server tells of it line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
import msgspec

from palaver.chain.http import Http
from palaver.chain.http_errors import broken
from palaver.errors import BackendResponseError, BackendTimeout, StreamBroken
from palaver_ollama.failures import from_status
from palaver_ollama.stream import BAD_JSON, MAX_LINE_BYTES, told
from palaver_ollama.wire import Progress, encode

__all__ = ["pull"]

ANSWER_S = 60.0
"""Time for the first line, in seconds."""
STALL_S = 600.0
"""Time without any line: after a large download its hash is checked, in silence."""

_decode = msgspec.json.Decoder(Progress).decode


async def pull(http: Http, backend: str, url: str, model: str) -> AsyncGenerator[Progress, None]:
    """Let a server download a model; closing the generator stops the download.

    Args:
        http: Client to talk to it with.
        backend: Name for errors.
        url: The server's address.
        model: The model.

    Yields:
        Every line; the last one has the status `success`.

    Raises:
        BackendError: The model cannot be downloaded.
    """
    loop = asyncio.get_running_loop()
    response = await http.send(
        "POST", f"{url}/api/pull", encode({"model": model}), loop.time() + ANSWER_S
    )
    try:
        if response.status != 200:
            answer = await http.read(response, loop.time() + ANSWER_S)
            raise from_status(backend, model, response.status, response.headers, answer)
        status = ""
        async for line in _lines(response, backend):
            try:
                progress = _decode(line)
            except BAD_JSON as err:
                raise BackendResponseError(
                    backend, f"sent what is no progress: {line[:80].decode('utf-8', 'replace')!r}"
                ) from err
            if progress.error is not None:
                raise BackendResponseError(backend, _why(model, told(progress.error)))
            status = progress.status
            yield progress
        if status != "success":
            raise StreamBroken(
                backend, "stopped telling of the download; run the command again to go on with it"
            )
    finally:
        response.close()


def _why(model: str, said: str) -> str:
    if "file does not exist" in said or "not found" in said:
        return f"there is no model {model!r} to download ({said}); see https://ollama.com/library"
    return f"the download failed ({said}); run the command again to go on with it"


async def _lines(response: aiohttp.ClientResponse, backend: str) -> AsyncGenerator[bytes, None]:
    tail = b""
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                data = await response.content.readany()
        except TimeoutError as err:
            raise BackendTimeout(backend, "stall", STALL_S) from err
        except (aiohttp.ClientError, OSError) as err:
            raise broken(backend, err) from err
        *lines, tail = (tail + (data or b"\n")).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if not data:
            return
        if len(tail) > MAX_LINE_BYTES:
            raise BackendResponseError(backend, f"sent a line of more than {len(tail):,} bytes")
