"""The HTTP side of the protocol as OpenAPI 3.1, from the pydantic models behind the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from docs_schema import DIALECT, MADE, RULES, as_json, plain
from pydantic.json_schema import models_json_schema

from palaver import messages
from palaver.recent import KEPT, TurnInfo
from palaver.server.openai_request import ChatRequest

_SCHEMAS = "#/components/schemas/"
_LICENCE = {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}
_TURN = (messages.TurnRequest, messages.TurnDone, TurnInfo, ChatRequest)
_STRING = {"type": "string"}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_STATUS = {
    "400": "The request was not understood.",
    "401": "The token is missing, unknown, or may not do this.",
    "404": "There is no such NPC, persona, turn or model.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is not `application/json`.",
    "429": "Too many requests per second.",
    "500": "A bug in the server.",
    "503": "Too many turns at once.",
}


def openapi_page() -> str:
    """Returns the OpenAPI description."""
    return as_json(
        {
            "openapi": "3.1.0",
            "x-made": MADE,
            "jsonSchemaDialect": DIALECT,
            "info": {
                "title": "Palaver over HTTP",
                "version": str(messages.PROTOCOL),
                "description": (
                    "For what needs no session. Everything else goes over the WebSocket at `/v1`, "
                    "which asyncapi.json describes. Plugins may add routes of their own."
                ),
                "license": _LICENCE,
            },
            "servers": [
                {"url": "http://127.0.0.1:8765", "description": "`palaver serve` on this machine."}
            ],
            "paths": _paths(),
            "components": {
                "securitySchemes": {
                    "token": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "One of `server.tokens`; none where there are none.",
                    }
                },
                "responses": _error_responses(),
                "schemas": _schemas(),
            },
        }
    )


def _paths() -> dict[str, Any]:
    return {
        "/healthz": {"get": _get("health", "Whether the process lives.", _ref("Health"))},
        "/readyz": {
            "get": _get(
                "ready",
                "Whether turns can be served.",
                _ref("Readiness"),
                more={"503": _json("They cannot.", _ref("Readiness"))},
            )
        },
        "/v1": {
            "get": {
                "operationId": "openSession",
                "summary": "The WebSocket; see asyncapi.json.",
                "responses": {
                    "101": {"description": "A WebSocket."},
                    "403": _error("403"),
                    "426": _error("426"),
                },
            }
        },
        "/v1/info": {
            "get": _get("info", "What is served.", _ref("Info"), errors=("401",), secured=True)
        },
        "/v1/turns": {"get": _last_turns(), "post": _run_turn()},
        "/v1/turns/{turn}": {
            "get": _get(
                "getTurn",
                "What became of a turn; of several with this id, the last. For engines only.",
                _ref("TurnInfo"),
                errors=("401", "404", "429"),
                secured=True,
                parameters=[_in_path("turn", "Its id.")],
            )
        },
        "/v1/models": {
            "get": _get(
                "listModels",
                "Whom OpenAI's clients can talk to.",
                _ref("ModelList"),
                errors=("401", "429"),
                secured=True,
            )
        },
        "/v1/models/{model}": {
            "get": _get(
                "getModel",
                "One of them.",
                _ref("Model"),
                errors=("401", "404", "429"),
                secured=True,
                parameters=[_in_path("model", "Its id, such as `persona/vampire`.")],
            )
        },
        "/v1/chat/completions": {"post": _chat()},
    }


def _last_turns() -> dict[str, Any]:
    last = {
        "name": "last",
        "in": "query",
        "description": "How many.",
        "schema": {"type": "integer", "minimum": 1, "maximum": KEPT, "default": 20},
    }
    turns = {
        "type": "object",
        "required": ["turns"],
        "properties": {"turns": {"type": "array", "items": _ref("TurnInfo")}},
    }
    summary = "What became of the last turns, oldest first. For engines only."
    errors = ("400", "401", "429")
    return _get("listTurns", summary, turns, errors=errors, secured=True, parameters=[last])


def _run_turn() -> dict[str, Any]:
    answer = _json("The turn is over.", _ref("TurnDone"))
    answer["content"]["text/event-stream"] = {
        "schema": {
            "type": "string",
            "description": "With `Accept: text/event-stream`: each message of the turn as it "
            "comes, its `type` as the event's name.",
        }
    }
    return {
        "operationId": "runTurn",
        "summary": "One turn, and the NPC it makes where that is new.",
        "security": [{}, {"token": []}],
        "requestBody": _body("TurnRequest"),
        "responses": {"200": answer, **{status: _error(status) for status in _STATUS}},
    }


def _chat() -> dict[str, Any]:
    answer = _json("The reply.", _ref("ChatCompletion"))
    answer["content"]["text/event-stream"] = {
        "schema": {"type": "string", "description": "With `stream`: chunks, as OpenAI sends them."}
    }
    errors = ("400", "401", "404", "408", "413", "415", "429", "500", "503")
    return {
        "operationId": "createChatCompletion",
        "summary": "A turn, as OpenAI's chat API has it; errors have its shape, too.",
        "security": [{}, {"token": []}],
        "requestBody": _body("ChatRequest"),
        "responses": {
            "200": answer,
            **{status: _json(_STATUS[status], _ref("OpenAiError")) for status in errors},
        },
    }


def _get(
    operation: str,
    summary: str,
    schema: Mapping[str, Any],
    *,
    errors: tuple[str, ...] = (),
    more: Mapping[str, Any] | None = None,
    secured: bool = False,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        **({"security": [{}, {"token": []}]} if secured else {}),
        **({"parameters": parameters} if parameters else {}),
        "responses": {
            "200": _json("The answer.", schema),
            **(more or {}),
            **{status: _error(status) for status in errors},
        },
    }


def _in_path(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": _STRING,
    }


def _json(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _body(model: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": _ref(model)}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _SCHEMAS + name}


def _error(status: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{status}"}


def _error_responses() -> dict[str, Any]:
    words = {
        **_STATUS,
        "403": "The `Host` is not in `server.hosts`, or the `Origin` not in `server.origins`.",
        "426": "Not a WebSocket.",
    }
    return {status: _json(text, _ref("HttpError")) for status, text in sorted(words.items())}


def _schemas() -> dict[str, Any]:
    _, made = models_json_schema(
        [(model, "validation") for model in _TURN], ref_template=_SCHEMAS + "{model}"
    )
    found: dict[str, Any] = plain(made["$defs"])
    found["TurnRequest"] |= RULES["TurnRequest"]
    found["TurnDone"]["required"] = ["type", *found["TurnDone"]["required"]]
    codes = {"enum": [*get_args(messages.ErrorCode), "unknown_turn"]}
    return found | {
        "Health": _object(status={"const": "ok"}),
        "Readiness": _object(status={"enum": ["ok", "no personas"]}, personas=_COUNT),
        "Info": _object(
            server=_object(name=_STRING, version=_STRING),
            protocol={"const": messages.PROTOCOL},
            world=_STRING,
            personas=_map(_STRING),
            tiers=_map({"type": "array", "items": _STRING}),
            backends=_map(_object(type=_STRING)),
            sessions=_COUNT,
            cache=_object(situations=_COUNT, bytes=_COUNT, tiers=_map({"type": "object"})),
        ),
        "HttpError": _object(
            error=_object(code=codes, message=_STRING, retryable={"type": "boolean"})
        ),
        "Model": _object(id=_STRING, object={"const": "model"}, created=_NUMBER, owned_by=_STRING),
        "ModelList": _object(
            object={"const": "list"}, data={"type": "array", "items": _ref("Model")}
        ),
        "ChatCompletion": _object(
            id=_STRING,
            object={"const": "chat.completion"},
            model=_STRING,
            choices={"type": "array", "items": {"type": "object"}},
            usage={"type": "object"},
        ),
        "OpenAiError": _object(error={"type": "object", "required": ["message"]}),
    }


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema of an object that always has these fields."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _map(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}
