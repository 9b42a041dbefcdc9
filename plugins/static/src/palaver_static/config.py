"""Settings of a `[backends.NAME]` table with `type = "static"`."""

from __future__ import annotations

from pydantic import Field

from palaver.chain.backend import BackendSettings

__all__ = ["StaticSettings"]


class StaticSettings(BackendSettings):
    """What a static backend can be told; none of it is needed."""

    conversations: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000,
        description="For how many pairs of a persona and a player it is known which lines were "
        "said, so that none is repeated before all were used. The pair that has not spoken for "
        "the longest time is forgotten first. About 5 kB for each pair that has heard all.",
    )
