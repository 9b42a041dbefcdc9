"""The body of `POST /v1/chat/completions`: what is taken of it, and what is refused.

What a client may expect to have an effect and has none is refused with a reason; what only tunes
a model is ignored. `docs/how-to/use-the-openai-api.md` says which is which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palaver.explain import explain
from palaver.messages import Id, Lang, Utterance
from palaver.prompt.sections import Message, Role
from palaver.server.openai_errors import ApiError
from palaver.turn.model import Priority

__all__ = [
    "ChatRequest",
    "Metadata",
    "check_utterance",
    "conversation",
    "messages_of",
    "parse_chat",
    "read_chat",
]

MAX_BODY_BYTES = 262_144
"""Largest body: clients of this API send the whole conversation each time."""
MAX_MESSAGES = 2_000
READ_S = 10.0
"""Time for the body to arrive, in seconds."""
MAX_UTTERANCE = 4_000
"""Longest text that is said to an NPC, in code points, as over WebSocket."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class StreamOptions(_Body):
    """`stream_options`."""

    include_usage: bool | None = None


class ResponseFormat(_Body):
    """`response_format`."""

    type: str


class Metadata(_Body):
    """What of `metadata` means something here; other keys are ignored."""

    game: Id | None = None
    history: Literal["palaver", "client"] = "palaver"
    lang: Lang | None = None
    priority: Priority | None = None
    last_words: Annotated[str, Field(min_length=1, max_length=500)] | None = None


class ChatRequest(_Body):
    """The body."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Id | None = None
    safety_identifier: Id | None = None
    metadata: Metadata | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop: Utterance | Annotated[list[Utterance], Field(max_length=4)] | None = None
    seed: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    response_format: ResponseFormat | None = None
    modalities: list[str] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None

    @property
    def limit(self) -> int | None:
        """Longest reply that the client wants, in tokens."""
        limits = [one for one in (self.max_tokens, self.max_completion_tokens) if one is not None]
        return min(limits, default=None)

    @property
    def stops(self) -> list[str]:
        """Texts that end the reply."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [one for one in stops if one]


async def read_chat(request: web.Request) -> ChatRequest:
    """Read and check a body.

    Raises:
        ApiError: It cannot be used; the message says what to change.
        TimeoutError: It did not arrive in time.
    """
    if request.content_type != "application/json":
        raise ApiError(415, "send Content-Type: application/json", "unsupported_media_type")
    too_large = ApiError(
        413,
        f"a body may have at most {MAX_BODY_BYTES} bytes; send fewer of the older messages",
        "request_too_large",
    )
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async with asyncio.timeout(READ_S):
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise too_large
    return parse_chat(bytes(body))


def parse_chat(body: bytes) -> ChatRequest:
    """Check a body.

    Raises:
        ApiError: It cannot be used; the message says what to change.
    """
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as err:
        raise ApiError(400, f"the body is not JSON: {err}", "invalid_json") from err
    if not isinstance(parsed, dict):
        raise ApiError(400, "the body is one JSON object", "invalid_json")
    try:
        chat = ChatRequest.model_validate(parsed)
    except ValidationError as err:
        trouble = explain(err, ChatRequest, noun="field", table="an object")[0]
        raise ApiError(
            400, f"`{trouble.key[:128]}` {trouble.message}", "invalid_value", trouble.key[:128]
        ) from err
    _refuse(chat)
    return chat


def _refuse(chat: ChatRequest) -> None:
    """Refuse what would have an effect elsewhere and has none here.

    Raises:
        ApiError: Something of it was asked for.
    """
    wrong: list[tuple[str, str]] = []
    if chat.n not in (None, 1):
        wrong.append(("n", "must be 1: an NPC answers once"))
    if chat.response_format is not None and chat.response_format.type != "text":
        wrong.append(("response_format", "must be text: NPCs speak, and act by `actions.set`"))
    if chat.tools or chat.functions:
        name = "tools" if chat.tools else "functions"
        wrong.append(
            (name, "cannot be used: an engine declares actions with `actions.set`; leave it out")
        )
    if chat.logprobs:
        wrong.append(("logprobs", "cannot be used; leave it out"))
    if chat.modalities and chat.modalities != ["text"]:
        wrong.append(("modalities", 'must be ["text"]'))
    for param, message in wrong:
        raise ApiError(400, f"`{param}` {message}", "unsupported_value", param)


def messages_of(chat: ChatRequest, *, lenient: bool) -> list[Message]:
    """Return the messages as texts.

    Args:
        chat: The body.
        lenient: Whether messages before the last of a user may be anything: they are not read.

    Raises:
        ApiError: One cannot be used, or none is a user's.
    """
    last = max(
        (index for index, one in enumerate(chat.messages) if one.get("role") == "user"), default=-1
    )
    if last < 0:
        raise ApiError(
            400,
            "`messages` has none of the role `user`; add what is said",
            "invalid_value",
            "messages",
        )
    if lenient:
        return [Message("user", _text(chat.messages[last], last))]
    return [
        Message(_role(one.get("role"), index), _text(one, index))
        for index, one in enumerate(chat.messages)
    ]


def check_utterance(text: str) -> None:
    """Make sure that an utterance is not too long for an NPC.

    Raises:
        ApiError: It is.
    """
    if len(text) > MAX_UTTERANCE:
        raise ApiError(
            400,
            f"what is said to an NPC has at most {MAX_UTTERANCE} characters, this has "
            f"{len(text)}; shorten the last message of the user, or use a model tier/<name>",
            "context_length_exceeded",
            "messages",
        )


def _role(role: object, index: int) -> Role:
    known = _ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        param = f"messages[{index}].role"
        raise ApiError(
            400,
            f"`{param}` is {str(role)[:32]!r}; use system, developer, user or assistant",
            "invalid_value",
            param,
        )
    return known


def _text(message: dict[str, Any], index: int) -> str:
    """Return the text of a message, which may come in parts.

    Raises:
        ApiError: A part is no text.
    """
    content = message.get("content")
    param = f"messages[{index}].content"
    if isinstance(content, str):
        return content
    if content is None and message.get("role") == "assistant":
        return ""  # It called a tool, or refused.
    if not isinstance(content, list):
        raise ApiError(
            400, f"`{param}` must be a text or a list of text parts", "invalid_value", param
        )
    return "".join(_part(part, f"{param}[{number}]") for number, part in enumerate(content))


def _part(part: object, param: str) -> str:
    if isinstance(part, dict):
        for kind in ("text", "refusal"):
            text = part.get(kind)
            if part.get("type") == kind and isinstance(text, str):
                return text
        shown = str(part.get("type"))[:32]
    else:
        shown = type(part).__name__
    raise ApiError(
        400,
        f"`{param}` is {shown!r}; only parts of the type `text` can be read",
        "unsupported_value",
        param,
    )


def conversation(messages: Sequence[Message]) -> Sequence[Message]:
    """Return what was said before the last words of a user."""
    last = max(index for index, one in enumerate(messages) if one.role == "user")
    return messages[:last]
