"""What all providers' requests have in common: messages, merging, what a model refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from palaver.chain.backend import GenerateRequest
from palaver.prompt.sections import Message

__all__ = ["GO_ON", "OPENING", "Asked", "alternating", "encode", "merged", "spoken"]

encode = msgspec.json.encode

OPENING = "…"
"""What the player is taken to have said where a prompt begins with the character's words or has
none at all: Anthropic and Gemini want a user's message first, and none that is empty."""
GO_ON = (
    "(Your reply broke off there. Go on from exactly that point with a new sentence, in the same "
    "voice. Do not repeat anything, and do not mention this.)"
)
"""Follows what was shown of a reply: none of these models continues its own message."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it goes out.

    Attributes:
        body: Its JSON.
        fields: Those of its fields that can be left out.
        stops: Stop strings that are not in it.
    """

    body: bytes
    fields: frozenset[str]
    stops: tuple[str, ...] = ()


def spoken(request: GenerateRequest) -> list[Message]:
    """Return the messages, and what was shown of the reply so far."""
    messages = list(request.messages)
    if request.shown:
        if messages and messages[-1].role == "assistant":
            messages.pop()
        messages += [Message("assistant", request.shown), Message("user", GO_ON)]
    return messages


def alternating(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """Return the system's text and the other messages, which alternate and begin with the user.

    White space around a message is left out, and one of white space alone as well: Anthropic
    refuses empty text, and white space at the end of a last message.
    """
    system: list[str] = []
    turns: list[Message] = []
    for role, content in messages:
        text = content.strip()
        if not text:
            continue
        if role == "system":
            system.append(text)
        elif turns and turns[-1].role == role:
            turns[-1] = Message(role, f"{turns[-1].content}\n\n{text}")
        else:
            turns.append(Message(role, text))
    if not turns or turns[0].role != "user":
        turns.insert(0, Message("user", OPENING))
    return "\n\n".join(system), turns


def merged(extra: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, tables merged; where both set something, ours stays."""
    result = dict(extra)
    for key, value in ours.items():
        other = result.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            result[key] = merged(other, value)
        else:
            result[key] = value
    return result
