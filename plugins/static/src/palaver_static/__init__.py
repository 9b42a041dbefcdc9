"""A backend that speaks authored lines: no model, no network, always in character."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from palaver.hookspecs import hookimpl

if TYPE_CHECKING:
    from palaver.chain.backend import BackendContext, BackendType
    from palaver_static.backend import StaticBackend
    from palaver_static.config import StaticSettings

__version__ = "0.1.0"

__all__ = ["__version__"]

# Everything heavy is imported where it is used: `palaver --help` loads this module.


def _create(name: str, settings: StaticSettings, context: BackendContext) -> StaticBackend:
    from palaver_static.backend import StaticBackend

    return StaticBackend(name, settings, context)


@hookimpl
def palaver_register_backends(register: Callable[[BackendType], None]) -> None:
    """Offer the type `static`."""
    from palaver.chain.backend import BackendType
    from palaver_static.config import StaticSettings

    register(
        BackendType(
            "static",
            StaticSettings,
            _create,
            instant=True,
            summary="Speaks authored lines from the world's `lines` folder.",
        )
    )
