"""The suite that every backend passes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from palaver.chain.backend import BackendContext
from palaver.testing.contract import BackendContract, BackendLab, Case
from palaver.testing.turns import make_persona, make_request, make_turn, make_world
from palaver.world.lines import Line
from palaver_static.backend import StaticBackend
from palaver_static.config import StaticSettings


class StaticLab(BackendLab):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    async def make(self) -> StaticBackend:
        context = BackendContext(self._folder, dict, lambda line: None)
        return StaticBackend("static", StaticSettings(type="static"), context)

    async def whole(self) -> Case:
        return await self.saying(["Leave", " now", "."])

    async def saying(
        self, tokens: Sequence[str], *, split_bytes: int | None = None, together: int = 1
    ) -> Case:
        persona = make_persona("vampire")
        line = Line("1", "".join(tokens), "any", "", None, "en", 2)
        turn = make_turn(persona=persona, world=make_world(persona, lines={"vampire": [line]}))
        return Case(await self.make(), make_request(turn=turn))


class TestContract(BackendContract):
    """There is no server, so there are none of a server's failures."""

    can = frozenset({"script"})

    @pytest.fixture
    async def lab(self, tmp_path: Path) -> StaticLab:
        """A lab without a server."""
        return StaticLab(tmp_path)
