"""The mod's actions, quests, trade and talks in LuaJIT, in the world of `stub_deeds.lua`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

lupa = pytest.importorskip("lupa.luajit21", reason="lupa is not installed; pip install lupa")

HERE = Path(__file__).parent
MOD = HERE.parents[2] / "engine_bridges" / "luanti" / "llm_agent"
COIN = "default:mese_crystal_fragment"
APPLE, BREAD, ROSE, ELIXIR = (
    "default:apple", "farming:bread", "flowers:rose", "alchemy:elixir",
)  # fmt: skip
GOODS = {BREAD: {"price": 2, "stock": 10}, ELIXIR: {"price": 6, "stock": 4}}


class Deeds:
    """One world with the alchemist, her goods, and a player next to her."""

    def __init__(self, **settings: Any) -> None:
        self.lua = lupa.LuaRuntime(unpack_returned_tuples=True)
        load = self.lua.eval("function(file, ...) return assert(loadfile(file))(...) end")
        self.world = load(str(HERE / "stub_deeds.lua"), str(MOD), self._parse)
        for name, value in settings.items():
            self.world.settings[name] = value
        self.world.load()
        self.npc = self.add_npc("alchemist", goods=GOODS, name="The Alchemist")
        self.player = self.world.player("sam", self.pos(0, 0, 0), 32)

    def _parse(self, text: str) -> Any:
        return self.table(json.loads(text, parse_int=float))

    def reload(self) -> None:
        """Start the game again: what is in mod storage stays, the rest is forgotten."""
        self.world.load()

    @property
    def mod(self) -> Any:
        """The mod's private table."""
        return self.world.A

    def pos(self, x: float, y: float, z: float) -> Any:
        """Make a position."""
        return self.table({"x": x, "y": y, "z": z})

    def table(self, value: Any) -> Any:
        """Make Lua of Python."""
        if isinstance(value, dict):
            return self.lua.table_from({key: self.table(part) for key, part in value.items()})
        if isinstance(value, list):
            return self.lua.table_from([self.table(part) for part in value])
        return value

    def add_npc(self, id_: str, at: tuple[float, float, float] = (1, 0, 0), **def_: Any) -> Any:
        """Register an NPC with a body."""
        npc = self.world.npc(id_, self.table(def_), None)
        self.world.body(id_, self.pos(*at), None)
        return npc

    def act(
        self, name: str, text: str | None = None, *, npc: str = "alchemist",
        player: str | None = "sam", call: str | None = None, age_ms: float | None = None,
        **args: Any,
    ) -> tuple[bool, str]:  # fmt: skip
        """Propose an action, and return the one answer to it."""
        count, answer = self.world.act(npc, player, name, self.table(args), text, call, age_ms)
        assert count == 1, f"{count} answers"
        assert answer.type == "action.result"
        return answer.ok, answer.message

    def find(self, words: str) -> Any:
        """Find an item by words: its name, or None and why not."""
        return self.mod["items"].find(words, None)

    def put(self, item: str, count: int = 1, **meta: str) -> None:
        """Put a stack into the player's inventory."""
        self.world.put(self.player, f"{item} {count}", self.table(meta))

    def stock(self, item: str) -> int:
        """How many the alchemist has."""
        return int(self.mod.trade.stock(self.npc, item))

    def held(self, item: str) -> int:
        """How many the player has, of whatever kind."""
        return int(self.world.total(self.player, item))

    def plain(self, value: Any) -> Any:
        """Make Python of Lua."""
        if lupa.lua_type(value) != "table":
            return value
        keys = list(value.keys())
        if keys and keys == list(range(1, len(keys) + 1)):
            return [self.plain(value[key]) for key in keys]
        return {key: self.plain(value[key]) for key in keys}

    def errors(self) -> list[str]:
        """What the mod logged as an error."""
        return [one[2] for one in self.world.logged.values() if one[1] == "error"]
