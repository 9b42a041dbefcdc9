"""The protocol's descriptions for machines are valid, and say what the models and routes do.

That they are up to date is seen by `tools/docs.py --check`, that real frames fit by test_wire.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import validate
from pydantic import ValidationError

from palaver import messages
from palaver.testing.server import running_server, write_world
from palaver.testing.transcripts import load

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
SCHEMA, ASYNCAPI, OPENAPI = (
    json.loads((REFERENCE / name).read_text(encoding="utf-8"))
    for name in ("messages.schema.json", "asyncapi.json", "openapi.json")
)
MODELS = {**messages.CLIENT_MESSAGES, **messages.SERVER_MESSAGES}


def validator(name: str) -> Draft202012Validator:
    """Return what checks one definition of the schema."""
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})


def answers(name: str) -> Draft202012Validator:
    """Return what checks one schema of the HTTP description."""
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": OPENAPI["components"]}
    )


def refs(value: Any) -> Iterator[str]:
    """Yield every `$ref` of a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from refs(item)
    elif isinstance(value, list):
        for item in value:
            yield from refs(item)


def test_the_schemas_are_schemas() -> None:
    """messages.schema.json is valid by JSON Schema's own schema, and has every message."""
    Draft202012Validator.check_schema(SCHEMA)
    for side in ("ClientMessage", "ServerMessage"):
        Draft202012Validator.check_schema(SCHEMA["$defs"][side])
    assert {model.__name__ for model in MODELS.values()} <= SCHEMA["$defs"].keys()


def test_asyncapi_is_asyncapi() -> None:
    """asyncapi.json is valid by the official schema of AsyncAPI 3.0."""
    official = json.loads((Path(__file__).parent / "data/asyncapi-3.0.0.json").read_bytes())
    Draft7Validator.check_schema(official)
    problems = [error.message for error in Draft7Validator(official).iter_errors(ASYNCAPI)]
    assert problems == []


def test_openapi_is_openapi() -> None:
    """openapi.json is valid OpenAPI 3.1."""
    validate(OPENAPI)


@pytest.mark.parametrize("document", [SCHEMA, ASYNCAPI, OPENAPI], ids=["schema", "async", "open"])
def test_nothing_points_to_nowhere(document: dict[str, Any]) -> None:
    """Every reference leads to something in the same file."""
    for ref in set(refs(document)):
        here: Any = document
        for step in ref.removeprefix("#/").split("/"):
            here = here[step.replace("~1", "/").replace("~0", "~")]


def test_asyncapi_has_every_message() -> None:
    """Each message is sent by the side that sends it, and in the channel."""

    def names(operation: str) -> list[str]:
        asked = ASYNCAPI["operations"][operation]["messages"]
        return [one["$ref"].rsplit("/", 1)[1] for one in asked]

    assert names("receive") == list(messages.CLIENT_MESSAGES)
    assert names("send") == list(messages.SERVER_MESSAGES)
    assert list(ASYNCAPI["channels"]["session"]["messages"]) == list(MODELS)


TURN = {"type": "turn.start", "turn": "t", "npc": "vlad"}
FACTS = {"type": "facts.update"}
CASES: list[dict[str, Any]] = [
    TURN,
    {**TURN, "text": ""},
    {**TURN, "text": "a", "cue": "b"},
    {**TURN, "text": None, "cue": "b"},
    {**TURN, "text": None},
    {**TURN, "text": "x" * 4_000},
    {**TURN, "text": "x" * 4_001},
    {**TURN, "text": "a", "seed": 2**63 - 1},
    {**TURN, "text": "a", "seed": 2**63},
    {**TURN, "text": "a", "priority": "high"},
    {**TURN, "text": "a", "lang": "not a language"},
    {**TURN, "text": "a", "brand new": {"field": 1}},
    {**TURN, "npc": "", "text": "a"},
    FACTS,
    {**FACTS, "set": {}},
    {**FACTS, "unset": ["a"]},
    {**FACTS, "set": {"a": 1}, "npc": "a", "player": "b"},
    {**FACTS, "set": {"a": 1}, "npc": None, "player": "b"},
    {**FACTS, "set": {"1a": 1}},
    {"type": "action.result", "turn": "t", "call": "t-1", "ok": True},
    {"type": "action.result", "turn": "t", "call": "t-1"},
    {"type": "turn.feedback", "turn": "t", "kind": "shrug"},
    {"type": "actions.set", "actions": [{"name": "give item"}]},
    {"type": "actions.set", "actions": [{"name": "give", "confirm_ms": 99}]},
    {"type": "session.start", "protocol": 1, "client": {}},
    {"type": "ping"},
    {},
    {"type": "nonsense"},
]


@pytest.mark.parametrize("message", CASES, ids=lambda message: json.dumps(message)[:60])
def test_schema_and_models_agree(message: dict[str, Any]) -> None:
    """What the server takes fits the schema, and what it refuses does not."""
    try:
        messages.client_message(message)
    except ValidationError:
        fits = False
    else:
        fits = True
    assert validator("ClientMessage").is_valid(message) == fits


def test_no_schema_forbids_new_fields() -> None:
    """Fields that nobody knows yet are allowed everywhere: an older peer can meet a newer one."""
    for name in (model.__name__ for model in MODELS.values()):
        assert "additionalProperties" not in SCHEMA["$defs"][name], name


async def test_openapi_has_every_route_and_real_answers_fit(tmp_path: Path) -> None:
    """Every route of the core is described, and what the real server answers fits."""
    async with (
        running_server(write_world(tmp_path / "world")) as palaver,
        aiohttp.ClientSession(palaver.http_url) as http,
    ):
        routes = {
            (re.sub(r":[^}]*", "", resource.canonical), route.method)
            for resource in palaver.server._runner.app.router.resources()
            for route in resource
            if route.method != "HEAD"
        }
        described = {
            (path, method.upper()) for path, item in OPENAPI["paths"].items() for method in item
        }
        assert described == routes

        async def answer(method: str, path: str, name: str | None, **more: Any) -> Any:
            async with http.request(method, path, **more) as response:
                body = await response.json()
            if name is not None:
                answers(name).validate(body)
            return body

        turn = {"turn": "t1", "npc": "vlad", "persona": "vampire", "player": "ada", "text": "Hi."}
        answers("TurnRequest").validate(turn)
        await answer("POST", "/v1/turns", "TurnDone", json=turn)
        await answer("POST", "/v1/turns", "HttpError", json={"npc": "nobody", "text": "Hi."})
        await answer("POST", "/v1/turns", "HttpError", data=b"x")
        await answer("GET", "/healthz", "Health")
        await answer("GET", "/readyz", "Readiness")
        await answer("GET", "/v1/info", "Info")
        found = await answer("GET", "/v1/turns?last=5", None)
        answers("TurnInfo").validate(found["turns"][0])
        await answer("GET", "/v1/turns/t1", "TurnInfo")
        await answer("GET", "/v1/turns/t2", "HttpError")
        await answer("GET", "/v1/models", "ModelList")
        await answer("GET", "/v1/models/persona/vampire", "Model")
        await answer("GET", "/v1/models/persona/nobody", "OpenAiError")
        said = {"model": "persona/vampire", "messages": [{"role": "user", "content": "Hi."}]}
        answers("ChatRequest").validate(said)
        await answer("POST", "/v1/chat/completions", "ChatCompletion", json=said)
        async with http.post(
            "/v1/turns", json=turn | {"turn": "t3"}, headers={"Accept": "text/event-stream"}
        ) as stream:
            for line in (await stream.text()).splitlines():
                if line.startswith("data: "):
                    validator("ServerMessage").validate(json.loads(line[6:]))


def test_the_transcripts_bad_messages_are_bad() -> None:
    """A client's message that a transcript calls bad does not fit the schema, and others do."""
    check = validator("ClientMessage")
    for path in sorted((ROOT / "tests" / "wire").glob("*.jsonl")):
        for line in load(path).lines:
            text = json.dumps(line.value)
            if line.side == "c" and line.action == "msg" and '"$' not in text:
                assert check.is_valid(line.value) != line.bad, f"{path.name}:{line.number}"
