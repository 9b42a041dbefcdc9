"""The WebSocket side of the protocol as AsyncAPI 3.0, from the pydantic models of its messages."""

from __future__ import annotations

from typing import Any

from docs_schema import MADE, as_json, definitions
from pydantic import BaseModel

from palaver import messages

_SCHEMAS = "#/components/schemas/"
_LICENCE = {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}


def asyncapi_page() -> str:
    """Returns the AsyncAPI description."""
    sides = {"client": messages.CLIENT_MESSAGES, "server": messages.SERVER_MESSAGES}
    models = {name: model for side in sides.values() for name, model in side.items()}
    schemas = definitions(_SCHEMAS)
    # The body of an HTTP request; openapi.json has it.
    del schemas["TurnRequest"]
    return as_json(
        {
            "asyncapi": "3.0.0",
            "x-made": MADE,
            "info": {
                "title": "Palaver over WebSocket",
                "version": str(messages.PROTOCOL),
                "description": (
                    "An engine tells the server who is in the game, starts turns, and gets each "
                    "reply as a stream of messages that always ends. What the messages mean "
                    "together, in which order they come and what happens when something goes "
                    "wrong stands in the specification, protocol.md."
                ),
                "license": _LICENCE,
            },
            "defaultContentType": "application/json",
            "servers": {
                "local": {
                    "host": "127.0.0.1:8765",
                    "protocol": "ws",
                    "description": "`palaver serve` on the same machine.",
                }
            },
            "channels": {
                "session": {
                    "address": "/v1",
                    "title": "A session",
                    "description": (
                        f"One WebSocket with the subprotocol `{messages.SUBPROTOCOL}`; each "
                        "message is one JSON object in one text frame, in ASCII."
                    ),
                    "messages": {
                        name: {"$ref": f"#/components/messages/{_escaped(name)}"} for name in models
                    },
                    "bindings": {"ws": {"method": "GET", "headers": _headers()}},
                }
            },
            "operations": {
                # As the server sees it: what it receives is what a client sends.
                "receive": _operation("receive", sides["client"], "What a client sends."),
                "send": _operation("send", sides["server"], "What the server sends."),
            },
            "components": {
                "messages": {name: _message(name, model) for name, model in models.items()},
                "schemas": schemas,
            },
        }
    )


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"Sec-WebSocket-Protocol": {"type": "string", "const": messages.SUBPROTOCOL}},
        "required": ["Sec-WebSocket-Protocol"],
    }


def _operation(action: str, models: dict[str, type[BaseModel]], summary: str) -> dict[str, Any]:
    channel = "#/channels/session"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "summary": summary,
        "messages": [{"$ref": f"{channel}/messages/{_escaped(name)}"} for name in models],
    }


def _message(name: str, model: type[BaseModel]) -> dict[str, Any]:
    lines = (model.__doc__ or "").strip().splitlines()
    return {
        "name": name,
        "title": name,
        "summary": lines[0],
        "payload": {"$ref": _SCHEMAS + model.__name__},
    }


def _escaped(name: str) -> str:
    """Returns a name as JSON Pointers have it."""
    return name.replace("~", "~0").replace("/", "~1")
