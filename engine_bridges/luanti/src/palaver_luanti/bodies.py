"""What a mod sends, read with patience.

The engine's JSON writer makes `20.0` of 20 and `null` of an empty table, and its HTTP client calls
everything a form unless the mod says otherwise (`extra_headers`).
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from palaver.errors import ProtocolError

__all__ = ["InferBody", "read_body"]

BODY_S = 10.0
ENGINES = ("Luanti/", "Minetest/")
"""How the engine's `User-Agent` begins. A web page cannot send that, so what the engine sends may
say that it is a form; of anybody else that is refused, because web pages send forms unasked."""


def _text(value: Any) -> Any:
    """Make the text of a number that the mod used as an id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


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


_B = TypeVar("_B", bound=BaseModel)


async def read_body(request: web.Request, model: type[_B]) -> _B:
    """Read and check a body.

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
            raw = await request.read()
    except TimeoutError as err:
        raise ProtocolError(
            "bad_message", "the body did not arrive in time; send it at once"
        ) from err
    try:
        data = json.loads(raw or b"null", strict=False)
    except (ValueError, RecursionError) as err:
        raise ProtocolError(
            "bad_message",
            f"the body is not JSON ({err}); send data = core.write_json({{prompt = ...}})",
        ) from err
    try:
        return model.model_validate({} if data is None else data)
    except ValidationError as err:
        raise ProtocolError("bad_message", _advice(err, model)) from err


def _advice(err: ValidationError, model: type[BaseModel]) -> str:
    problem = err.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in problem["loc"]) or "the body"
    field = model.model_fields.get(key)
    meaning = f" ({field.description})" if field and field.description else ""
    if problem["type"] == "missing":
        return f'`{key}` is missing{meaning}; send it, such as {{"prompt": "Hello!"}}'
    if problem["type"] == "model_type":
        return 'the body is no object; send one, such as {"prompt": "Hello!"}'
    return f"`{key}`{meaning} cannot be used: {problem['msg']}; send another value"
