"""A prompt: an ordered list of named sections, each with its source.

The order is what makes a model server's prefix cache work: first what never changes for the
persona (`STABLE`), then the conversation so far (`HISTORY`), then the facts of the moment
(`MOMENT`), then the last utterance (`UTTERANCE`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple

__all__ = ["Message", "Place", "Prompt", "Role", "Section"]

Role = Literal["system", "user", "assistant"]


class Message(NamedTuple):
    """One message as a model server takes it."""

    role: Role
    content: str


class Place(IntEnum):
    """Where in the prompt a section stands."""

    STABLE = 0
    HISTORY = 1
    MOMENT = 2
    UTTERANCE = 3


@dataclass(slots=True)
class Section:
    """A part of a prompt.

    Attributes:
        name: Unique within the prompt, such as `identity` or `history.3`.
        role: Who speaks it to the model.
        text: Its text.
        priority: What goes first when the prompt is too long: lowest is dropped first. 100 and
            above are never dropped.
        source: Where it comes from, such as `personas/vampire.md#identity` or `npc.j2#rules`.
        place: Where it stands.
        block: Sections of one block are dropped together, or None. Used for the history, so that
            the beginning stays the same for several turns.
    """

    name: str
    role: Role
    text: str
    priority: int
    source: str
    place: Place
    block: int | None = None


@dataclass(slots=True)
class Prompt:
    """The sections of one turn, which `palaver_prompt` may edit in place.

    Attributes:
        sections: In the order of their place; use `add` to keep it.
    """

    sections: list[Section] = field(default_factory=list)

    def add(self, section: Section) -> None:
        """Put a section at the end of its place.

        Raises:
            ValueError: A section of that name is there already.
        """
        if any(other.name == section.name for other in self.sections):
            raise ValueError(f"the prompt already has a section {section.name!r}")
        at = len(self.sections)
        while at and self.sections[at - 1].place > section.place:
            at -= 1
        self.sections.insert(at, section)

    def get(self, name: str) -> Section | None:
        """Return the section of that name, or None."""
        return next((section for section in self.sections if section.name == name), None)

    def remove(self, name: str) -> None:
        """Take the section of that name out, if it is there."""
        self.sections[:] = [section for section in self.sections if section.name != name]

    def at(self, place: Place) -> Iterator[Section]:
        """Yield the sections of one place."""
        return (section for section in self.sections if section.place is place)

    def length(self) -> int:
        """Return the length of all texts in characters."""
        return sum(len(section.text) for section in self.sections)

    def messages(self) -> list[Message]:
        """Return the prompt as messages: one system message, then turns that alternate.

        The facts of the moment are put in front of the last utterance, in its message, because
        many chat templates allow a system message only at the beginning. Neighbours of one role
        are joined, because some templates insist on alternation.
        """
        result: list[Message] = []
        for section in self.sections:
            if not section.text:
                continue
            role: Role = "user" if section.place is Place.MOMENT else section.role
            if result and result[-1].role == role:
                result[-1] = Message(role, f"{result[-1].content}\n\n{section.text}")
            else:
                result.append(Message(role, section.text))
        return result
