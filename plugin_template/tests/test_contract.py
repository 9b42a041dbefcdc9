"""What every backend promises: streaming, cancellation, closing, and leaving nothing behind."""

from __future__ import annotations

from typing import ClassVar

import pytest

from palaver.testing.contract import BackendContract, BackendLab, Case
from palaver.testing.turns import make_request
from palaver_example.backend import ExampleBackend, ExampleSettings


class ExampleLab(BackendLab):
    """Makes what the contract asks for; a backend with a server can make far more of it."""

    async def make(self) -> ExampleBackend:
        """A new backend."""
        return ExampleBackend("local", ExampleSettings(type="example"))

    async def whole(self) -> Case:
        """A reply that is short and ends by itself."""
        return Case(await self.make(), make_request("Good night."))


class TestContract(BackendContract):
    """Runs the contract; `can` names what the lab can make beyond `make` and `whole`."""

    can: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture
    def lab(self) -> ExampleLab:
        """The lab of this backend."""
        return ExampleLab()
