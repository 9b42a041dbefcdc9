"""What a mod sends, read with patience.

The engine's HTTP client calls everything a form unless the mod says otherwise (`extra_headers`).
"""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from palaver.errors import ProtocolError
from palaver_luanti.mailbox import MOST_MESSAGES
from palaver_luanti.tolerant import read_json

__all__ = ["BODY_BYTES", "ExchangeBody", "InferBody", "read_body"]

BODY_S = 10.0
BODY_BYTES = 512_000
"""Largest body of an exchange: the state of a village, told at once to a new session."""
INFER_BYTES = 60_000
ENGINES = ("Luanti/", "Minetest/")
"""How the engine's `User-Agent` begins. A web page cannot send that, so what the engine sends may
say that it is a form; of anybody else that is refused, because web pages send forms unasked."""
MOST_SEQ = 2**53
MOST_TOLD = 200
"""Messages in one request."""


def _text(value: Any) -> Any:
    """Make the text of a number that the mod used as an id."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _list(value: Any) -> Any:
    """Make a list of what the engine writes for an empty one."""
    return [] if value is None or value == {} else value


def _whole(value: Any) -> Any:
    """Round a number: Lua makes halves of what a mod divides."""
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


Id = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=128)]


class InferBody(BaseModel):
    """Body of `POST /infer`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: Annotated[str, Field(min_length=1, max_length=4_000)] = Field(
        description="What the player says, or `You are NPC '...' ...` with the situation."
    )
    npc: Id | None = Field(default=None, description="Id of the NPC; made where it is new.")
    persona: Id | None = Field(default=None, description="Its persona, by id or name.")
    player: Id | None = Field(default=None, description="The player who speaks.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        default=None, description="For repeatable replies."
    )
    game: Id | None = Field(default=None, description="The running game or shard.")


class ExchangeBody(BaseModel):
    """Body of `POST /luanti/v1/exchange`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    session: Id | None = Field(default=None, description="The session, from an earlier answer.")
    start: dict[str, Any] | None = Field(
        default=None, description="Fields of `session.start`; they open a session."
    )
    cursor: Annotated[int, Field(ge=0, lt=MOST_SEQ)] | None = Field(
        default=None, description="`cursor` of the last answer."
    )
    messages: Annotated[
        list[dict[str, Any]], BeforeValidator(_list), Field(max_length=MOST_TOLD)
    ] = Field(default=[], description="Messages of the wire protocol, in order.")
    turn: Id | None = Field(default=None, description="The turn whose first event is waited for.")
    wait_ms: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=25_000)] | None = Field(
        default=None, description="Longest wait for the first message, 0 to 25,000."
    )
    linger_ms: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=1_000)] | None = Field(
        default=None, description="Wait for more after it, 0 to 1,000."
    )
    max: Annotated[int, Field(ge=1, le=MOST_MESSAGES)] | None = Field(
        default=None, description=f"Messages in the answer, 1 to {MOST_MESSAGES}."
    )


_B = TypeVar("_B", bound=BaseModel)


async def read_body(
    request: web.Request, model: type[_B], example: str, *, limit: int = INFER_BYTES
) -> _B:
    """Read and check a body.

    Args:
        request: The request.
        model: What it is to be.
        example: A body that would do, for the advice.
        limit: Its largest size, in bytes.

    Raises:
        ProtocolError: It cannot be used; with what to send instead.
    """
    if request.content_type != "application/json" and not (
        request.headers.get("User-Agent", "").startswith(ENGINES)
    ):
        raise ProtocolError(
            "bad_message",
            'send JSON, with extra_headers = {"Content-Type: application/json"} in the mod',
        )
    try:
        async with asyncio.timeout(BODY_S):
            raw = await _read(request, limit)
    except TimeoutError as err:
        raise ProtocolError(
            "bad_message", "the body did not arrive in time; send it at once"
        ) from err
    data = read_json(raw)
    try:
        return model.model_validate({} if data is None else data)
    except ValidationError as err:
        raise ProtocolError("bad_message", _advice(err, model, example)) from err


async def _read(request: web.Request, limit: int) -> bytes:
    """Read a body with a limit of its own, which may be above the port's."""
    if request.content_length is None or request.content_length <= limit:
        raw = bytearray()
        async for chunk in request.content.iter_any():
            raw += chunk
            if len(raw) > limit:
                break
        else:
            return bytes(raw)
    raise ProtocolError(
        "too_large", f"the body may have at most {limit} bytes; send fewer messages at once"
    )


def _advice(err: ValidationError, model: type[BaseModel], example: str) -> str:
    problem = err.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in problem["loc"]) or "the body"
    field = model.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
    meaning = f" ({field.description})" if field and field.description else ""
    if problem["type"] == "missing":
        return f"`{key}` is missing{meaning}; send it, such as {example}"
    if problem["type"] == "model_type":
        return f"the body is no object; send one, such as {example}"
    return f"`{key}`{meaning} cannot be used: {problem['msg']}; send another value"
