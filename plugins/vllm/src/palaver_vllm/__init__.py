"""A backend that streams from vLLM model servers, with a LoRA adapter for each NPC type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from palaver.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from palaver.chain.backend import BackendContext, BackendType
    from palaver_vllm.backend import VllmBackend
    from palaver_vllm.config import VllmSettings

__version__ = "0.1.0"

__all__ = ["__version__"]

# Everything heavy is imported where it is used: every `palaver` command loads this module.


def _create(name: str, settings: VllmSettings, context: BackendContext) -> VllmBackend:
    from palaver_vllm.backend import VllmBackend

    return VllmBackend(name, settings, context)


async def _detect() -> VllmSettings | None:
    from palaver_vllm.detect import detect

    return await detect()


@hookimpl
def palaver_register_backends(register: Callable[[BackendType], None]) -> None:
    """Offer the type `vllm`."""
    from palaver.chain.backend import BackendType
    from palaver_vllm.config import VllmSettings

    register(
        BackendType(
            "vllm",
            VllmSettings,
            _create,
            detect=_detect,
            summary="Streams from vLLM servers, with a LoRA adapter for each NPC type.",
            addresses=frozenset({"url", "urls"}),
        )
    )


@hookimpl
def palaver_register_commands(register: Callable[[click.Command], None]) -> None:
    """Add `palaver vllm`."""
    from palaver_vllm.cli import vllm

    register(vllm)
