"""What stands for a backend that costs money while spending is off.

The real one is never made, so nothing of it can open a connection; chains that name it still say
in the trail why it was not asked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from palaver.chain.backend import Finish, GenerateRequest, Health, ModelInfo
from palaver.errors import BackendRefused
from palaver.spend.governor import OFF

if TYPE_CHECKING:
    from palaver.chain.backend import BackendSettings, BackendType

__all__ = ["SwitchedOff", "costs_money"]

_NOTHING: tuple[str, ...] = ()


def costs_money(settings: BackendSettings, kind: BackendType) -> bool:
    """Return whether calls to a backend cost money: by its type, or because its settings say so."""
    return kind.paid or bool(settings.usd_per_m_prompt or settings.usd_per_m_completion)


class SwitchedOff:
    """A backend that refuses everything.

    Args:
        name: Its name.
        settings: The settings of the real one.
    """

    def __init__(self, name: str, settings: BackendSettings) -> None:
        self.name = name
        self.settings = settings

    async def start(self) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Nothing to release."""

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Refuse.

        Raises:
            BackendRefused: Always.
        """
        for piece in _NOTHING:
            yield piece
        raise BackendRefused(self.name, OFF)

    async def health(self) -> Health:
        """Say that it is off."""
        return Health(ok=False, detail=f'{OFF}; set mode = "on" in [spend] to use it')

    async def models(self) -> Sequence[ModelInfo]:
        """Nothing is asked what it serves."""
        return ()
