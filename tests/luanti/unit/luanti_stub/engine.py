"""The mod under LuaJIT, with an engine whose clock, network and answers a test decides upon."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

try:
    from lupa import luajit21 as lua
except ImportError:
    from lupa import lua51 as lua

__all__ = ["LINK", "MOD", "STEP_S", "Engine", "Request"]

MOD = Path(__file__).parents[4] / "engine_bridges" / "luanti" / "llm_agent"
STEP_S = 0.09
"""The engine's default server step."""
LINK = (
    "settings", "protect", "json", "text", "stats", "canned", "requests", "outbox", "exchange",
    "watch", "backoff", "session", "link", "typewriter", "turns",
)  # fmt: skip
"""The parts that talk with Palaver, in the order of loading."""
JSON_DEPTH = 1000


@dataclass
class Request:
    """A request that the mod has sent, and the answer that it gets."""

    handle: int
    url: str
    method: str
    data: str
    timeout: float
    headers: list[str]
    at: float
    result: dict[str, Any] | None = None
    seen: bool = False
    lost: bool = False
    late: bool = False

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the request."""
        body = json.loads(self.data)
        assert isinstance(body, dict)
        return body

    @property
    def sent(self) -> list[str]:
        """The types of its messages."""
        return [message["type"] for message in self.body["messages"]]

    def reply(self, body: object, code: int = 200) -> None:
        """Answer with JSON, or with a text as it is."""
        data = body if isinstance(body, str) else json.dumps(body)
        self.result = {"succeeded": True, "timeout": False, "code": code, "data": data}

    def answer(
        self, *messages: dict[str, Any], cursor: int = 0, session: str = "s1", **more: Any
    ) -> None:
        """Answer as Palaver does."""
        body = {"session": session, "cursor": cursor, "messages": messages, "more": False}
        self.reply(body | {"open": 0} | more)

    def refuse(self, code: int, name: str = "error", message: str = "no") -> None:
        """Answer with an error."""
        self.reply({"error": {"code": name, "message": message, "retryable": False}}, code)

    def fail(self) -> None:
        """Let the connection fail, as when nobody listens."""
        self.result = {"succeeded": False, "timeout": False, "code": 0, "data": ""}

    def time_out(self, code: int = 0, data: str = "") -> None:
        """Let the engine's time limit pass."""
        self.result = {"succeeded": False, "timeout": True, "code": code, "data": data}


@dataclass
class Engine:
    """A game server with the mod, or with some parts of it.

    Args:
        settings: Of `minetest.conf`.
        allowed: Whether the mod gets the HTTP table.
        curl: Whether the engine has it at all.
        parts: Parts of the mod to load; None runs its `init.lua` with all of them.
        server: Is called with each request when the mod sends it.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    allowed: bool = True
    curl: bool = True
    parts: Iterable[str] | None = LINK
    server: Callable[[Request], None] | None = None

    now: float = 1000.0
    requests: list[Request] = field(default_factory=list)
    logged: list[tuple[str, str]] = field(default_factory=list)
    refuses: bool = False
    most: int = 0
    """Most requests that were in flight together."""

    def __post_init__(self) -> None:
        self.lua = lua.LuaRuntime(unpack_returned_tuples=True, register_eval=False)
        self.table = self.lua.table
        settings = {name: str(value) for name, value in self.settings.items()}
        here = Path(__file__).with_name("core.lua").read_text(encoding="utf-8")
        self.core = self.lua.execute(
            here,
            self.table(
                mod=str(MOD),
                http=self.curl,
                setting=settings.get,
                now=lambda: self.now,
                log=lambda level, text=None: self.logged.append((level, text)),
                allowed=lambda: self.allowed,
                fetch_async=self._fetch,
                fetch_async_get=self._get,
                parse_json=self.parse_json,
                write_json=self.write_json,
                translate=lambda lang, text: self.words.get((lang, text)),
            ),
        )
        self.words: dict[tuple[str, str], str] = {}
        load = self.lua.eval("function(name, ...) return assert(loadfile(name))(...) end")
        if self.parts is None:
            load(str(MOD / "init.lua"))
            self.A = None
            return
        self.A = self.lua.eval(
            "function(core, path, now) return {api = core, name = 'llm_agent', path = path,"
            " steps = {}, version = '1', now = now, S = core.get_translator(),"
            " http = core.request_http_api and core.request_http_api(),"
            " log = function(level, text) core.log(level, '[llm_agent] ' .. text) end} end"
        )(self.core, str(MOD), lambda: self.now)
        for part in self.parts:
            self.A[part] = load(str(MOD / "src" / f"{part}.lua"), self.A)
        run = "function(A) return function() for _, s in ipairs(A.steps) do s.fn(0.09) end end end"
        self._steps = self.lua.eval(run)(self.A)

    # What the engine does

    def _fetch(self, wish: Any) -> int:
        assert not self.refuses, "the engine refuses"
        values = {name: wish[name] for name in ("url", "method", "data", "timeout")}
        headers = list(wish["extra_headers"].values())
        one = Request(handle=len(self.requests) + 1, headers=headers, at=self.now, **values)
        self.requests.append(one)
        self.most = max(self.most, len(self.flying()))
        if self.server:
            self.server(one)
        return one.handle

    def _get(self, handle: int) -> Any:
        one = self.requests[handle - 1]
        if one.result is None and not one.lost and self.now - one.at >= one.timeout > 0:
            one.time_out()
        if one.result is None:
            return self.table(completed=False)
        one.seen = True
        return self.table(completed=True, **one.result)

    def flying(self) -> list[Request]:
        """Requests whose answer the mod has not seen."""
        return [one for one in self.requests if not one.seen and not one.late]

    def parse_json(self, text: str, *_: Any) -> Any:
        """`core.parse_json` of 5.6.1."""
        depth = deepest = 0
        for char in text:
            depth += (char in "[{") - (char in "]}")
            deepest = max(deepest, depth)
        if deepest > JSON_DEPTH:
            raise ValueError("Exceeded stackLimit in readValue().")
        try:
            value, _end = json.JSONDecoder().raw_decode(text.lstrip())
        except (ValueError, RecursionError):
            return None
        return self.to_lua(value)

    def to_lua(self, value: Any) -> Any:
        """Return what `parse_json` makes of a value: null is nothing, every number a float."""
        if isinstance(value, dict):
            table = self.table()
            for key, one in value.items():
                table[key] = self.to_lua(one)
            return table
        if isinstance(value, list):
            table = self.table()
            for i, one in enumerate(value, 1):
                table[i] = self.to_lua(one)
            return table
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return value

    def write_json(self, value: Any, *_: Any) -> Any:
        """`core.write_json` of 5.6.1."""
        try:
            return json.dumps(self._plain(value, 0))
        except (TypeError, ValueError) as error:
            return None, str(error)

    def _plain(self, value: Any, depth: int) -> Any:
        kind = lua.lua_type(value)
        if isinstance(value, bool | str) or value is None:
            return value
        if isinstance(value, int | float):
            number = float(value)
            return None if math.isnan(number) else 1e308 if math.isinf(number) else number
        if kind != "table" or depth >= 19:
            raise TypeError("Can't serialize")
        keys = list(value.keys())
        if not keys:
            return None
        if all(isinstance(key, str) for key in keys):
            return {key: self._plain(value[key], depth + 1) for key in keys}
        if not all(isinstance(key, int) and key > 0 for key in keys):
            raise TypeError("Can't serialize mixed keys")
        return [self._plain(value[i], depth + 1) for i in range(1, max(keys) + 1)]

    # What a test does

    def step(self, times: int = 1, dtime: float = STEP_S) -> None:
        """Let server steps pass."""
        for _ in range(times):
            self.now += dtime
            if self.parts is None:
                self.core.step(dtime)
            else:
                self._steps()

    def wait(self, seconds: float) -> None:
        """Let as many steps pass as fit into a time."""
        self.step(math.ceil(seconds / STEP_S))

    def log(self, *levels: str) -> list[str]:
        """Return the lines of the log, of all or of some levels."""
        return [text for level, text in self.logged if not levels or level in levels]

    def deep(self, value: Any) -> Any:
        """Return a Lua table as Python's dicts and lists."""
        if lua.lua_type(value) != "table":
            return value
        keys = list(value.keys())
        if keys == list(range(1, len(keys) + 1)):
            return [self.deep(value[key]) for key in keys]
        return {key: self.deep(value[key]) for key in keys}

    def lua_value(self, value: Any) -> Any:
        """Return Python's dicts and lists as Lua tables; the rest as it is."""
        return self.table_from(value) if isinstance(value, dict | list) else value

    def table_from(self, value: Any) -> Any:
        """Return a dict or list as a Lua table."""
        pairs = value.items() if isinstance(value, dict) else enumerate(value, 1)
        table = self.table()
        for key, one in pairs:
            table[key] = self.lua_value(one)
        return table
