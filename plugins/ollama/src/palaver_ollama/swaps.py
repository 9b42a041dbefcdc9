"""Finds backends that would make one server load a model again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from urllib.parse import urlsplit

from palaver_ollama.config import OllamaSettings
from palaver_ollama.wire import same_model

__all__ = ["swaps"]

_LOCAL = ("localhost", "::1", "0.0.0.0")
_RUNNER = ("num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")
"""Options that belong to the loaded model (`Runner` in api/types.go), besides `num_ctx`."""


def swaps(backends: Mapping[str, OllamaSettings]) -> Iterator[str]:
    """Yield what `palaver check` should say of these backends.

    Args:
        backends: All backends of this type, by name.
    """
    for (one, left), (other, right) in combinations(backends.items(), 2):
        shared = {_server(url): url for url in left.addresses}
        url = next((shared[_server(u)] for u in right.addresses if _server(u) in shared), None)
        if url is None:
            continue
        if difference := _difference(left, right):
            yield (
                f"backends.{one} and backends.{other} share the server {url} but not "
                f"{difference}, so that Ollama may load a model anew for every turn; give both "
                "the same, or each a server of its own"
            )


def _difference(left: OllamaSettings, right: OllamaSettings) -> str | None:
    """Return what makes a server swap between two backends, or None."""
    if left.model is None or right.model is None:
        return "the model (one leaves it open)" if left.model != right.model else None
    if not same_model(left.model, right.model):
        return f"the model ({left.model!r}, {right.model!r})"
    if left.num_ctx != right.num_ctx:
        return f"`num_ctx` ({_of(left.num_ctx)}, {_of(right.num_ctx)})"
    for key in _RUNNER:
        if left.options.get(key) != right.options.get(key):
            return f"`options.{key}`"
    return None


def _of(num_ctx: int | None) -> str:
    return "the server's own" if num_ctx is None else f"{num_ctx:,}"


def _server(url: str) -> tuple[str, int, str]:
    """Return what is the same for two addresses of one server."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return ("127.0.0.1" if host in _LOCAL else host), port, parts.path
