"""A turn's messages as OpenAI's API writes a completion: whole, or in chunks.

Source: "The chat completion object" and "The chat completion chunk object" of the OpenAI API
reference. What it has no field for stands in the field `palaver`.
"""

from __future__ import annotations

import asyncio
import json
import time
from json.encoder import encode_basestring_ascii as quote
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from palaver.turn.model import TurnResult

__all__ = ["Completion", "CompletionStream"]

_DELTA = '{"type":"turn.delta"'
_TEXT = len(',"text":')
_EVENTS = {"turn.emotion": "emotion", "turn.action": "action"}
_OWN = ("type", "turn", "seq", "text")
"""Fields of a message that stand elsewhere, or mean nothing here."""

to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _finish_reason(result: TurnResult) -> str:
    return "length" if result.status == "truncated" else "stop"


def _usage(result: TurnResult) -> dict[str, int]:
    usage = result.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _event(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return an emotion or an action as the field `palaver` shows it, or None."""
    kind = _EVENTS.get(message["type"])
    if kind is None:
        return None
    return {kind: {key: value for key, value in message.items() if key not in _OWN}}


def _about(done: dict[str, Any], npc: str | None, tier: str) -> dict[str, Any]:
    """Return what the field `palaver` says of a turn that is over."""
    more = {key: value for key, value in done.items() if key not in _OWN}
    more["cost_usd"] = more.pop("usage")["cost_usd"]
    return {"turn": done["turn"], "npc": npc, "tier": tier, **more}


class Completion:
    """Collects a turn for one whole answer.

    Attributes:
        id: Id of the completion, which is that of its turn.
    """

    capabilities = frozenset({"emotion", "action"})

    def __init__(self, turn: str, model: str) -> None:
        self.id = turn
        self._model = model
        self._created = int(time.time())
        self._chars = 0
        self._events: list[dict[str, Any]] = []
        self._done: dict[str, Any] = {}

    def emit(self, head: str, tail: str) -> None:
        """Take a message of the turn."""
        message = msgspec.json.decode(f"{head}0{tail}")
        if message["type"] == "turn.delta":
            self._chars += len(message["text"])
        elif (event := _event(message)) is not None:
            self._events.append({"at": self._chars, **event})

    def end(self, head: str, tail: str) -> None:
        """Take the last one."""
        self._done = msgspec.json.decode(f"{head}0{tail}")

    def answer(self, result: TurnResult, npc: str | None, tier: str) -> dict[str, Any]:
        """Return the `chat.completion`."""
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": result.text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": _finish_reason(result),
                }
            ],
            "usage": _usage(result),
            "palaver": {**_about(self._done, npc, tier), "events": self._events},
        }


class CompletionStream:
    """Turns the messages of a turn into chunks as they come.

    It needs no bound of its own: a reply is bounded, and a client that does not read holds up
    only its own response.

    Attributes:
        id: Id of the completion, which is that of its turn.
        whole: Whether the turn has come to its end.
    """

    capabilities = frozenset({"emotion", "action"})

    def __init__(self, turn: str, model: str, *, include_usage: bool) -> None:
        self.id = turn
        self._head = (
            f'data: {{"id":{quote(turn)},"object":"chat.completion.chunk",'
            f'"created":{int(time.time())},"model":{quote(model)},"choices":['
        )
        self._include_usage = include_usage
        usage = ',"usage":null' if include_usage else ""
        self._tail = f"{usage}}}\n\n"
        self._delta_head = f'{self._head}{{"index":0,"delta":{{"content":'
        self._delta_tail = f'}},"logprobs":null,"finish_reason":null}}]{self._tail}'
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.whole = False
        self._result: TurnResult | None = None
        self._npc: str | None = None
        self._tier = ""

    def accepted(self, result: TurnResult, npc: str | None, tier: str) -> None:
        """Begin: the first chunk says whose words follow."""
        self._result, self._npc, self._tier = result, npc, tier
        self._choice('{"role":"assistant","content":"","refusal":null}')

    def emit(self, head: str, tail: str) -> None:
        """Take a message of the turn."""
        if head.startswith(_DELTA):
            # The text is JSON already.
            self._queue.put_nowait(f"{self._delta_head}{tail[_TEXT:-1]}{self._delta_tail}")
            return
        event = _event(msgspec.json.decode(f"{head}0{tail}"))
        if event is not None:
            # Some clients look for a text in every chunk.
            self._choice('{"content":""}', more=f',"palaver":{to_json(event)}')

    def end(self, head: str, tail: str) -> None:
        """Take the last one, and end the stream."""
        result = self._result
        if result is not None:
            about = _about(msgspec.json.decode(f"{head}0{tail}"), self._npc, self._tier)
            self._choice(
                "{}", finish=f'"{_finish_reason(result)}"', more=f',"palaver":{to_json(about)}'
            )
            if self._include_usage:
                usage = to_json(_usage(result))
                self._queue.put_nowait(f'{self._head}],"usage":{usage}}}\n\n')
        self._queue.put_nowait("data: [DONE]\n\n")
        self.whole = True

    def close(self) -> None:
        """Say that nothing more will come."""
        self._queue.put_nowait(None)

    def _choice(self, delta: str, *, finish: str = "null", more: str = "") -> None:
        self._queue.put_nowait(
            f'{self._head}{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]'
            f"{more}{self._tail}"
        )

    async def next(self) -> bytes | None:
        """Return everything that is there, waiting for the first; None at the end."""
        parts: list[str] = []
        piece = await self._queue.get()
        while piece is not None:
            parts.append(piece)
            if self._queue.empty():
                break
            piece = self._queue.get_nowait()
        if piece is None and parts:
            self._queue.put_nowait(None)
        return "".join(parts).encode() if parts else None
