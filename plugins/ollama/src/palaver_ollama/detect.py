"""Finds an Ollama server on this machine."""

from __future__ import annotations

import asyncio

from palaver.errors import BackendError
from palaver_ollama.api import Api, make_http
from palaver_ollama.config import DEFAULT_URL, OllamaSettings
from palaver_ollama.wire import choose

__all__ = ["detect"]

DETECT_S = 0.3
"""Time for a server to answer as Ollama, in seconds."""


async def detect(url: str = DEFAULT_URL) -> OllamaSettings | None:
    """Return the settings for a server that really answers as Ollama and has a model, or None."""
    settings = OllamaSettings(type="ollama", url=url, connect_ms=int(DETECT_S * 1000))
    http = make_http("ollama", settings)
    api = Api("ollama", url, http, DETECT_S)
    try:
        async with asyncio.timeout(DETECT_S):
            await api.version()
            model = choose(await api.ps(), await api.tags())
    except (BackendError, TimeoutError):
        return None
    finally:
        await http.close()
    return OllamaSettings(type="ollama", url=url, model=model) if model is not None else None
