"""What players see of the mod, in LuaJIT, in the world of `stub_world.lua`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

lupa = pytest.importorskip("lupa.luajit21", reason="lupa is not installed; pip install lupa")

HERE = Path(__file__).parent
MOD = HERE.parents[2] / "engine_bridges" / "luanti" / "llm_agent"
FORM = "llm_agent:dialogue"


class World:
    """One world; `sam` stands beside `willow` unless `empty`."""

    def __init__(self, *, empty: bool = False, examples: bool = False, **conf: str) -> None:
        self.lua = lupa.LuaRuntime(unpack_returned_tuples=True)
        load = self.lua.eval("function(file, ...) return assert(loadfile(file))(...) end")
        self.stub = load(str(HERE / "stub_world.lua"), str(MOD))
        for name, value in conf.items():
            self.stub.conf[f"llm_agent.{name}"] = value
        self.stub.load(examples)
        if not empty:
            self.npc("willow", name="Elder Willow")
            self.body = self.spawn("willow", 0, 0, 0)
            self.sam = self.join("sam", 2, 0, 0)
            self.stub.loading = None

    @property
    def api(self) -> Any:
        """The public table `llm_agent`."""
        return self.lua.globals().llm_agent

    @property
    def mod(self) -> Any:
        """The mod's private table."""
        return self.stub.A

    def table(self, value: Any) -> Any:
        """Make Lua of Python."""
        if isinstance(value, dict):
            return self.lua.table_from({key: self.table(part) for key, part in value.items()})
        if isinstance(value, list):
            return self.lua.table_from([self.table(part) for part in value])
        return value

    def plain(self, value: Any) -> Any:
        """Make Python of Lua; what is no data stays as it is."""
        if lupa.lua_type(value) != "table":
            return value
        keys = list(value.keys())
        if keys and keys == list(range(1, len(keys) + 1)):
            return [self.plain(value[key]) for key in keys]
        return {key: self.plain(value[key]) for key in keys}

    def function(self, python: Any) -> Any:
        """Make a Lua function of Python's."""
        wrap = self.lua.eval("function(fn) return function(...) return fn(...) end end")
        return wrap(python)

    def npc(self, id_: str, **def_: Any) -> Any:
        """Register an NPC."""
        assert self.api.register_npc(id_, self.table(def_)) is True
        return self.mod.npcs.get(id_)

    def pos(self, x: float, y: float, z: float) -> Any:
        """Make a position."""
        return self.table({"x": x, "y": y, "z": z})

    def spawn(self, id_: str, x: float, y: float, z: float) -> Any:
        """Set an NPC into the world."""
        return self.mod.entity.spawn(id_, self.pos(x, y, z), None)

    def join(self, name: str, x: float, y: float, z: float) -> Any:
        """Let a player join."""
        return self.stub.join(name, self.pos(x, y, z))

    def speak(self, id_: str = "willow", player: str | None = "sam", **what: Any) -> Any:
        """Start a turn; what `npcs.speak` returns."""
        opts = what.pop("opts", {})
        return self.mod.npcs.speak(id_, player, self.table(what), self.table(opts))

    @property
    def turns(self) -> list[Any]:
        """All turns that were started."""
        return list(self.stub.started.values())

    @property
    def chat(self) -> list[str]:
        """Chat lines as `name: text`, without colours."""
        return [
            f"{one.name}: " + re.sub(r"\x1b\([^)]*\)", "", one.text)
            for one in self.stub.chat.values()
        ]

    @property
    def forms(self) -> list[str]:
        """The forms that were shown."""
        return [one.text for one in self.stub.forms.values()]

    def fields(self, name: str = "sam", formname: str = FORM, **fields: Any) -> bool:
        """Answer a form; whether the mod took it."""
        return bool(self.stub.fields(name, formname, self.table(fields)))

    def rightclick(self, body: Any = None, player: Any = None) -> Any:
        """Click a body as the engine does."""
        entity = (body or self.body).get_luaentity(body or self.body)
        return entity.on_rightclick(entity, player or self.sam)

    def command(self, text: str, name: str = "sam") -> tuple[bool, str]:
        """Run /llm_agent."""
        ok, message = self.stub.commands.llm_agent.func(name, text)
        return ok, message

    def logged(self, word: str) -> list[str]:
        """What was logged with this word in it."""
        return [line for line in self.stub.logged.values() if word in line]

    def no_errors(self) -> bool:
        """Whether nothing went wrong inside the mod."""
        count, last = self.mod.protect.errors()
        assert count == 0, last
        return True
