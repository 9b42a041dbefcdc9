"""The messages of the wire protocol, version 1, as pydantic models.

Every message is one JSON object in one text frame. A model's `type` tells it apart. Unknown
fields are ignored, so that an older peer can meet a newer one. Times carry `_ms`; offsets count
Unicode code points. `docs/reference/protocol.md` is the specification; these models are what it
is checked against.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

__all__ = [
    "CLIENT_MESSAGES",
    "SERVER_MESSAGES",
    "ClientMessage",
    "ServerMessage",
    "client_message",
    "server_message",
]

PROTOCOL = 1
SUBPROTOCOL = "palaver.v1"
CAPABILITIES = ("sentence", "emotion", "action", "audio", "heard")
"""What a client can ask for; this server grants all but `audio`."""
MAX_REPLY_CHARS = 8_000
"""Longest `text` of a `turn.done`, in code points."""

Id = Annotated[str, Field(min_length=1, max_length=128)]
FactName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Facts = dict[FactName, Any]
Lang = Annotated[
    str, Field(min_length=2, max_length=35, pattern=r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")
]
CallId = Annotated[str, Field(min_length=1, max_length=160)]
"""Id of a call: that of its turn, and a number."""
Utterance = Annotated[str, Field(max_length=4_000)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Id | None = Field(
        default=None, description="Any name; an `error` about this message carries it as `re`."
    )


class ClientInfo(BaseModel):
    """Who connects."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Annotated[str, Field(max_length=128)] = Field(description="Name of the client.")
    version: Annotated[str, Field(max_length=64)] = Field(default="", description="Its version.")
    engine: Annotated[str, Field(max_length=128)] = Field(
        default="", description="The engine and its version."
    )


class ActionSpec(BaseModel):
    """Something the engine can carry out for an NPC."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = Field(
        description="Letters, digits and `_`."
    )
    description: Annotated[str, Field(max_length=500)] = Field(
        default="", description="What it does, in words for the model."
    )
    args: dict[str, Any] = Field(
        default_factory=dict,
        description="JSON Schema of the arguments, an object schema without `$ref` and "
        "`pattern`, of the keywords that the protocol's page lists.",
    )
    confirm: bool = Field(
        default=False,
        description="Whether the engine answers with `action.result`; what comes after the action "
        "is held until then.",
    )
    confirm_ms: Annotated[int, Field(ge=100, le=5_000)] = Field(
        default=500,
        description="How long it may take to answer; no answer counts as a refusal.",
    )


# Client to server


class SessionStart(_Message):
    """First message of a connection, within 5 seconds."""

    type: Literal["session.start"] = "session.start"
    protocol: int = Field(description="1.")
    client: ClientInfo = Field(description="Who connects.")
    token: str | None = Field(default=None, description="Where the server asks for one.")
    game: Id = Field(default="default", description="The running game or shard.")
    save: Id | None = Field(default=None, description="Memory branch to go on with.")
    capabilities: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list,
        max_length=64,
        description="What the client wants to receive or promises; unknown ones are ignored.",
    )


class SessionResume(_Message):
    """First message after a cut, instead of `session.start`.

    The server may no longer know the session, or be another one: the fields of `session.start`
    say what the new session of `session.reset` is for.
    """

    type: Literal["session.resume"] = "session.resume"
    session: Id = Field(description="The session to go on with.")
    last_seq: Annotated[int, Field(ge=0)] = Field(description="Last `seq` that was received.")
    token: str | None = Field(default=None, description="The token the session was started with.")
    client: ClientInfo = Field(
        default=ClientInfo(name=""), description="As in `session.start`; used for a reset."
    )
    game: Id = Field(default="default", description="As in `session.start`; used for a reset.")
    save: Id | None = Field(default=None, description="As in `session.start`; used for a reset.")
    capabilities: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list,
        max_length=64,
        description="As in `session.start`; used for a reset.",
    )


class SessionEnd(_Message):
    """Ends the session now; without it a session lives on for the resume window."""

    type: Literal["session.end"] = "session.end"


class NpcUpsert(_Message):
    """Creates or changes an NPC; fields that are left out stay as they are."""

    type: Literal["npc.upsert"] = "npc.upsert"
    npc: Id = Field(description="The engine's id of the NPC.")
    persona: Id = Field(description="Name of a persona of the world.")
    tier: Id | None = Field(default=None, description="Policy, instead of the persona's.")
    zone: Id | None = Field(default=None, description="Where it is.")
    facts: Facts | None = Field(default=None, description="Facts, merged key by key.")


class NpcRemove(_Message):
    """Removes an NPC."""

    type: Literal["npc.remove"] = "npc.remove"
    npc: Id = Field(description="The NPC.")


class PlayerUpsert(_Message):
    """Creates or changes a player; fields that are left out stay as they are."""

    type: Literal["player.upsert"] = "player.upsert"
    player: Id = Field(description="The engine's id of the player.")
    name: Annotated[str, Field(max_length=128)] | None = Field(
        default=None, description="Name that NPCs may use."
    )
    zone: Id | None = Field(default=None, description="Where they are.")
    lang: Lang | None = Field(default=None, description="Their language, such as `fr`.")
    facts: Facts | None = Field(default=None, description="Facts, merged key by key.")


class FactsUpdate(_Message):
    """Changes facts of an NPC, a player, or (with neither) the game; merged key by key."""

    type: Literal["facts.update"] = "facts.update"
    npc: Id | None = Field(default=None, description="The NPC.")
    player: Id | None = Field(default=None, description="The player.")
    set: Facts = Field(default_factory=dict, description="Facts to set.")
    unset: list[Id] = Field(default_factory=list, max_length=1_000, description="Facts to remove.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.npc is not None and self.player is not None:
            raise ValueError("give `npc` or `player`, not both")
        if not self.model_fields_set & {"set", "unset"}:
            raise ValueError("give `set`, `unset` or both; the facts themselves go into `set`")
        return self


class ActionsSet(_Message):
    """Declares what the engine can carry out, for one NPC or for all; replaces what was there."""

    type: Literal["actions.set"] = "actions.set"
    npc: Id | None = Field(default=None, description="The NPC, or all of the game.")
    actions: list[ActionSpec] = Field(max_length=256, description="The actions.")


class _TurnFields(BaseModel):
    """What a turn is made of, over WebSocket and HTTP alike."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    turn: Id = Field(description="The client's id, unique in the session.")
    npc: Id = Field(description="Who is spoken to.")
    player: Id | None = Field(default=None, description="Who speaks.")
    text: Utterance | None = Field(default=None, description="What was said; may be empty.")
    cue: Utterance | None = Field(default=None, description="What happened, instead of `text`.")
    speaker: Id | None = Field(default=None, description="The NPC that said it.")
    audience: list[Id] = Field(
        default_factory=list, max_length=32, description="Who else hears and remembers it."
    )
    lang: Lang | None = Field(default=None, description="Language of the reply.")
    priority: Literal["player", "scene", "ambient", "background"] = Field(
        default="player", description="How urgent it is."
    )
    first_text_ms: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="A shorter limit for the first words than the tier's."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        default=None, description="For repeatable replies."
    )

    @model_validator(mode="after")
    def _text_or_cue(self) -> Self:
        if (self.text is None) == (self.cue is None):
            raise ValueError("give either `text` (somebody said it) or `cue` (it happened)")
        return self


class TurnStart(_TurnFields, _Message):
    """Somebody said something to an NPC, or something happened: it answers."""

    type: Literal["turn.start"] = "turn.start"


class TurnRequest(_TurnFields):
    """Body of `POST /v1/turns`: a turn, and the NPC it makes where that is new."""

    turn: Id | None = Field(default=None, description="Id of the turn; made up if missing.")  # type: ignore[assignment]  # optional here, required over WebSocket
    game: Id = Field(default="default", description="The running game or shard.")
    persona: Id | None = Field(default=None, description="Persona of an NPC that is new.")
    tier: Id | None = Field(default=None, description="Policy, instead of the persona's.")
    facts: Facts | None = Field(default=None, description="Facts of the NPC, merged key by key.")


class TurnCancel(_Message):
    """Stops a turn; too late is no error."""

    type: Literal["turn.cancel"] = "turn.cancel"
    turn: Id = Field(description="The turn.")
    heard: Annotated[str, Field(max_length=MAX_REPLY_CHARS)] | None = Field(
        default=None, description="How much of the text was really shown or spoken."
    )


class TurnHeard(_Message):
    """The reply was heard to its end, and is now remembered; for clients with `heard`."""

    type: Literal["turn.heard"] = "turn.heard"
    turn: Id = Field(description="The turn.")


class TurnFeedback(_Message):
    """What the player thinks of a reply."""

    type: Literal["turn.feedback"] = "turn.feedback"
    turn: Id = Field(description="The turn.")
    kind: Literal["skip", "like", "dislike", "report"] = Field(description="What they did.")
    note: Annotated[str, Field(max_length=1_000)] | None = Field(
        default=None, description="Their words."
    )


class ActionResult(_Message):
    """The engine accepts or refuses an action."""

    type: Literal["action.result"] = "action.result"
    turn: Id = Field(description="The turn.")
    call: CallId = Field(description="`call` of the `turn.action`.")
    ok: bool = Field(description="Accepted or refused.")
    message: Annotated[str, Field(max_length=1_000)] | None = Field(
        default=None, description="Why, in words for the model."
    )


class SaveMark(_Message):
    """From here on memory belongs to this branch."""

    type: Literal["save.mark"] = "save.mark"
    save: Id = Field(description="Name of the save.")


class Ping(_Message):
    """Keeps the connection; at least every 30 seconds."""

    type: Literal["ping"] = "ping"
    nonce: Annotated[str, Field(max_length=128)] | None = Field(
        default=None, description="Comes back in `pong`."
    )


# Server to client


class ServerInfo(BaseModel):
    """Which server answers."""

    name: str = Field(description="`palaver`.")
    version: str = Field(description="Its version.")


class LimitsInfo(BaseModel):
    """What one session may do."""

    model_config = ConfigDict(extra="ignore")

    message_bytes: int = Field(description="Largest message, in bytes.")
    turns: int = Field(description="Turns in flight.")
    queue: int = Field(description="Turns waiting for one NPC and player.")
    resume_ms: int = Field(description="How long a session lives on without a connection.")
    silence_ms: int = Field(description="Silence after which a connection is closed.")
    messages_per_s: float = Field(
        default=200, gt=0, description="Messages per second, on average; a burst may be larger."
    )


class SessionReady(BaseModel):
    """The session is open."""

    type: Literal["session.ready"] = "session.ready"
    session: str = Field(description="Its id; keep it secret.")
    protocol: int = Field(default=PROTOCOL, description="1.")
    server: ServerInfo = Field(description="Which server answers.")
    capabilities: list[str] = Field(description="Those of the client's that are granted.")
    limits: LimitsInfo = Field(description="What the session may do.")


class SessionResumed(BaseModel):
    """The session goes on; what came after `last_seq` follows."""

    type: Literal["session.resumed"] = "session.resumed"
    session: str = Field(description="Its id.")


class SessionReset(SessionReady):
    """The old session cannot go on: this is a new one, send your state again."""

    type: Literal["session.reset"] = "session.reset"  # type: ignore[assignment]  # the same fields under another type
    reason: str = Field(description="Why.")


class _TurnMessage(BaseModel):
    turn: str = Field(description="The turn.")
    seq: int = Field(description="1, 2, 3 ... in the session, without gaps.")


class TurnAccepted(_TurnMessage):
    """The turn has begun; exactly one `turn.done` will follow."""

    type: Literal["turn.accepted"] = "turn.accepted"
    npc: str = Field(description="Who answers.")
    tier: str = Field(description="The policy it runs under.")


class TurnDelta(_TurnMessage):
    """The next piece of spoken text."""

    type: Literal["turn.delta"] = "turn.delta"
    text: str = Field(description="Spoken text, one or several tokens.")


class TurnSentence(_TurnMessage):
    """One whole sentence, for chat lines, speech and pacing."""

    type: Literal["turn.sentence"] = "turn.sentence"
    index: int = Field(description="0, 1, 2 ...")
    start: int = Field(description="Offset in the whole text, in code points.")
    text: str = Field(description="The sentence.")


class TurnEmotion(_TurnMessage):
    """How the text after it is felt."""

    type: Literal["turn.emotion"] = "turn.emotion"
    name: str = Field(description="Such as `anger`.")
    intensity: float = Field(ge=0, le=1, description="0 to 1.")


class TurnAction(_TurnMessage):
    """What the NPC does; checked against what the engine declared."""

    type: Literal["turn.action"] = "turn.action"
    call: str = Field(description="Id of this call in the turn.")
    name: str = Field(description="The action.")
    args: dict[str, Any] = Field(description="Its arguments.")


class ServedByInfo(BaseModel):
    """Who spoke."""

    backend: str = Field(description="Its name in `palaver.toml`, or `last_words`.")
    type: str = Field(description="The backend's type.")
    model: str | None = Field(description="The model.")
    adapter: str | None = Field(description="The adapter that was used.")


class TrailEntry(BaseModel):
    """What became of one backend, or of the `cache`, a filler or the persona's `last_words`."""

    model_config = ConfigDict(allow_inf_nan=False)

    backend: str = Field(description="Its name.")
    outcome: Literal[
        "served", "failed", "late", "refused", "objected", "lost", "died", "skipped"
    ] = Field(description="What became of it.")
    at_ms: float = Field(description="When, from the turn's acceptance.")
    reason: str | None = Field(default=None, description="Why.")
    begun_ms: float | None = Field(
        default=None, description="When it was asked, likewise; missing where it was not."
    )
    first_ms: float | None = Field(
        default=None, description="When its first text came, likewise; missing where none did."
    )
    cost_usd: float | None = Field(
        default=None, description="What it cost, in US dollars; missing where it cost nothing."
    )
    prompt_tokens: int | None = Field(
        default=None, description="Tokens it read; missing where it read none."
    )
    completion_tokens: int | None = Field(default=None, description="Tokens it wrote, likewise.")
    server: str | None = Field(
        default=None, description="Which of the backend's servers; missing where it has but one."
    )


class UsageInfo(BaseModel):
    """Tokens and cost, all attempts together."""

    prompt_tokens: int = Field(description="Tokens read.")
    completion_tokens: int = Field(description="Tokens written.")
    cost_usd: float = Field(description="Cost in US dollars.")


class TurnDone(_TurnMessage):
    """The turn is over: exactly one for every accepted turn."""

    type: Literal["turn.done"] = "turn.done"
    status: Literal["completed", "truncated", "cancelled", "rescued"] = Field(
        description="How it ended."
    )
    text: str = Field(max_length=MAX_REPLY_CHARS, description="All deltas joined.")
    served_by: ServedByInfo = Field(description="Who spoke.")
    trail: list[TrailEntry] = Field(
        description="What became of each backend, in the order in which it was done with them; "
        "those that were skipped too, the `cache`, and the persona's `last_words`."
    )
    usage: UsageInfo = Field(description="Tokens and cost.")
    ttft_ms: float | None = Field(description="From acceptance to the first shown text.")
    total_ms: float = Field(description="From acceptance to the end.")
    cached: bool = Field(description="Whether it came out of the dialogue cache.")


ErrorCode = Literal[
    "bad_message",
    "unknown_type",
    "unauthorized",
    "unknown_npc",
    "unknown_persona",
    "duplicate_turn",
    "too_large",
    "rate_limited",
    "overloaded",
    "internal",
]


class Error(BaseModel):
    """Something could not be done; with `turn`, that turn was not accepted."""

    type: Literal["error"] = "error"
    code: ErrorCode = Field(description="For programs.")
    message: str = Field(description="For people: what to do.")
    re: str | None = Field(default=None, description="`id` of the message it is about.")
    turn: str | None = Field(default=None, description="The turn that was not accepted.")
    retryable: bool = Field(description="Whether the same message may succeed later.")


class Pong(BaseModel):
    """Answer to `ping`."""

    type: Literal["pong"] = "pong"
    nonce: str | None = Field(default=None, description="As in the `ping`.")


ClientMessage = (
    SessionStart
    | SessionResume
    | SessionEnd
    | NpcUpsert
    | NpcRemove
    | PlayerUpsert
    | FactsUpdate
    | ActionsSet
    | TurnStart
    | TurnCancel
    | TurnHeard
    | TurnFeedback
    | ActionResult
    | SaveMark
    | Ping
)
ServerMessage = (
    SessionReady
    | SessionResumed
    | SessionReset
    | TurnAccepted
    | TurnDelta
    | TurnSentence
    | TurnEmotion
    | TurnAction
    | TurnDone
    | Error
    | Pong
)

CLIENT_MESSAGES: dict[str, type[BaseModel]] = {
    model.model_fields["type"].default: model for model in ClientMessage.__args__
}
"""Client messages by `type`."""
SERVER_MESSAGES: dict[str, type[BaseModel]] = {
    model.model_fields["type"].default: model for model in ServerMessage.__args__
}
"""Server messages by `type`."""

_CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(
    Annotated[ClientMessage, Field(discriminator="type")]
)
_SERVER: TypeAdapter[ServerMessage] = TypeAdapter(
    Annotated[ServerMessage, Field(discriminator="type")]
)


def client_message(data: dict[str, Any]) -> ClientMessage:
    """Check a client's message.

    Args:
        data: The JSON object.

    Raises:
        pydantic.ValidationError: It is not a message of the protocol.
    """
    return _CLIENT.validate_python(data)


def server_message(data: dict[str, Any]) -> ServerMessage:
    """Check a server's message.

    Args:
        data: The JSON object.

    Raises:
        pydantic.ValidationError: It is not a message of the protocol.
    """
    return _SERVER.validate_python(data)
