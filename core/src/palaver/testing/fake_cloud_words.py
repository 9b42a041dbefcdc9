"""How the fake cloud speaks on the wire: what is the same for each provider.

The shapes are those of the providers' own libraries: `openai.types.chat`, `anthropic.types` and
`google.genai.types` as of August 2026.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = ["Words", "data"]


def data(value: Any) -> str:
    """Return an event of one line of data."""
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


class Words:
    """What a provider says, and where.

    Attributes:
        name: What `provider` is set to.
        version: First part of its paths.
        chat: Path of its chat route, after the version; `{model}` stands for the model.
        key_header: Header that carries the key.
        key_prefix: What stands before it.
        reasons: Its words for `stop`, `length` and `filter`.
        kinds: Its names of errors by HTTP status.
        numbers: Names of fields that have to be numbers.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "/v1"
    chat: ClassVar[str]
    key_header: ClassVar[str]
    key_prefix: ClassVar[str] = ""
    reasons: ClassVar[Mapping[str, str]]
    kinds: ClassVar[Mapping[int, str]]
    numbers: ClassVar[tuple[str, ...]] = ("temperature", "top_p")

    def __init__(self, model: str) -> None:
        self.model = model
        self.prompt_tokens = 0
        self.tokens = 0

    def first(self) -> str:
        """Return what comes before the first token."""
        raise NotImplementedError

    def token(self, text: str) -> str:
        """Return one token."""
        raise NotImplementedError

    def thought(self, text: str) -> str:
        """Return something thought and not said."""
        raise NotImplementedError

    def last(self, finish: str) -> str:
        """Return the finish reason and the usage."""
        raise NotImplementedError

    def end(self) -> str:
        """Return the end of a stream."""
        return ""

    def failure(self, status: int) -> str:
        """Return an error inside a stream."""
        return data(self.error(status, "Something went wrong."))

    def error(self, status: int, message: str, **more: Any) -> dict[str, Any]:
        """Return an error."""
        raise NotImplementedError

    def cards(self, context_tokens: int) -> dict[str, Any]:
        """Return the list of models."""
        raise NotImplementedError

    @staticmethod
    def fields(body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return where in a request sampling stands."""
        return body

    @staticmethod
    def texts(body: Mapping[str, Any]) -> list[str]:
        """Return the texts of a prompt."""
        raise NotImplementedError

    @staticmethod
    def limit(body: Mapping[str, Any]) -> int | None:
        """Return the longest reply in tokens."""
        raise NotImplementedError

    too_long: ClassVar[Mapping[str, Any]] = {}
    """Message and fields of the error for a prompt that does not fit."""
