"""A backend that needs no model: it answers a word it knows with the word that rhymes."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence

from pydantic import Field

from palaver import BackendSettings, Finish, GenerateRequest, Health, ModelInfo

__all__ = ["ExampleBackend", "ExampleSettings"]

RHYMES = {
    "blood": "mud",
    "day": "way",
    "friend": "end",
    "gold": "old",
    "hello": "below",
    "king": "ring",
    "name": "flame",
    "night": "light",
    "sword": "lord",
    "you": "true",
}


class ExampleSettings(BackendSettings):
    """Settings of a `[backends.NAME]` table with `type = "example"`."""

    rhymes: dict[str, str] = Field(
        default=RHYMES, description="Words it knows, each with the word that answers it."
    )
    unknown: str = Field(
        default="I know no rhyme for that.",
        min_length=1,
        description="What it says where it knows no rhyme.",
    )


class ExampleBackend:
    """Answers in rhyme.

    Args:
        name: Its name in `palaver.toml`.
        settings: Its settings, already checked.
    """

    def __init__(self, name: str, settings: ExampleSettings) -> None:
        self.name = name
        self.settings = settings

    async def start(self) -> None:
        """Opens nothing; a backend with a server opens its HTTP client here."""

    async def close(self) -> None:
        """Closes nothing."""

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Streams the reply word by word, as a model would."""
        reply = self.rhyme(request.turn.text)
        for piece in re.findall(r"\S+\s*", reply):
            yield piece
        yield Finish("stop", completion_tokens=len(reply.split()))

    def rhyme(self, text: str) -> str:
        """Returns the reply to what the player said."""
        for word in re.findall(r"\w+", text.lower()):
            if answer := self.settings.rhymes.get(word):
                return f"You say {word}, I answer {answer}."
        return self.settings.unknown

    async def health(self) -> Health:
        """Says that it is well; a backend with a server asks it here."""
        return Health(ok=True, detail=f"knows {len(self.settings.rhymes)} rhymes")

    async def models(self) -> Sequence[ModelInfo]:
        """Has no models."""
        return ()
