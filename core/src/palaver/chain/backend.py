"""What a source of text is.

A backend type is registered by a plugin (`palaver_register_backends`) under the name that
`palaver.toml` gives as `type`; each `[backends.NAME]` table makes one `Backend` of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from palaver.prompt.sections import Message
    from palaver.turn.model import Turn
    from palaver.world.manifest import AdapterManifest
    from palaver.world.world import World

__all__ = [
    "Backend",
    "BackendContext",
    "BackendSettings",
    "BackendType",
    "Finish",
    "GenerateRequest",
    "Health",
    "ModelInfo",
    "Purpose",
    "Replica",
    "Sampling",
    "replicas_of",
]

Purpose = Literal["reply", "filler", "closing"]
"""What is asked for: the NPC's answer; a sentence that fills the wait for it; or one that ends a
line whose backend died."""
MAX_MODEL_CHARS = 256
"""Most that is told of what a server calls its model: `turn.done` has to fit one message."""


class BackendSettings(BaseModel):
    """What every `[backends.NAME]` table may hold; a type's own settings extend it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(description="What kind of backend this is: a name that a plugin registers.")
    context_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Size of the context window in tokens; a longer prompt is trimmed. "
        "None asks the backend, or leaves the prompt as it is.",
    )
    chars_per_token: float = Field(
        default=4.0,
        gt=0.2,
        le=20,
        description="Characters of prompt per token, to estimate its length without a tokenizer.",
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        description="Requests at once to each server; more of them wait, the most urgent first. "
        "None sets no bound.",
    )
    queue: int = Field(
        default=256,
        ge=0,
        description="Requests that wait for a server whose `concurrency` is used up; beyond, the "
        "least urgent is refused, and its turn goes on down the chain.",
    )
    breaker_failures: int = Field(
        default=3,
        ge=1,
        description="Failures in a row after which a server is left alone for a while.",
    )
    breaker_ms: int = Field(
        default=500,
        ge=1,
        description="For how long, in milliseconds; it doubles each time the server fails again.",
    )
    breaker_max_ms: int = Field(
        default=3_000, ge=1, description="Longest such time, in milliseconds."
    )
    usd_per_m_prompt: float | None = Field(
        default=None,
        ge=0,
        description="Price of a million prompt tokens, in US dollars. None takes it from the "
        "price table, or 0 for a type that costs nothing.",
    )
    usd_per_m_completion: float | None = Field(
        default=None,
        ge=0,
        description="Price of a million tokens of replies, in US dollars, likewise.",
    )


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; None leaves it to the backend.

    Attributes:
        temperature: 0 (always the likeliest) to 2.
        top_p: Share of the probability mass that is considered, 0 to 1.
        max_tokens: Longest reply, in tokens.
        stop: Strings that end the reply, at most 4.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One call for text.

    Attributes:
        turn: The turn it belongs to; read only.
        messages: The prompt, trimmed to this backend, system message first.
        sampling: Sampling of the persona within the tier's limits.
        adapter: `name@version` of the persona's adapter, or None.
        seed: For repeatable replies, or None.
        priority: Lower is sooner: 0 player, 1 scene, 2 ambient, 3 background.
        schema: JSON Schema that the reply has to match, or None for free text.
        shown: What the player has already read of this reply; a backend that can continues it.
        deadline: `loop.time()` after which the reply is of no use.
        purpose: What is asked for; only instant types are asked for more than a reply.
    """

    turn: Turn
    messages: Sequence[Message]
    sampling: Sampling = field(default_factory=Sampling)
    adapter: str | None = None
    seed: int | None = None
    priority: int = 0
    schema: Mapping[str, Any] | None = None
    shown: str = ""
    deadline: float | None = None
    purpose: Purpose = "reply"


@dataclass(frozen=True, slots=True)
class Finish:
    """How a reply ended; the last thing that `generate` yields, if it knows.

    Attributes:
        reason: `stop` (it was done), `length` (cut at `max_tokens`) or `filter` (withheld).
        model: The model that really spoke, or None.
        adapter: The adapter that was really used, or None for the base model.
        prompt_tokens: Tokens read, or None where the backend does not say.
        completion_tokens: Tokens written, or None.
        cached_tokens: Those of the prompt tokens that the server had in its cache, or None.
        note: Something the trail should tell, such as `adapter not loaded yet`.
    """

    reason: Literal["stop", "length", "filter"] = "stop"
    model: str | None = None
    adapter: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        """Take nothing of a server that would spoil a sum or the message that tells of it."""
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
            count = getattr(self, name)
            if count is not None and count < 0:
                # It does not know; a ceiling would grow by what it says.
                object.__setattr__(self, name, None)
        if self.model is not None and len(self.model) > MAX_MODEL_CHARS:
            object.__setattr__(self, "model", self.model[:MAX_MODEL_CHARS])


@dataclass(frozen=True, slots=True)
class Health:
    """How a backend is doing.

    Attributes:
        ok: Whether it could serve a turn now.
        detail: One line for a person; where `ok` is false, what to do.
        version: The server's version, or None.
    """

    ok: bool
    detail: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model or adapter that a backend can serve now.

    Attributes:
        name: As it is asked for.
        base: For an adapter the name of its base model, else None.
        context_tokens: Size of its context window, or None.
    """

    name: str
    base: str | None = None
    context_tokens: int | None = None


class Replica(Protocol):
    """One of several servers of a backend; each has its own breaker, limits and queue.

    Attributes:
        name: Which one, for trail, log and metrics: its address, without secrets.
    """

    name: str

    def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Stream a reply, as `Backend.generate` does."""

    def warm(self, adapter: str | None, /) -> bool:
        """Return whether it could use this adapter at once; must not block."""


class Backend(Protocol):
    """One configured source of text. All methods are called on the server's event loop.

    A backend with several servers has an attribute `replicas`, a sequence of `Replica`: then
    they are asked, and its own `generate` is not. One without is its own only server. One with a
    method `readings` tells metrics of its servers; see `palaver.chain.readings`.
    """

    name: str

    @property
    def settings(self) -> BackendSettings:
        """Its settings; an attribute of the type's own settings class will do."""

    async def start(self) -> None:
        """Get ready: open clients, look up models. It must not fail if the server is away."""

    async def close(self) -> None:
        """Release everything; safe to call twice."""

    def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Stream a reply.

        Yields non-empty pieces of text as they come (everything that is there at once in one
        piece) and at last, if known, a `Finish`. Closing the generator early must abort the
        generation down to the socket. Ends normally only if the reply is whole.

        Raises:
            BackendError: One of its subclasses, for everything the backend does wrong.
        """

    async def health(self) -> Health:
        """Ask the backend itself, within a few seconds."""

    async def models(self) -> Sequence[ModelInfo]:
        """List what it can serve now; empty where that has no meaning."""


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a backend may know of the world it serves.

    Attributes:
        data_dir: The world's data folder; it exists.
        adapters: The world's adapter manifests by `name@version`, as they are now.
        report: Logs a line for whoever runs the server.
        world: The world, as it is now; None where there is none, as in tests.
    """

    data_dir: Path
    adapters: Callable[[], Mapping[str, AdapterManifest]]
    report: Callable[[str], None]
    world: Callable[[], World] | None = None


@dataclass(frozen=True, slots=True)
class BackendType:
    """A kind of backend, as a plugin registers it.

    Attributes:
        name: The `type` in `palaver.toml`.
        settings: Model of its table, a subclass of `BackendSettings`.
        create: Makes a backend of a name, its settings and its context; must not block.
        instant: True for a type that answers from memory, without a network or a model. It is
            never raced and never late, and it speaks when the others have failed.
        detect: Looks for a server of this type on this machine and returns the settings for it,
            or None. Called once on start where no backend is configured, under a time limit.
        summary: One line for `palaver plugins`.
        addresses: Names of the settings that say which machine it talks to; empty for a type that
            talks to none. A world that is not trusted may only name this machine there. None, for
            a type that does not say, leaves its backends out of such a world, but for instant
            ones.
        paid: True for a type whose use costs money: `palaver check` asks for a price, spend
            ceilings apply, and `spend.mode = "off"` opens no connection to it.
        check: Looks at the settings of all backends of this type, by name, and returns what does
            not go well together, a sentence each that ends with what to do: a warning of
            `palaver check`, and a note when Palaver starts. No I/O.
    """

    name: str
    settings: type[BackendSettings]
    create: Callable[[str, Any, BackendContext], Backend]
    instant: bool = False
    detect: Callable[[], Any] | None = None
    summary: str = ""
    addresses: frozenset[str] | None = None
    paid: bool = False
    check: Callable[[Mapping[str, Any]], Iterable[str]] | None = None

    def problems(self, backends: Mapping[str, BackendSettings]) -> list[str]:
        """Return what `check` says, or that it fails.

        Args:
            backends: The settings of all backends of this type, by name.
        """
        if self.check is None or not backends:
            return []
        try:
            return list(self.check(backends))
        except Exception as err:
            # A plugin's bug must not keep `palaver check` from telling the rest.
            why = f"the type {self.name!r} failed to look at its backends with {err!r:.200}"
            return [f"{why}; tell the plugin's author"]


def replicas_of(backend: Backend) -> Sequence[Replica | Backend]:
    """Return the servers of a backend: its replicas, or itself where it has none."""
    return getattr(backend, "replicas", None) or (backend,)
