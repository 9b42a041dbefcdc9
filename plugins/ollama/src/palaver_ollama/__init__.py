"""A backend that streams from Ollama, without ever making it load a model anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from palaver.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from palaver.chain.backend import BackendContext, BackendType
    from palaver_ollama.backend import OllamaBackend
    from palaver_ollama.config import OllamaSettings

__version__ = "0.1.0"

__all__ = ["__version__"]

# Everything heavy is imported where it is used: every `palaver` command loads this module.


def _create(name: str, settings: OllamaSettings, context: BackendContext) -> OllamaBackend:
    from palaver_ollama.backend import OllamaBackend

    return OllamaBackend(name, settings, context)


async def _detect() -> OllamaSettings | None:
    from palaver_ollama.detect import detect

    return await detect()


def _check(backends: Mapping[str, OllamaSettings]) -> Iterator[str]:
    from palaver_ollama.swaps import swaps

    return swaps(backends)


@hookimpl
def palaver_register_backends(register: Callable[[BackendType], None]) -> None:
    """Offer the type `ollama`."""
    from palaver.chain.backend import BackendType
    from palaver_ollama.config import OllamaSettings

    register(
        BackendType(
            "ollama",
            OllamaSettings,
            _create,
            detect=_detect,
            summary="Streams from Ollama, and keeps its model in memory.",
            addresses=frozenset({"url", "urls"}),
            check=_check,
        )
    )


@hookimpl
def palaver_register_commands(register: Callable[[click.Command], None]) -> None:
    """Add `palaver ollama`."""
    from palaver_ollama.cli import ollama

    register(ollama)
