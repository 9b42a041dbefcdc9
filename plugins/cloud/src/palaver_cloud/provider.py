"""What a provider has to say of itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from palaver.chain.backend import GenerateRequest, ModelInfo
from palaver_cloud.config import CloudSettings
from palaver_cloud.sse import Reader
from palaver_cloud.wire import Asked

__all__ = ["Provider"]


class Provider:
    """How one kind of server is spoken to.

    Args:
        settings: Settings of the backend.

    Attributes:
        host: Scheme and host of the provider's own server.
        version: Path that is taken where an address has none.
        key_env: Variable that holds the key for the provider's own server.
        key_header: Header for the key.
        key_prefix: What stands before the key in it.
        base: Where this backend's server is.
    """

    host: ClassVar[str]
    version: ClassVar[str]
    key_env: ClassVar[str]
    key_header: ClassVar[str]
    key_prefix: ClassVar[str] = ""

    def __init__(self, settings: CloudSettings) -> None:
        self.settings = settings
        url = settings.url or self.host
        self.base = url if "/" in url.partition("://")[2] else f"{url}{self.version}"

    @property
    def own(self) -> bool:
        """Whether it is the provider's own server, and not one that speaks like it."""
        return f"{self.base}/".startswith(f"{self.host}/")

    @property
    def variable(self) -> str | None:
        """The variable that holds the key, or None where no key is sent.

        A key goes to the host it was named for: another `url` has to name its own.
        """
        return self.settings.api_key_env or (self.key_env if self.own else None)

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the headers of every request."""
        if key is None:
            return {}
        if self.settings.key_header is not None:
            return {self.settings.key_header: key}
        return {self.key_header: f"{self.key_prefix}{key}"}

    def chat_url(self) -> str:
        """Return where replies are asked for."""
        raise NotImplementedError

    def list_url(self) -> str:
        """Return where models are listed, which costs nothing."""
        return f"{self.base}/models"

    def ask(self, request: GenerateRequest, omit: Collection[str]) -> Asked:
        """Return the request for a reply.

        Args:
            request: What is wanted.
            omit: Fields to leave out.
        """
        raise NotImplementedError

    def reader(self) -> Reader:
        """Return a reader for one stream."""
        raise NotImplementedError

    def read_models(self, body: bytes) -> list[ModelInfo]:
        """Return the models of a list.

        Raises:
            msgspec.DecodeError: It is no such list.
        """
        raise NotImplementedError

    def longest(self, request: GenerateRequest) -> int | None:
        """Return the most tokens to ask for: the reply, and room for thinking."""
        limit = request.sampling.max_tokens
        return limit if limit is None else limit + (self.settings.thinking_tokens or 0)
