import asyncio
from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest

from palaver.chain.backend import Finish, ModelInfo
from palaver.errors import BackendError, BackendOverloaded, ModelNotFound
from palaver.testing.contract import BackendContract, BackendLab, Case
from palaver.testing.contract_lab import FAILURES
from palaver.testing.scripted import Pause, ScriptedBackend, ScriptedSettings
from palaver.testing.turns import make_request

ERRORS: Mapping[str, BackendError] = {
    "overloaded": BackendOverloaded("scripted", "full", status_code=503, retry_after_s=7),
    "no model": ModelNotFound("scripted", "elf", "no such model"),
} | {
    how: FAILURES[how]("scripted", "fails")
    for how in ("error status", "error event", "garbage", "no finish", "cut")
}


class ScriptedLab(BackendLab):
    def __init__(self) -> None:
        super().__init__()
        self.backend = ScriptedBackend(
            settings=ScriptedSettings(type="scripted", context_tokens=512),
            models=[ModelInfo("scripted", None, 512)],
        )

    def _case(self, *steps: object) -> Case:
        self.backend.replies = [list(steps)]  # type: ignore[list-item]  # steps, as written below
        return Case(self.backend, make_request())

    async def make(self) -> ScriptedBackend:
        return self.backend

    async def whole(self) -> Case:
        finish = Finish(model="scripted", prompt_tokens=9, completion_tokens=2)
        return self._case("Good ", "evening.", finish)

    async def saying(
        self, tokens: Sequence[str], *, split_bytes: int | None = None, together: int = 1
    ) -> Case:
        pieces = ["".join(tokens[i : i + together]) for i in range(0, len(tokens), together)]
        return self._case(*pieces, Finish())

    async def echoing(self) -> ScriptedBackend:
        self.backend.replies = [lambda request: [request.messages[-1].content, Finish()]]
        return self.backend

    async def endless(self) -> Case:
        return self._case(*[" and", Pause(1)] * 1000)

    async def silent(self) -> Case:
        return self._case(asyncio.Event())

    async def failing(self, how: str) -> Case:
        return self._case("Good", ERRORS[how])

    async def running(self) -> int:
        return sum(call.outcome == "running" for call in self.backend.calls)


class TestContract(BackendContract):
    can: ClassVar = frozenset(ERRORS) | set(
        "script stream echo usage endless silent running models".split()
    )

    @pytest.fixture
    def lab(self) -> ScriptedLab:
        return ScriptedLab()
