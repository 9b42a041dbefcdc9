"""What a source of text is.

A backend type is registered by a plugin (`palaver_register_backends`) under the name that
`palaver.toml` gives as `type`; each `[backends.NAME]` table makes one `Backend` of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
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
    "Sampling",
]


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


@dataclass(frozen=True, slots=True)
class Finish:
    """How a reply ended; the last thing that `generate` yields, if it knows.

    Attributes:
        reason: `stop` (it was done), `length` (cut at `max_tokens`) or `filter` (withheld).
        model: The model that really spoke, or None.
        adapter: The adapter that was really used, or None for the base model.
        prompt_tokens: Tokens read, or None where the backend does not say.
        completion_tokens: Tokens written, or None.
        note: Something the trail should tell, such as `adapter not loaded yet`.
    """

    reason: Literal["stop", "length", "filter"] = "stop"
    model: str | None = None
    adapter: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    note: str | None = None


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


class Backend(Protocol):
    """One configured source of text. All methods are called on the server's event loop."""

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
    """

    name: str
    settings: type[BackendSettings]
    create: Callable[[str, Any, BackendContext], Backend]
    instant: bool = False
    detect: Callable[[], Any] | None = None
    summary: str = ""
    addresses: frozenset[str] | None = None
