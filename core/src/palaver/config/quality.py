"""`[quality]`: how good replies are, and when somebody is told that they became worse."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["QualitySettings"]


class QualitySettings(BaseModel):
    """`[quality]`: how good replies are, and when somebody is told that they became worse."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    watch: bool = Field(
        default=True,
        description="Whether quality signals are kept: how often replies repeat, are skipped, "
        "refuse or fail, and what a judge thinks of them.",
    )
    worse_by: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="A signal that is worse than its own baseline by more than this share of it "
        "raises an alert, where that is more than chance.",
    )
    least_samples: int = Field(
        default=300,
        ge=50,
        le=1_000_000,
        description="Turns before a signal has a baseline and can raise an alert.",
    )
    replies_per_s: float = Field(
        default=50,
        gt=0,
        le=1_000_000,
        description="Replies that are read in a second, about, for refusals and repetition; where "
        "there are more, only those of some listeners, always the same.",
    )
    judge: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Backend that scores a sample of replies from 1 to 5, in the background. It "
        "reads what was said and the reply, and nothing else. None asks nobody.",
    )
    judge_share: float = Field(
        default=0.01, ge=0, le=1, description="Share of the turns that the judge scores."
    )
    judge_ms: int = Field(
        default=10_000, ge=1, le=600_000, description="Time for one score, in milliseconds."
    )
    judge_queue: int = Field(
        default=32,
        ge=1,
        le=10_000,
        description="Replies that wait for the judge; beyond, the sample is left out.",
    )
