"""`[tiers.NAME]`: the policy of a turn, in one declared object.

A tier says who is asked and in what order, how long each has, how long and free the reply is, how
much is remembered, what may come out of the cache, what it may cost, and what is checked.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["CacheRule", "Check", "Milliseconds", "Name", "Tier", "default_tiers"]

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
Milliseconds = Annotated[int, Field(ge=1, le=600_000)]
Intent = Literal[
    "greeting",
    "threat",
    "trade",
    "question",
    "quest",
    "farewell",
    "insult",
    "thanks",
    "silence",
    "other",
]
Check = Literal["empty", "refusal", "leak", "language", "repeat"]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CacheRule(_Settings):
    """`[tiers.NAME.cache]`: which replies may be said again, and to whom."""

    facts: list[str] = Field(
        default=["intent", "mood", "zone", "lang", "relationship", "quest", "declared"],
        max_length=32,
        description="What has to be the same. `intent`, `mood`, `zone`, `lang`, `utterance` "
        "(what was said, without case and punctuation) and `before` (what the NPC said last) are "
        "the turn's own; `declared` stands for all facts that the persona declares, which is all "
        "its template can use; any other name is a fact of the NPC, the player and the game, or "
        "of one of them: `npc.NAME`, `player.NAME`, `game.NAME`, `context.NAME`. A number counts "
        "by its band; see `band`.",
    )
    exact: list[Intent] = Field(
        default=["other", "question", "quest", "trade"],
        description="Intents that do not tell what was said: for these, and for utterances of "
        "more than six words, the words have to be the same too. `[]` caches no turn with the "
        "intent `other`.",
    )
    band: float = Field(
        default=25,
        gt=0,
        description="Width of the bands of numbers, such as a relationship's. Up to half of it, "
        "above or below 0, a number counts as it is, without what follows the point.",
    )
    variants: int = Field(
        default=4,
        ge=1,
        le=32,
        description="Different replies that are kept for one situation; until there are as many, "
        "a model is asked.",
    )
    ttl_s: float = Field(
        default=86_400,
        ge=1,
        le=31_536_000,
        description="For how long a reply is kept, in seconds; in the last quarter of it a new one "
        "is made in the background when the situation comes up again.",
    )


class Tier(_Settings):
    """`[tiers.NAME]`: the policy of a turn."""

    chain: list[Name] = Field(
        min_length=1,
        max_length=16,
        description="Backends in the order to try; names that are not configured are skipped.",
    )
    first_text_ms: Milliseconds = Field(
        default=1_500,
        description="By when the player sees the first words, in milliseconds; from the turn's "
        "acceptance, or from when the turns before it with the same NPC and player are over.",
    )
    first_token_ms: Milliseconds | dict[Name, Milliseconds] = Field(
        default=500,
        description="By when a backend must have begun, from the moment it was asked, in "
        "milliseconds; one number, or one for each backend.",
    )
    stall_ms: Milliseconds = Field(
        default=2_000, description="Longest pause inside a reply, in milliseconds."
    )
    total_ms: Milliseconds = Field(
        default=15_000, description="By when the whole reply is there, in milliseconds."
    )
    max_tokens: int = Field(default=120, ge=1, le=8_000, description="Longest reply, in tokens.")
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Used where the persona does not say."
    )
    memory: int = Field(
        default=6, ge=0, le=100, description="Earlier exchanges that go into the prompt."
    )
    filler_ms: Milliseconds | None = Field(
        default=None,
        description="If nothing was shown by then, an authored line with the intent `filler` is "
        "spoken while backends work, in milliseconds; it buys them another `first_text_ms`. None "
        "speaks none.",
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=3,
        description="How often a backend is asked again after its reply was objected to.",
    )
    checks: list[Check] = Field(
        default=["empty", "refusal", "leak", "language", "repeat"],
        description="What the core looks for before a reply is shown; `[]` shows everything.",
    )
    safety: Literal["off", "normal", "strict"] = Field(
        default="normal",
        description="How plugins moderate: `normal` as they are set, `strict` holds back every "
        "sentence until it is checked, `off` leaves this tier alone.",
    )
    rank: int = Field(
        default=1,
        ge=0,
        le=9,
        description="Importance when there is not room for all: turns of the lowest rank are the "
        "first that are left to authored lines.",
    )
    first_meeting: Name | None = Field(
        default=None,
        description="Tier of an NPC's first exchange with a player, instead of this one.",
    )
    cache: CacheRule | None = Field(
        default=None,
        description="Which replies are kept and said again; `false`, or nothing, keeps none.",
    )
    usd_per_day: float | None = Field(
        default=None,
        ge=0,
        description="What turns of this tier may cost in a day (UTC), in US dollars. None sets no "
        "ceiling, 0 asks no backend that costs money.",
    )

    @field_validator("cache", mode="before")
    @classmethod
    def _no_cache(cls, value: Any) -> Any:
        """Let `cache = false` take a shipped rule away: TOML has no word for nothing."""
        return None if value is False else value

    def first_token_s(self, backend: str) -> float:
        """Return the first-token limit of a backend, in seconds."""
        if isinstance(self.first_token_ms, int):
            return self.first_token_ms / 1000
        return self.first_token_ms.get(backend, 500) / 1000


def default_tiers() -> dict[str, dict[str, Any]]:
    """Return the shipped tiers; a `[tiers.NAME]` table changes single keys of them."""
    return {
        "grunt": {
            "chain": ["local", "static"],
            "first_text_ms": 800,
            "first_token_ms": {"local": 250},
            "max_tokens": 48,
            "memory": 2,
            "rank": 0,
            # Barks: players meet hundreds of them, and none has much to say.
            "cache": {"variants": 4},
        },
        "elite": {
            "chain": ["local", "fast", "premium", "static"],
            "first_text_ms": 1_500,
            "first_token_ms": {"local": 350, "fast": 900, "premium": 1_200},
            "max_tokens": 120,
            "memory": 6,
            # Greetings and threats by situation; a question has to be the same question.
            "cache": {"variants": 3},
        },
        "boss": {
            "chain": ["local", "fast", "premium", "static"],
            "first_text_ms": 2_000,
            "first_token_ms": {"local": 600, "fast": 1_000, "premium": 1_500},
            "max_tokens": 200,
            "memory": 12,
            "rank": 2,
            "first_meeting": "story",
            # Only a talk that went the same way: what was said now, and what the boss said before.
            "cache": {
                "facts": [
                    *("intent", "mood", "zone", "lang", "relationship", "quest", "declared"),
                    *("utterance", "before"),
                ],
                "variants": 2,
            },
        },
        "story": {
            "chain": ["premium", "fast", "local", "static"],
            "first_text_ms": 5_000,
            "first_token_ms": {"premium": 3_000, "fast": 1_200, "local": 600},
            "filler_ms": 1_200,
            "total_ms": 30_000,
            "max_tokens": 400,
            "memory": 20,
            "rank": 3,
            # No cache: what a story's character says is theirs to that player alone.
        },
    }
