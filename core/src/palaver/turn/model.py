"""The turn: one exchange, from what was said to what the NPC answered.

A `Turn` enters the pipeline once and each step adds to it. Hooks get it as it is at their step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from palaver.memory import player_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from palaver.actions import DeclaredAction
    from palaver.cache.situation import Situation
    from palaver.config.models import Tier
    from palaver.game import Branch, Npc, Player
    from palaver.memory import Exchange
    from palaver.prompt.sections import Message, Prompt
    from palaver.turn.confirm import Answers
    from palaver.world.persona import Persona
    from palaver.world.world import World

__all__ = [
    "OBJECTED",
    "Attempt",
    "Outcome",
    "Priority",
    "ServedBy",
    "Status",
    "Turn",
    "TurnResult",
    "Usage",
]

Priority = Literal["player", "scene", "ambient", "background"]
PRIORITIES: tuple[Priority, ...] = ("player", "scene", "ambient", "background")

OBJECTED = "ended at a sentence: "
"""Reason in the trail of a line that a check ended in the middle, before the check's own."""
Status = Literal["completed", "truncated", "cancelled", "rescued"]
Outcome = Literal["served", "failed", "late", "refused", "objected", "lost", "died", "skipped"]


@dataclass(slots=True)
class Attempt:
    """One entry of the trail: a backend that was asked, and what became of it.

    Attributes:
        backend: Its name in `palaver.toml`, or `last_words`.
        outcome: What became of it.
        at_ms: When the outcome was known, in milliseconds from the turn's acceptance.
        reason: Why, short; None where there is nothing to say.
        begun_ms: When it was asked, likewise; None where it was not.
        first_ms: When its first text came, likewise; None where none did.
        cost_usd: What it cost, in US dollars.
        prompt_tokens: Tokens read; estimated where the backend did not say.
        completion_tokens: Tokens written, likewise.
        server: Which of the backend's servers it was, or None where it has but one.
    """

    backend: str
    outcome: Outcome
    at_ms: float
    reason: str | None = None
    begun_ms: float | None = None
    first_ms: float | None = None
    cost_usd: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    server: str | None = None


@dataclass(slots=True)
class ServedBy:
    """Who spoke: the backend whose text was shown last.

    Attributes:
        backend: Name in `palaver.toml`, or `last_words`, or an empty string if nobody spoke.
        type: The backend's type.
        model: The model's name, or None.
        adapter: The adapter that was really used, or None.
    """

    backend: str = ""
    type: str = ""
    model: str | None = None
    adapter: str | None = None


@dataclass(slots=True)
class Usage:
    """Tokens and money of a turn, all attempts together.

    Attributes:
        prompt_tokens: Tokens read by models.
        completion_tokens: Tokens written by models.
        cost_usd: What that cost, in US dollars.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(slots=True)
class TurnResult:
    """What a turn came to; the content of `turn.done`.

    Attributes:
        status: `completed`; `truncated` (cut by a length limit); `cancelled`; `rescued` (the
            backend died after text was shown and another ended the line).
        text: Everything that was shown, joined.
        served_by: Who spoke.
        trail: Every backend that was asked, in order.
        usage: Tokens and cost.
        ttft_ms: From acceptance to the first shown text, or None if there was none.
        total_ms: From acceptance to the end.
        cached: Whether the reply came out of the dialogue cache.
    """

    status: Status = "completed"
    text: str = ""
    served_by: ServedBy = field(default_factory=ServedBy)
    trail: list[Attempt] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    ttft_ms: float | None = None
    total_ms: float = 0.0
    cached: bool = False


@dataclass(slots=True, eq=False)
class Turn:
    """One exchange on its way through the pipeline.

    Attributes:
        id: The client's id of the turn.
        game: Name of the game.
        branch: The branch of the game's memory it belongs to.
        npc: Who is spoken to, with its facts.
        player: Who speaks, or None.
        persona: The NPC's persona, as it was when the turn began.
        world: The world it is from, as it was when the turn began.
        tier: The policy it runs under.
        tier_name: Its name; `palaver_turn_received` may set another one, which `tier` then follows.
        text: What was said, with models' control tokens made harmless; empty for a cue.
        cue: What happened instead, or None.
        speaker: Id of the NPC that said it, or None if a player did.
        audience: Ids of others who hear and remember it.
        lang: Language of the reply, a BCP 47 tag.
        priority: How urgent it is.
        seed: For repeatable replies, or None.
        first_text_ms: The client's own limit for the first words, or None.
        actions: What the engine can carry out for this NPC, by name: as declared.
        intent: What the utterance is: `greeting`, `threat`, `trade`, `question`, `quest`,
            `farewell`, `insult`, `thanks`, `silence` or `other`.
        mood: The NPC's mood.
        accepted_at: `time.perf_counter()` of its acceptance, in seconds.
        begun_at: `loop.time()` of when its place came; its limits count from there.
        first_text_at: `loop.time()` by which the first text must be shown.
        ends_at: `loop.time()` by which the turn must be over.
        history: What these two said before, oldest first.
        context: What `palaver_build_context` hooks added.
        variables: Plain data that templates and conditions see.
        prompt: The prompt, once it is built.
        given_prompt: The client's own messages, which take the place of a persona's prompt, or
            None.
        given_history: What the client says was said before, or None to recall it; such a turn is
            not remembered, because the client does that itself.
        waited_ms: How long it waited for the turns before it, in milliseconds.
        game_ms: How long its line waited for the game to confirm actions, in milliseconds.
        refused: Why the turn was refused, or None.
        calls: Actions that were called so far.
        answers: Where the engine's answers to actions arrive, or None where nobody could answer.
        raw: What a model wrote, tags and all, if one backend alone spoke the whole reply; else
            None. It is what the dialogue cache keeps.
        authored: Whether what is about to be said was written by an author (an authored line, a
            filler, last words), not by a model; holds while `palaver_filter` is called.
        extended: Whether a plugin changed the prompt.
        situation: Where it happens, as the dialogue cache sees it; None where that is of no use.
        session: Id of the session that started it, or None.
        trace: Notes for whoever wonders: plugins that failed, facts that were missing.
        result: What it came to so far.
    """

    id: str
    game: str
    branch: Branch
    npc: Npc
    player: Player | None
    persona: Persona
    world: World
    tier: Tier
    tier_name: str
    text: str = ""
    cue: str | None = None
    speaker: str | None = None
    audience: tuple[str, ...] = ()
    lang: str = "en"
    priority: Priority = "player"
    seed: int | None = None
    first_text_ms: int | None = None
    actions: Mapping[str, DeclaredAction] = field(default_factory=dict)
    intent: str = ""
    mood: str = ""
    accepted_at: float = 0.0
    begun_at: float = 0.0
    first_text_at: float = 0.0
    ends_at: float = 0.0
    history: Sequence[Exchange] = ()
    context: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    prompt: Prompt | None = None
    given_prompt: Sequence[Message] | None = None
    given_history: Sequence[Exchange] | None = None
    waited_ms: float = 0.0
    game_ms: float = 0.0
    refused: str | None = None
    calls: int = 0
    answers: Answers | None = None
    raw: str | None = None
    authored: bool = False
    extended: bool = False
    situation: Situation | None = None
    session: str | None = None
    trace: list[str] = field(default_factory=list)
    result: TurnResult = field(default_factory=TurnResult)

    @property
    def save(self) -> str:
        """Name of the branch of memory it belongs to, as it is now."""
        return self.branch.save

    @property
    def counterpart(self) -> str | None:
        """Id of whoever the NPC talks with: the speaking NPC, the player, or None for a cue."""
        if self.speaker is not None:
            return self.speaker
        return self.player.id if self.player else None

    @property
    def counterpart_key(self) -> str | None:
        """The counterpart as memory knows it: a player and an NPC may have the same id."""
        if self.speaker is not None:
            return self.speaker
        return player_key(self.player.id) if self.player else None

    def refuse(self, reason: str) -> None:
        """Answer with the persona's last words instead of asking a backend.

        Args:
            reason: Short, for trail and log; the player never sees it.
        """
        self.refused = reason

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(text)
