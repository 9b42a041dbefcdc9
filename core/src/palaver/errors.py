"""Every error Palaver raises on purpose.

    PalaverError
    ├── ConfigError              palaver.toml, environment or flags (file, key, line)
    ├── WorldError               a file of a world (file, line)
    │   ├── PersonaError         front matter
    │   ├── TemplateError        a Jinja template: syntax, sandbox, bounds
    │   ├── LinesError           a CSV of authored lines
    │   └── ManifestError        an adapter manifest
    ├── TrustError               a world that wants more than an untrusted one may have
    ├── PluginError              a plugin that cannot be loaded
    ├── ProtocolError            what a peer sent (code, re, close_code)
    ├── StoreError               the shared store does not answer
    ├── ServerError              a reply of a Palaver server to the client (code)
    │   └── ConnectionLost       the server went away
    └── BackendError             a source of text (backend)
        ├── BackendUnavailable   cannot be reached, or went away before answering
        ├── BackendTimeout       too slow (phase, limit_s); also a TimeoutError
        ├── BackendRefused       says no: limits, keys, a full queue (status_code, retry_after_s)
        │   ├── BackendOverloaded   a full queue or a rate limit: try again later
        │   ├── BackendUnauthorized a key is missing or wrong
        │   ├── ModelNotFound       no such model or adapter there; also a LookupError
        │   └── PromptTooLong       the prompt does not fit the context window
        └── BackendResponseError answers with something that is not an answer
            └── StreamBroken     the stream ended without its end

Facts are attributes; the text is made from them. A message for a person ends with what to do.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "BackendError",
    "BackendOverloaded",
    "BackendRefused",
    "BackendResponseError",
    "BackendTimeout",
    "BackendUnauthorized",
    "BackendUnavailable",
    "ConfigError",
    "ConnectionLost",
    "LinesError",
    "ManifestError",
    "ModelNotFound",
    "PalaverError",
    "PersonaError",
    "PluginError",
    "PromptTooLong",
    "ProtocolError",
    "ServerError",
    "StoreError",
    "StreamBroken",
    "TemplateError",
    "TrustError",
    "WorldError",
]


class PalaverError(Exception):
    """Base of everything Palaver raises on purpose."""


def _where(file: Path | str | None, line: int | None) -> str:
    if file is None:
        return ""
    return f"{file}:{line}: " if line else f"{file}: "


class ConfigError(PalaverError):
    """A setting that cannot be used.

    Attributes:
        file: The file it stands in, or None for environment and flags.
        key: The dotted key, such as `tiers.elite.chain`, or None.
        line: Line in the file, from 1, or None.
        problem: What is wrong and what to write instead.
        others: What else is wrong with the settings.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        key: str | None = None,
        line: int | None = None,
        others: tuple[ConfigError, ...] = (),
    ) -> None:
        self.problem, self.file, self.key, self.line = problem, file, key, line
        self.others = others
        super().__init__(f"{_where(file, line)}{f'{key}: ' if key else ''}{problem}")


class WorldError(PalaverError):
    """A file of a world that cannot be used.

    Attributes:
        file: The file, or None.
        line: Line in it, from 1, or None where the whole file is meant.
        problem: What is wrong and what to write instead.
        others: What else is wrong with the same file.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        others: tuple[WorldError, ...] = (),
    ) -> None:
        self.problem, self.line, self.others = problem, line, others
        self.file = Path(file) if file is not None else None
        super().__init__(f"{_where(file, line)}{problem}")


class PersonaError(WorldError):
    """A persona's front matter is broken."""


class TemplateError(WorldError):
    """A template is broken, leaves the sandbox or breaks its bounds."""


class LinesError(WorldError):
    """A CSV of authored lines is broken."""


class ManifestError(WorldError):
    """An adapter manifest is broken or does not fit its base."""


class TrustError(PalaverError):
    """An untrusted world asks for what only a trusted one may have."""


class PluginError(PalaverError):
    """A plugin that cannot be loaded.

    Attributes:
        plugin: Its name, with distribution and version where known.
    """

    def __init__(self, plugin: str, problem: str) -> None:
        self.plugin, self.problem = plugin, problem
        super().__init__(f"plugin {plugin}: {problem}")


class ProtocolError(PalaverError):
    """A message that breaks the wire protocol.

    Attributes:
        code: An error code of the protocol, such as `bad_message`.
        message: What to do, for whoever wrote the client.
        re: The `id` of the message it is about, or None.
        turn: The turn that was not accepted, or None.
        retryable: Whether the same message may succeed later.
        close_code: WebSocket close code if the connection cannot go on, else None.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        re: str | None = None,
        turn: str | None = None,
        retryable: bool = False,
        close_code: int | None = None,
    ) -> None:
        self.code, self.message, self.re, self.turn = code, message, re, turn
        self.retryable, self.close_code = retryable, close_code
        super().__init__(f"{code}: {message}")


class StoreError(PalaverError):
    """The shared store does not answer, or not in time."""


class ServerError(PalaverError):
    """The server answered a client's message with an error.

    Attributes:
        code: The protocol's error code.
        message: What the server says to do.
        turn: The turn that was not accepted, or None.
        retryable: Whether the same message may succeed later.
    """

    def __init__(
        self, code: str, message: str, *, turn: str | None = None, retryable: bool = False
    ) -> None:
        self.code, self.message, self.turn, self.retryable = code, message, turn, retryable
        super().__init__(f"{code}: {message}")


class ConnectionLost(ServerError, ConnectionError):
    """The connection to the server ended."""

    def __init__(self, message: str) -> None:
        super().__init__("connection_lost", message, retryable=True)


class BackendError(PalaverError):
    """A source of text failed; the chain moves on.

    Attributes:
        backend: The backend's name in `palaver.toml`.
        reason: What happened, short, without secrets; it goes into the trail.
    """

    def __init__(self, backend: str, reason: str) -> None:
        self.backend, self.reason = backend, reason
        super().__init__(f"backend {backend!r}: {reason}")


class BackendUnavailable(BackendError, ConnectionError):
    """The backend cannot be reached, or went away before it answered."""


class BackendTimeout(BackendError, TimeoutError):
    """The backend was too slow.

    Attributes:
        phase: `connect`, `first_token`, `stall` or `total`.
        limit_s: The limit that was missed, in seconds.
    """

    def __init__(self, backend: str, phase: str, limit_s: float) -> None:
        self.phase, self.limit_s = phase, limit_s
        super().__init__(backend, f"{phase} took longer than {limit_s * 1000:.0f} ms")


class BackendRefused(BackendError):
    """The backend says no.

    Attributes:
        status_code: HTTP status, or None where there was none.
        retry_after_s: How long it asks to be left alone, or None.
    """

    def __init__(
        self,
        backend: str,
        reason: str,
        *,
        status_code: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.status_code, self.retry_after_s = status_code, retry_after_s
        super().__init__(backend, reason)


class BackendOverloaded(BackendRefused):
    """A full queue or a rate limit."""


class BackendUnauthorized(BackendRefused):
    """A key is missing or wrong."""


class ModelNotFound(BackendRefused, LookupError):
    """The model or adapter is not there.

    Attributes:
        model: The name that was asked for.
    """

    def __init__(
        self, backend: str, model: str, reason: str, *, status_code: int | None = None
    ) -> None:
        self.model = model
        super().__init__(backend, reason, status_code=status_code)


class PromptTooLong(BackendRefused):
    """The prompt does not fit the context window."""


class BackendResponseError(BackendError):
    """The backend's answer is not an answer: garbage, an error inside the stream, nothing."""


class StreamBroken(BackendResponseError):
    """The stream ended without a finish reason."""
