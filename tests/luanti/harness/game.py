"""A throwaway game with the mod in it, served by the engine's own server."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.programs import Program
from harness.waiting import LIMIT_S, end, free_port, wait_for

__all__ = ["MOD", "Game", "lua_string"]

HERE = Path(__file__).parent
MOD = HERE.parents[2] / "engine_bridges" / "luanti" / "llm_agent"
"""The mod as it is in the tree."""

GAME_CONF = "title = Mini\n"
GAME_MOD = """\
minetest.register_node("base:stone", {
    description = "Stone",
    tiles = {"blank.png^[noalpha^[colorize:#5a7048:255"},
    groups = {cracky = 3},
})
minetest.register_alias("mapgen_stone", "base:stone")
minetest.register_alias("mapgen_water_source", "air")
minetest.register_alias("mapgen_river_water_source", "air")
"""
WORLD_MT = """\
gameid = mini
backend = dummy
player_backend = dummy
auth_backend = sqlite3
mod_storage_backend = sqlite3
"""
SETTINGS = {
    "mg_name": "singlenode",
    "server_announce": "false",
    "bind_address": "127.0.0.1",
    "enable_ipv6": "false",
    # Lets the test bot's client mod hear and send chat.
    "csm_restriction_flags": "0",
    "time_speed": "0",
    "world_start_time": "12000",
    "enable_damage": "false",
    "default_privs": "interact, shout",
}
LISTENS = "listening on"
PROBLEM = re.compile(r"(?m)^.*\b(?:ERROR|WARNING)\[.*$")


def lua_string(text: str) -> str:
    """Return a Lua literal of any text."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'


class Game:
    """A game server that runs; use it in a `with` block, which ends it.

    Args:
        program: The server.
        tmp_path: Where its folders go.
        mods: More mods: name, and the text of its init.lua or a folder to copy.
        http_mods: Mods that may use HTTP.
        settings: More settings of `minetest.conf`; those of the mod begin with `llm_agent.`.
        agent: Whether the mod under test is in the game.

    Attributes:
        folder: Everything of this game.
        port: Its UDP port.
        process: Its process.
    """

    def __init__(
        self,
        program: Program,
        tmp_path: Path,
        *,
        mods: Mapping[str, str | Path] | None = None,
        http_mods: Iterable[str] = ("llm_agent",),
        settings: Mapping[str, object] | None = None,
        agent: bool = True,
    ) -> None:
        self.program = program
        self.folder = program.folder(tmp_path)
        self.world = self.folder / "world"
        self.port = 0
        self._log = self.folder / "server.log"
        self._settings = SETTINGS | {"secure.http_mods": ",".join(http_mods)}
        self._settings |= {name: str(value) for name, value in (settings or {}).items()}
        self._numbers = itertools.count(1)
        self._write(dict(mods or {}), agent=agent)
        self.process: subprocess.Popen[Any]

    def _write(self, mods: dict[str, str | Path], *, agent: bool) -> None:
        # Older than 5.13 look into .minetest, newer ones into .luanti unless the old one is there.
        base = self.folder / "home" / ".minetest" / "games" / "mini"
        (base / "mods" / "base").mkdir(parents=True)
        (base / "game.conf").write_text(GAME_CONF, encoding="utf-8")
        (base / "mods" / "base" / "mod.conf").write_text("name = base\n", encoding="utf-8")
        (base / "mods" / "base" / "init.lua").write_text(GAME_MOD, encoding="utf-8")
        into = self.world / "worldmods"
        into.mkdir(parents=True)
        (self.world / "world.mt").write_text(WORLD_MT, encoding="utf-8")
        (self.world / "control").mkdir()
        shutil.copytree(HERE / "control", into / "control")
        if agent:
            shutil.copytree(MOD, into / "llm_agent")
        for name, content in mods.items():
            if isinstance(content, Path):
                shutil.copytree(content, into / name)
                continue
            (into / name).mkdir()
            depends = "depends = llm_agent, control\n" if agent else "depends = control\n"
            (into / name / "mod.conf").write_text(f"name = {name}\n{depends}", encoding="utf-8")
            (into / name / "init.lua").write_text(content, encoding="utf-8")

    def __enter__(self) -> Game:
        """Start it, and wait until players could join."""
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it at once: its world is for this test alone. `stop` lets it say goodbye."""
        if hasattr(self, "process"):
            self.process.kill()
        self.stop()
        if self.program.root:
            # Nobody else clears that up.
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, and wait until players could join; after `stop` in the same world.

        Raises:
            AssertionError: It does not start; with its log.
        """
        before = self.log.count(LISTENS)
        self.spawn()
        wait_for(
            lambda: self.log.count(LISTENS) > before or self.process.poll() is not None,
            lambda: f"the game server to listen:\n{self.log}",
        )
        assert self.process.poll() is None, f"the game server ended:\n{self.log}{self.output}"

    def spawn(self) -> None:
        """Start its process and wait for nothing."""
        self.port = free_port(socket.SOCK_DGRAM)
        # Newer ones count for Prometheus at a fixed port, which two at once cannot have.
        self._settings["prometheus_listener_address"] = f"127.0.0.1:{free_port()}"
        # Newer servers offer metrics, at a port that two of them cannot have at once.
        metrics = {"prometheus_listener_address": f"127.0.0.1:{free_port()}"}
        pairs = (self._settings | metrics).items()
        settings = "".join(f"{name} = {value}\n" for name, value in pairs)
        (self.folder / "server.conf").write_text(settings, encoding="utf-8")
        inside = self.program.inside
        command = self.program.command(
            *("--config", inside(self.folder / "server.conf")),
            *("--world", inside(self.world), "--gameid", "mini"),
            *("--port", str(self.port), "--logfile", inside(self._log)),
            home=self.folder / "home",
        )
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                # A POST without a body reads it, and would wait for whoever types.
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> int:
        """End it as Ctrl-C does, and return its exit code; safe to call twice."""
        return end(self.process, signal.SIGINT) if hasattr(self, "process") else 0

    @property
    def log(self) -> str:
        """Its log so far."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    @property
    def output(self) -> str:
        """What it printed so far."""
        return (self.folder / "output.txt").read_text("utf-8", "replace")

    def problems(self) -> list[str]:
        """Lines of its log that are errors or warnings."""
        return [line.strip() for line in PROBLEM.findall(self.log)]

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def lua(self, code: str, limit_s: float = LIMIT_S) -> Any:
        """Run Lua in the game and return what it returns.

        Args:
            code: A chunk; a single expression needs its `return` too.
            limit_s: How long the game may take over it.

        Raises:
            AssertionError: The chunk raised, or the server is gone.
        """
        number = f"{next(self._numbers):06d}"
        folder = self.world / "control"
        draft, answer = folder / f"{number}.draft", folder / f"{number}.json"
        draft.write_text(code, encoding="utf-8")
        draft.rename(folder / f"{number}.lua")
        wait_for(
            lambda: answer.exists() or not self.alive(),
            lambda: f"an answer to {code!r}; the log ends:\n{self.log[-3000:]}",
            limit_s=limit_s,
        )
        assert answer.exists(), f"the game server ended at {code!r}:\n{self.log[-3000:]}"
        found = json.loads(answer.read_text(encoding="utf-8"), strict=False) or {}
        answer.unlink()
        assert "problem" not in found, found["problem"]
        return found.get("value")

    def wait(self, expression: str, limit_s: float = LIMIT_S) -> Any:
        """Wait until a Lua expression is true in the game, and return its value."""
        return wait_for(
            lambda: self.lua(f"return {expression}"),
            lambda: f"{expression}; the log ends:\n{self.log[-3000:]}",
            limit_s=limit_s,
        )

    def wait_log(self, pattern: str, limit_s: float = LIMIT_S) -> re.Match[str]:
        """Wait for a pattern in the log."""
        return wait_for(
            lambda: re.search(pattern, self.log),
            lambda: f"{pattern!r} in the log, which ends:\n{self.log[-3000:]}",
            limit_s=limit_s,
        )

    def ask(self, npc: str, text: str, **more: str) -> dict[str, Any]:
        """Ask an NPC, and return all that came of it once the turn is over.

        Args:
            npc: The NPC.
            text: What is said to it.
            more: More fields for `llm_agent.think`, as Lua.
        """
        return self.turn(self.begin(npc, text, **more))

    def begin(self, npc: str, text: str, **more: str) -> int:
        """Ask an NPC, and return the number of the turn at once."""
        fields = "".join(f", {name} = {value}" for name, value in more.items())
        request = f"{{text = {lua_string(text)}{fields}}}"
        return int(self.lua(f"return control.ask({lua_string(npc)}, {request})"))

    def turn(self, number: int) -> dict[str, Any]:
        """Wait until a turn is over, and return the note of it."""
        found = self.wait(f"control.turns[{number}].done > 0 and control.turns[{number}]")
        return dict(found)
