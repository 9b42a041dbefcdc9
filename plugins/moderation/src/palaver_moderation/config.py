"""Settings in `[plugins.moderation]`."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "NPC_ACTIONS",
    "PLAYER_ACTIONS",
    "Category",
    "ModerationSettings",
    "NpcAction",
    "PlayerAction",
    "RemoteSettings",
]

PlayerAction = Literal["refuse", "mask", "allow"]
NpcAction = Literal["stop", "allow"]
Category = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]

PLAYER_ACTIONS: dict[str, PlayerAction] = {
    "hate": "refuse",
    "harassment": "refuse",
    "minors": "refuse",
    "sexual": "allow",
    "self_harm": "allow",
    "personal": "mask",
    "injection": "allow",
}
NPC_ACTIONS: dict[str, NpcAction] = {
    "hate": "stop",
    "harassment": "stop",
    "minors": "stop",
    "sexual": "allow",
    "self_harm": "allow",
    "personal": "stop",
    "injection": "allow",
}
CARE = (
    "The player may be in distress in real life. Whatever your character is like, answer this "
    "with warmth, describe and encourage no harm, and suggest talking to somebody they trust."
)
REMOTE_CATEGORIES = {
    "hate": "hate",
    "hate/threatening": "hate",
    "sexual": "sexual",
    "sexual/minors": "minors",
    "self-harm": "self_harm",
    "self-harm/intent": "self_harm",
    "self-harm/instructions": "self_harm",
}


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as err:
        raise ValueError(f"is no regular expression: {err}") from err
    return value


def _url(value: str) -> str:
    value = value.rstrip("/").removesuffix("/moderations")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"write an address such as 'https://api.openai.com/v1', not {value!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("write only scheme, host, port and path; a key goes into `api_key_env`")
    return value


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RemoteSettings(_Settings):
    """A moderation service: OpenAI's, or any that answers `POST /v1/moderations` as it does."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        description="Address of the API with the version in its path, such as "
        "`https://api.openai.com/v1`."
    )
    model: str | None = Field(
        default=None, min_length=1, description="Model, such as `omni-moderation-latest`."
    )
    api_key_env: str | None = Field(
        default=None, min_length=1, description="Environment variable that holds the key."
    )
    timeout_ms: int = Field(
        default=200,
        ge=1,
        le=10_000,
        description="Time for one answer, in milliseconds; never more than nine tenths of "
        "`limits.hook_ms`, for a plugin that is late is left out.",
    )
    players: bool = Field(default=True, description="Whether what players say is sent to it.")
    npcs: bool = Field(
        default=True,
        description="Whether what NPCs say is sent to it, sentence by sentence, in tiers with "
        '`safety = "strict"`.',
    )
    categories: dict[str, Category] = Field(
        default=REMOTE_CATEGORIES,
        description="Which of its categories count as which of ours; others do not count. "
        "`violence` is not among them: players fight.",
    )
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={},
        description="Score from which one of its categories counts; without one, its own verdict "
        "does.",
    )
    players_without: Literal["open", "closed"] = Field(
        default="open",
        description="What players say while it does not answer: `open` goes on, `closed` is "
        "refused.",
    )
    npcs_without: Literal["open", "closed"] = Field(
        default="closed",
        description="What NPCs of strict tiers say while it does not answer: `closed` leaves it "
        "to authored lines, `open` is content with the lists.",
    )
    cache: int = Field(default=10_000, ge=0, description="Verdicts that are kept, by text.")
    failures: int = Field(
        default=3, ge=1, le=100, description="Failures in a row after which it is left alone."
    )
    rest_s: float = Field(
        default=5.0,
        gt=0,
        le=900,
        description="For how long, in seconds; it doubles up to a minute while it stays away.",
    )


class ModerationSettings(_Settings):
    """Moderation of what players say to NPCs, and of what NPCs say (palaver-moderation)."""

    lists: bool = Field(
        default=True, description="Whether the lists and patterns that come with it count."
    )
    langs: list[Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}$")]] = Field(
        default=[],
        description="Languages whose lists count for every turn, besides the turn's own.",
    )
    player: dict[Category, PlayerAction] = Field(
        default={},
        description="What is done where players say something of a category: `refuse` (no model "
        "is asked, the persona's last words are spoken, nothing is remembered), `mask` (it is "
        "replaced before model and memory see it), `allow` (it is only noted). Shipped: "
        + ", ".join(f"`{name}` {action}" for name, action in PLAYER_ACTIONS.items())
        + "; a category of one's own is refused.",
    )
    npc: dict[Category, NpcAction] = Field(
        default={},
        description="The same for NPCs: `stop` (the next backend speaks instead, or the line ends "
        "there) or `allow`. Shipped: "
        + ", ".join(f"`{name}` {action}" for name, action in NPC_ACTIONS.items())
        + "; a category of one's own is stopped.",
    )
    words: dict[Category, list[str]] = Field(
        default={},
        description="More words and phrases by category; `*` at the end stands for any ending. "
        "Longer lists go into `moderation/CATEGORY.txt` or `moderation/CATEGORY.LANG.txt` of the "
        "world's folder.",
    )
    patterns: dict[Category, list[Annotated[str, AfterValidator(_pattern)]]] = Field(
        default={},
        description="Regular expressions by category; they see the text in lower case.",
    )
    except_words: list[str] = Field(
        default=[],
        description="Words and phrases that are never meant, such as names of the game; also "
        "`moderation/except.txt` of a trusted world.",
    )
    mask: str = Field(default="***", max_length=32, description="What masked words become.")
    care: str = Field(
        default=CARE,
        max_length=2_000,
        description="Told to the model where a player's words are of the category `self_harm`; "
        "empty tells it nothing.",
    )
    log_text: bool = Field(
        default=False,
        description="Whether the log shows the words that were found; else only the categories.",
    )
    remote: RemoteSettings | None = Field(
        default=None, description="A moderation service that is asked as well."
    )

    def player_action(self, category: str) -> PlayerAction:
        """Return what is done with what a player says."""
        return self.player.get(category) or PLAYER_ACTIONS.get(category, "refuse")

    def npc_action(self, category: str) -> NpcAction:
        """Return what is done with what an NPC says."""
        return self.npc.get(category) or NPC_ACTIONS.get(category, "stop")
