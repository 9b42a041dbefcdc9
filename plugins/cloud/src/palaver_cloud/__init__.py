"""A backend that streams from cloud models: OpenAI-compatible, Anthropic, Gemini."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from palaver.hookspecs import hookimpl

if TYPE_CHECKING:
    from palaver.chain.backend import BackendContext, BackendType
    from palaver_cloud.backend import CloudBackend
    from palaver_cloud.config import CloudSettings

__version__ = "0.1.0"

__all__ = ["__version__"]

# Everything heavy is imported where it is used: every `palaver` command loads this module.


def _create(name: str, settings: CloudSettings, context: BackendContext) -> CloudBackend:
    from palaver_cloud.backend import CloudBackend

    return CloudBackend(name, settings, context)


def _check(backends: Mapping[str, CloudSettings]) -> Iterator[str]:
    import os

    from palaver_cloud.checks import problems

    return problems(backends, os.environ)


@hookimpl
def palaver_register_backends(register: Callable[[BackendType], None]) -> None:
    """Offer the type `cloud`."""
    from palaver.chain.backend import BackendType
    from palaver_cloud.config import CloudSettings

    register(
        BackendType(
            "cloud",
            CloudSettings,
            _create,
            summary="Streams from OpenAI-compatible servers, Anthropic and Gemini.",
            addresses=frozenset({"url"}),
            paid=True,
            check=_check,
        )
    )
