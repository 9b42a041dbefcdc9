"""Finds a vLLM server on this machine."""

from __future__ import annotations

import asyncio

from palaver.errors import BackendError
from palaver_vllm.config import DEFAULT_URL, VllmSettings
from palaver_vllm.http import open_http
from palaver_vllm.stream import BAD_JSON
from palaver_vllm.wire import decode_models, decode_version

__all__ = ["detect"]

DETECT_S = 0.3
"""Time for a server to answer as vLLM, in seconds."""


async def detect(url: str = DEFAULT_URL) -> VllmSettings | None:
    """Return the settings for a server that really answers as vLLM, or None."""
    http = open_http("vllm", connect_s=DETECT_S, api_key=None)
    try:
        async with asyncio.timeout(DETECT_S):
            _, version = await http.fetch("GET", f"{url}/version", limit_s=DETECT_S)
            decode_version(version)
            _, models = await http.fetch("GET", f"{url}/v1/models", limit_s=DETECT_S)
        cards = decode_models(models).data
    except (BackendError, TimeoutError, *BAD_JSON):
        return None
    finally:
        await http.close()
    base = next((card for card in cards if card.parent is None), None)
    if base is None or base.owned_by != "vllm":
        return None
    return VllmSettings(type="vllm", url=url, model=base.id)
