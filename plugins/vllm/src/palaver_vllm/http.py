"""The HTTP client for vLLM's servers."""

from __future__ import annotations

from palaver.chain.http import Http

__all__ = ["open_http"]


def open_http(backend: str, *, connect_s: float, api_key: str | None) -> Http:
    """Return a client.

    Args:
        backend: Name of the backend, for its errors.
        connect_s: Time to connect, in seconds.
        api_key: Key, sent with every request, or None.
    """
    return Http(
        backend,
        connect_s=connect_s,
        headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
        hint="is the server running? `palaver vllm up` starts one",
    )
