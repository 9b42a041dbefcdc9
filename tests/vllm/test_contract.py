"""The same suite on the fake and on the real vLLM; what it saw on the two has to be the same."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import pytest

from palaver.chain.backend import Backend, Sampling
from palaver.testing.contract import BackendContract, BackendLab, Case
from palaver.testing.fake_vllm import FakeVllm
from palaver.testing.fake_vllm_lab import FakeVllmLab, free_port
from palaver.testing.turns import make_request

CAN = frozenset(
    {
        *("stream", "length", "usage", "endless", "running", "deadline", "models"),
        *("gone", "unauthorized", "no model", "too long", "bad request"),
    }
)
"""What a real server can be made to do."""

FACTS: dict[str, dict[str, Any]] = {"fake": {}, "real": {}}


class RealLab(BackendLab):
    """A lab with the real server."""

    def __init__(self, server: Any, make_backend: Any) -> None:
        super().__init__()
        self.facts = FACTS["real"]
        self._server, self._make = server, make_backend

    async def make(self) -> Backend:
        backend: Backend = self._make()
        return backend

    async def _started(self, **settings: Any) -> Backend:
        backend: Backend = self._make(**settings)
        await backend.start()
        return backend

    async def whole(self) -> Case:
        sampling = Sampling(temperature=0, max_tokens=60)
        return Case(await self._started(), make_request(sampling=sampling))

    async def endless(self) -> Case:
        sampling = Sampling(max_tokens=3500)
        backend = await self._started(extra_body={"ignore_eos": True})
        return Case(backend, make_request(sampling=sampling))

    async def failing(self, how: str) -> Case:
        request = make_request()
        settings: dict[str, Any] = {}
        if how == "gone":
            return Case(self._make(url=f"http://127.0.0.1:{free_port()}"), request)
        if how == "unauthorized":
            settings = {"api_key_env": None}
        elif how == "no model":
            settings = {"model": "elf"}
        elif how == "bad request":
            settings = {"extra_body": {"temperature": "hot"}}
        elif how == "too long":
            request = make_request("blood " * 20_000)
        return Case(await self._started(**settings), request)

    async def running(self) -> int:
        count: int = await self._server.running()
        return count


class TestReal(BackendContract):
    can: ClassVar = CAN

    @pytest.fixture
    def lab(self, server: Any, make_backend: Any) -> RealLab:
        return RealLab(server, make_backend)


class TestFake(BackendContract):
    can: ClassVar = CAN

    @pytest.fixture
    async def lab(self, make_backend: Any) -> AsyncIterator[FakeVllmLab]:
        async with FakeVllm(model="tiny", max_model_len=4096) as server, AsyncExitStack() as stack:
            lab = FakeVllmLab(server, make_backend, stack)
            lab.facts = FACTS["fake"]
            yield lab


def test_both_showed_the_same() -> None:
    """Errors, finish and names were the same on the fake and on the real server."""
    if not FACTS["real"]:
        pytest.skip("the tests above did not run")
    assert FACTS["fake"] == FACTS["real"]


def shape(value: Any) -> Any:
    """Return keys and types without the values; of a list the shapes without repeats."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        shapes: list[Any] = []
        for inner in map(shape, value):
            if not shapes or shapes[-1] != inner:
                shapes.append(inner)
        return shapes
    return type(value).__name__


CHAT: dict[str, Any] = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Who are you?"}],
    "max_tokens": 5,
}
ASKED: dict[str, tuple[str, Any]] = {
    "models": ("/v1/models", None),
    "version": ("/version", None),
    "health": ("/health", None),
    "no route": ("/v1/nothing", None),
    "no model": ("/v1/chat/completions", {**CHAT, "model": "elf"}),
    "no messages": ("/v1/chat/completions", {"model": "tiny"}),
    "too long": (
        "/v1/chat/completions",
        {**CHAT, "messages": [{"role": "user", "content": "blood " * 20_000}]},
    ),
    "no list": ("/v1/chat/completions", [1]),
    "both flags": (
        "/v1/chat/completions",
        {**CHAT, "continue_final_message": True, "add_generation_prompt": True},
    ),
    "wrong type": ("/v1/chat/completions", {**CHAT, "temperature": "hot"}),
    "ignored": ("/v1/chat/completions", {**CHAT, "stream": True, "guided_json": {"x": 1}}),
    "load nothing": ("/v1/load_lora_adapter", {"lora_name": "", "lora_path": ""}),
    "load nowhere": ("/v1/load_lora_adapter", {"lora_name": "elf@1", "lora_path": "/nowhere"}),
    "load the base": ("/v1/load_lora_adapter", {"lora_name": "tiny", "lora_path": "/x"}),
    "load": ("/v1/load_lora_adapter", {"lora_name": "vampire@1", "lora_path": "{vampire}"}),
    "load again": ("/v1/load_lora_adapter", {"lora_name": "vampire@1", "lora_path": "{vampire}"}),
    "models with adapter": ("/v1/models", None),
    "unload": ("/v1/unload_lora_adapter", {"lora_name": "vampire@1"}),
    "unload again": ("/v1/unload_lora_adapter", {"lora_name": "vampire@1"}),
    "stream": ("/v1/chat/completions", {**CHAT, "stream": True}),
    "stream with usage": (
        "/v1/chat/completions",
        {**CHAT, "stream": True, "stream_options": {"include_usage": True}},
    ),
}

EXACT = {"no model", "load nothing", "load nowhere", "load the base", "load", "load again"} | {
    "unload",
    "unload again",
    "no route",
    "both flags",
    "health",
}
"""Answers whose very words are the same, because our code or a person relies on them."""


def events(text: str) -> list[Any]:
    """Return the JSON of each event, and the end as it is."""
    import json

    parts = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    return [part if part == "[DONE]" else json.loads(part) for part in parts]


async def look(server: Any, vampire: str) -> dict[str, Any]:
    """Ask everything and return status and shape, or status and words, of each answer."""
    seen: dict[str, Any] = {}
    for adapter in ("vampire@1", "zombie@1"):
        await server.unload(adapter)
    for name, (path, body) in ASKED.items():
        if isinstance(body, dict):
            body = {
                key: value.format(vampire=vampire) if key == "lora_path" else value
                for key, value in body.items()
            }
        status, answer = await server.call(path, body)
        if isinstance(answer, str) and answer.startswith("data: "):
            found: list[Any] = []
            for one in map(shape, events(answer)):
                if not found or found[-1] != one:
                    found.append(one)
            seen[name] = (status, found)
        else:
            seen[name] = (status, answer if name in EXACT else shape(answer))
    return seen


class FakeServer:
    """The fake, asked as the real one is."""

    def __init__(self, server: FakeVllm) -> None:
        self._server = server

    async def call(self, path: str, body: Any = None) -> tuple[int, Any]:
        from palaver_vllm.serve.process import call

        return await asyncio.to_thread(call, self._server.url, path, body=body, key="k")

    async def unload(self, adapter: str) -> None:
        await self.call("/v1/unload_lora_adapter", {"lora_name": adapter})


async def test_answers_have_the_same_shape(server: Any, world: Any) -> None:
    """Every answer of the fake has the fields and types of the real one's, and its status."""
    vampire = os.path.join(world, "vampire@1")
    real = await look(server, vampire)
    async with FakeVllm(model="tiny", root="/x", max_model_len=4096, api_key="k") as fake:
        fake.replies = [["Good", " evening", ".", " Sit", " down", " here"]]
        pretended = await look(FakeServer(fake), vampire)
    different = {
        name: (pretended[name], real[name]) for name in ASKED if pretended[name] != real[name]
    }
    assert not different
