"""The contract's lab on the fake Ollama, for every backend that speaks its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from palaver.chain.backend import GenerateRequest
from palaver.testing.contract_lab import Case
from palaver.testing.fake_lab import FAULTS, FakeLab
from palaver.testing.fake_ollama import HANG, Fail, FakeModel, FakeOllama, Raw, Reply
from palaver.testing.turns import make_request

__all__ = ["FakeOllamaLab"]


class FakeOllamaLab(FakeLab[FakeOllama]):
    """A lab with a fake Ollama in this process; some tests make a backend with `think`."""

    wrong: Mapping[str, Any] = {"think": "high"}
    faults: ClassVar[Mapping[str, Reply]] = {
        **FAULTS,
        "error event": Reply(
            steps=["Good", Fail("an error was encountered while running the model")]
        ),
        "garbage": Reply(steps=["Good", Raw(b"<html>\n")]),
    }

    async def silent(self) -> Case:
        """Let the server send nothing, not even headers, as Ollama does while it reads."""
        self.server.replies = [Reply(before_headers=HANG)]
        return Case(await self._main(), make_request())

    def _too_long(self) -> GenerateRequest:
        self.server.models["tiny:latest"] = FakeModel(context_shift=False)
        return make_request("x" * 40_000)
