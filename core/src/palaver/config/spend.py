"""`[spend]`: what may be spent on backends that cost money."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["SpendSettings"]

Dollars = Annotated[float, Field(ge=0, le=1e9)]


class SpendSettings(BaseModel):
    """`[spend]`: what may be spent; a turn that would break one goes on down its chain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["on", "off"] = Field(
        default="on",
        description="`off` uses no backend that costs money, and opens no connection to one.",
    )
    usd_per_day: Dollars | None = Field(
        default=None, description="What all turns may cost in a day (UTC). None sets no ceiling."
    )
    usd_per_player_day: Dollars | None = Field(
        default=None, description="What the turns of one player may cost in a day (UTC)."
    )
    usd_per_session: Dollars | None = Field(
        default=None, description="What the turns of one session may cost."
    )
    prices: Path | None = Field(
        default=None,
        description="A price table of your own, a TOML file relative to `palaver.toml`; its "
        "entries come before the shipped ones.",
    )
