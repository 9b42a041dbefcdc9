"""The contract's lab on the fake vLLM, for every backend that speaks its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palaver.chain.backend import GenerateRequest
from palaver.testing.fake_lab import Endless, FakeLab, free_port
from palaver.testing.fake_vllm import FakeVllm
from palaver.testing.turns import make_request

__all__ = ["Endless", "FakeVllmLab", "free_port"]


class FakeVllmLab(FakeLab[FakeVllm]):
    """A lab with a fake vLLM in this process; some tests make a backend with `extra_body`."""

    wrong: Mapping[str, Any] = {"extra_body": {"temperature": "hot"}}

    def _too_long(self) -> GenerateRequest:
        return make_request("x" * 8 * self.server.max_model_len)
