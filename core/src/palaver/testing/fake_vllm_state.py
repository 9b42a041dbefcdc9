"""What the fake vLLM holds: adapters, its prefix cache, what runs, and its `/metrics`."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from palaver.testing.fake_vllm_reply import error_body

__all__ = ["Adapters", "FakeError", "PrefixCache"]

_BLOCK = 16  # tokens; vLLM caches whole blocks only
_CHARS = 4  # characters of prompt in one of the fake's tokens


class FakeError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, message: str, type_: str | None = None, param: str | None = None
    ) -> None:
        self.status = status
        self.body = error_body(status, message, type_, param)
        super().__init__(message)


class Adapters:
    """LoRA adapters as vLLM keeps them.

    Attributes:
        names: Path of every name that can be asked for.
        resident: Paths whose weights are in memory; unloading a name does not remove them.
        running: How many streams use each name now.
        series: What `vllm:lora_requests_info` has shown so far: a new series for every set.
    """

    def __init__(self, base: str, slots: int, max_rank: int) -> None:
        self.names: dict[str, str] = {}
        self.resident: dict[str, None] = {}
        self.running: Counter[str] = Counter()
        self.series: dict[str, float] = {}
        self._base, self._slots, self._max_rank = base, slots, max_rank
        self._free = asyncio.Condition()

    def check(self, name: str, path: str) -> None:
        """Check a request to load, with vLLM's words.

        Raises:
            FakeError: It cannot be loaded.
        """
        if not name or not path:
            raise FakeError(
                400, "Both 'lora_name' and 'lora_path' must be provided.", "InvalidUserInput"
            )
        if name == self._base:
            raise FakeError(
                400,
                f"The lora adapter '{name}' conflicts with a served base model.",
                "InvalidUserInput",
            )
        if name in self.names:
            raise FakeError(
                400,
                f"The lora adapter '{name}' has already been loaded. If you want to load the "
                "adapter in place, set 'load_inplace' to True.",
                "InvalidUserInput",
            )
        config = Path(path, "adapter_config.json")
        if not config.is_file():
            raise FakeError(
                404, f"Loading lora {name} failed: No adapter found for {path}", "NotFoundError"
            )
        rank = json.loads(config.read_text()).get("r", 0)
        if rank > self._max_rank:
            raise FakeError(
                500,
                "Call to add_lora method failed: Worker failed with error 'LoRA rank "
                f"{rank} is greater than max_lora_rank {self._max_rank}.', please check the stack "
                "trace above for the root cause",
                "InternalServerError",
            )

    def load(self, name: str, path: str) -> None:
        """Give weights a name."""
        self.names[name] = path
        self.resident[path] = None

    def unload(self, name: str) -> None:
        """Drop a name; its weights stay where they are.

        Raises:
            FakeError: There is no such name.
        """
        if name not in self.names:
            raise FakeError(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        del self.names[name]

    async def acquire(self, name: str) -> None:
        """Wait for a slot: streams of more adapters than slots wait for each other."""
        async with self._free:
            await self._free.wait_for(lambda: name in self.running or self._room())
            self.running[name] += 1
        self.series[",".join(sorted(self.running))] = time.time()

    def _room(self) -> bool:
        return len(self.running) < self._slots

    async def release(self, name: str) -> None:
        """Leave the slot."""
        self.running[name] -= 1
        if not self.running[name]:
            del self.running[name]
        async with self._free:
            self._free.notify_all()

    def metrics(self) -> Iterator[str]:
        """Yield the lines of `vllm:lora_requests_info`."""
        for names, at in self.series.items():
            yield (
                f'vllm:lora_requests_info{{max_lora="{self._slots}",'
                f'running_lora_adapters="{names}",waiting_lora_adapters=""}} {at}'
            )


class PrefixCache:
    """Counts prefix cache hits in blocks, keyed by adapter name and path.

    Attributes:
        queries: Tokens that were looked up.
        hits: Tokens that were found.
    """

    def __init__(self) -> None:
        self.queries = 0
        self.hits = 0
        self._seen: set[tuple[str, str]] = set()

    def look_up(self, key: str, prompt: str) -> int:
        """Count a prompt and return its length in tokens."""
        size = _BLOCK * _CHARS
        self.queries += len(prompt) // _CHARS
        found = True
        for end in range(size, len(prompt) + 1, size):
            block = (key, prompt[:end])
            found = found and block in self._seen
            self.hits += _BLOCK if found else 0
            self._seen.add(block)
        return max(1, len(prompt) // _CHARS)
