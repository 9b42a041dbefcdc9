"""Fifty NPCs talking in the real game server, and what it costs the game.

    python tests/bench/luanti.py [--seconds 120] [--npcs 50] [--only ROW ...] [--json]

Three processes beside this one: a stand-in model server (`standin.py`: 12 tokens at 20 tokens/s,
the first after 300 ms), `palaver serve`, and the game server at its default step of 90 ms. Each NPC
has a body in the world and asks again one second after its last reply ended; one player, a client
without a window, stands among them and hears them all. Everything is measured inside the game, from
the Lua call on. Rows:

    bare        the same game with the same figures and without the mod: the step to compare with
    talking     curl_parallel_limit = 64
    overload    curl_parallel_limit = 8, the engine's default
    killed      as `talking`, Palaver killed with SIGKILL in the middle, and started again
    static      as `talking`, replies that need no model
    alone       as `static`, with one NPC: the way of a ready reply through the engine
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compare import cpu_s, free_port, running

# The game and its players are the tests' own.
sys.path.insert(0, str(Path(__file__).parents[1] / "luanti"))

from harness.game import Game
from harness.gateway import Served
from harness.players import Player
from harness.programs import Program, find_server

TOKENS, GAP_MS = 12, 50
# Before its first token the stand-in sends a frame without text, and waits for one gap after it.
FIRST_MS = 300 - GAP_MS
WARM_S = 10
AWAY_S = 10
SAMPLE_S = 2.0
FIGURES = """
-- How long steps really take: `dtime` alone is what the engine means to take.
steps = {}
function steps.clear()
    steps.took, steps.mod, control.dtimes, steps.last = {}, {}, {}, nil
end
steps.clear()
core.register_globalstep(function()
    local now = core.get_us_time()
    if steps.last then
        steps.took[#steps.took + 1] = (now - steps.last) / 1000
    end
    steps.last = now
end)
-- What the mod does in a step, without what the machine does meanwhile.
for at, fn in ipairs(core.registered_globalsteps) do
    local origin = core.callback_origins[fn]
    if origin and origin.mod == "llm_agent" then
        core.registered_globalsteps[at] = function(dtime)
            local before = core.get_us_time()
            fn(dtime)
            steps.mod[#steps.mod + 1] = (core.get_us_time() - before) / 1000
        end
    end
end
function steps.lua_kb()
    collectgarbage()
    collectgarbage()
    return collectgarbage("count")
end

core.register_entity(":bench:figure", {initial_properties = {
    visual = "upright_sprite", textures = {"blank.png", "blank.png"}, physical = false,
    collisionbox = {-0.3, 0, -0.3, 0.3, 1.7, 0.3}, nametag = "An NPC",
}})
"""
BENCH = """
bench = {turns = {}, refused = {}, asked = 0, open = 0, run = 0}

local questions = {
    "Who are you?", "What do you do all day?", "Have you seen a cat?", "Is it always so cold?",
    "What do you know of the well?", "Why is it shut?", "Do you sell bread?", "Whose sword is it?",
}

-- A run that is over leaves timers behind: those ask nothing in the next one.
local function ask(id, run)
    if not bench.on or run ~= bench.run then
        return
    end
    bench.asked = bench.asked + 1
    bench.open = bench.open + 1
    local asked, first, ended = core.get_us_time(), 0, 0
    local turn, reason = llm_agent.think(id, {
        text = questions[bench.asked % #questions + 1] .. " (" .. bench.asked .. ")",
        on_text = function()
            first = first > 0 and first or core.get_us_time()
        end,
        on_done = function(one)
            ended = ended + 1
            -- A row of text takes less room than a table: memory is measured too.
            bench.turns[#bench.turns + 1] = table.concat(
                {asked, first, core.get_us_time(), ended, one.by or "-", one.why or "-"}, " ")
            bench.open = bench.open - 1
            core.after(1, ask, id, run)
        end,
    })
    if not turn then
        bench.refused[reason] = (bench.refused[reason] or 0) + 1
    end
end

function bench.start(npcs)
    bench.on, bench.turns, bench.asked, bench.open, bench.refused = true, {}, 0, 0, {}
    bench.run = bench.run + 1
    bench.before = llm_agent.status().stats
    steps.clear()
    for number = 1, npcs do
        core.after(number * 2 / npcs, ask, "npc" .. number, bench.run)
    end
end

function bench.result()
    return {rows = bench.turns, asked = bench.asked, refused = bench.refused,
        before = bench.before, after = llm_agent.status().stats, errors = llm_agent.status().errors}
end
"""
REGISTER = """
for number = 1, {npcs} do
    llm_agent.register_npc("npc" .. number, {{name = "NPC " .. number, persona = "bench"}})
end
"""
SPAWN = """
for number = 1, {npcs} do
    local pos = {{x = number % 10 * 2 - 10, y = 0.5, z = math.floor(number / 10) * 2 + 2}}
    local body = core.add_entity(pos, "bench:figure")
    if {agent} then
        llm_agent.attach(body, "npc" .. number, {{rightclick = false}})
    end
end
return true
"""
LINES = [
    "The night is long, and older than the road.",
    "Ask me again when the kettle sings.",
    "Nobody goes there who has another way.",
    "That is a question for the well.",
    "I had a name for it once; it left.",
    "Bread is two coins, and worth three.",
]


@dataclass
class Row:
    """What one run came to; times in milliseconds.

    Attributes:
        name: Which.
        seconds: How long it was measured.
        asked: Turns asked for.
        answered: Those that Palaver spoke.
        canned: Those that a line of the mod's own ended, by reason.
        lost: Those that ended in no way, or in more than one.
        step_p50: Time from step to step by the clock, median.
        step_p99: The same, 99th percentile.
        step_max: The same, longest.
        dtime_p99: Server step as the engine counts it (5.6 in whole steps), 99th percentile.
        dtime_max: The same, longest.
        mod_p50: What the mod itself does in a step, median.
        mod_max: The same, most.
        first_p50: First words from the Lua call, of what Palaver spoke, median.
        first_p99: The same, 99th percentile.
        canned_p99: First words of canned lines, 99th percentile.
        requests: HTTP requests a turn.
        server_cpu: CPU of the game server, in percent of a core.
        palaver_cpu: CPU of Palaver, in percent of a core.
        leak_kb: Growth of the game server's memory for each request, in kB.
        growth_mb: The same for an hour like this one, in MB.
        lua_mb: What of that is Lua's, in MB for an hour.
        back_s: Seconds from Palaver's return to the first words of its own.
        lua_errors: Errors that the mod caught.
    """

    name: str
    seconds: float
    asked: int = 0
    answered: int = 0
    canned: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    step_p50: float = 0.0
    step_p99: float = 0.0
    step_max: float = 0.0
    dtime_p99: float = 0.0
    dtime_max: float = 0.0
    mod_p50: float = 0.0
    mod_max: float = 0.0
    first_p50: float = 0.0
    first_p99: float = 0.0
    canned_p99: float = 0.0
    requests: float = 0.0
    server_cpu: float = 0.0
    palaver_cpu: float = 0.0
    leak_kb: float = 0.0
    growth_mb: float = 0.0
    lua_mb: float = 0.0
    back_s: float = 0.0
    lua_errors: int = 0


def quantile(values: list[float], share: float) -> float:
    """Return the smallest value that this share of all is not above; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def memory_kb(pid: int) -> int:
    """Return the memory that a process has for itself, in kB."""
    rows = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("RssAnon:"))


def slope(points: list[tuple[float, float]]) -> float:
    """Return how fast a value grows, by the line nearest to all points."""
    if len(points) < 3:
        return 0.0
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def make_world(folder: Path, model: int, chain: str) -> Path:
    """Write a world with one persona, whose words come from the stand-in or from its lines."""
    for name in ("personas", "templates", "lines"):
        (folder / name).mkdir(parents=True)
    (folder / "templates" / "npc.j2").write_text("{% block identity %}{% endblock %}")
    (folder / "personas" / "bench.md").write_text(
        "---\nname: Bench\nlast_words: Hm.\ntier: bench\n---\n"
        '{% extends "npc.j2" %}{% block identity %}You are a villager.{% endblock %}\n'
    )
    rows = "".join(f'{number},"{line}"\n' for number, line in enumerate(LINES))
    (folder / "lines" / "bench.csv").write_text(f"id,text\n{rows}")
    (folder / "palaver.toml").write_text(
        f'[backends.local]\ntype = "vllm"\nurl = "http://127.0.0.1:{model}"\nmodel = "base"\n'
        f'[tiers.bench]\nchain = ["{chain}"]\nmemory = 0\n'
    )
    return folder


@contextmanager
def served(folder: Path, chain: str) -> Iterator[Served]:
    """Run the stand-in and Palaver."""
    port = free_port()
    shape = (str(TOKENS), str(GAP_MS), str(FIRST_MS))
    with (
        # Its complaints about a Palaver that was killed in the middle are no news.
        running(
            "sh", "-c", f"exec {sys.executable} standin.py {port} {' '.join(shape)} 2>&-", port=port
        ),
        Served(make_world(folder / "bench-world", port, chain), free_port(), folder) as palaver,
    ):
        yield palaver


class Memory:
    """Looks at the memory of a process from time to time, until `stop`.

    Attributes:
        points: Seconds since the start, and kB.
    """

    def __init__(self, pid: int) -> None:
        self.points: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(pid,))
        self._thread.start()

    def _look(self, pid: int) -> None:
        begun = time.monotonic()
        while not self._over.wait(SAMPLE_S):
            self.points.append((time.monotonic() - begun, memory_kb(pid)))

    def stop(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()


def interrupt(game: Game, palaver: Served, seconds: float) -> int:
    """Kill Palaver after a third of the time and start it again; returns when, in the game's µs."""
    time.sleep(seconds / 3)
    palaver.kill()
    time.sleep(AWAY_S)
    palaver.start()
    return int(game.lua("return core.get_us_time()"))


def measure(name: str, game: Game, palaver: Served | None, args: argparse.Namespace) -> Row:
    """Measure a game that runs."""
    npcs = 1 if name == "alone" else args.npcs
    agent = "true" if palaver else "false"
    lua_kb = 0.0
    game.wait("core.get_node({x = 0, y = 0, z = 0}).name == 'base:stone'")
    game.lua(SPAWN.format(npcs=npcs, agent=agent))
    if palaver:
        # Connections, compiled code, and the first session are there when it counts.
        game.lua(f"bench.start({npcs})")
        time.sleep(WARM_S)
        game.lua("bench.on = false")
        game.wait("bench.open == 0")
        lua_kb = game.lua("bench.turns = {} return steps.lua_kb()")
        game.lua(f"bench.start({npcs})")
    else:
        time.sleep(WARM_S)
        game.lua("steps.clear()")
    pids = [game.process.pid] + ([palaver.process.pid] if palaver else [])
    before, begun = [cpu_s(pid) for pid in pids], time.monotonic()
    memory, back = Memory(pids[0]), 0
    if name == "killed" and palaver:
        back = interrupt(game, palaver, args.seconds)
    time.sleep(max(0.0, begun + args.seconds - time.monotonic()))
    took = time.monotonic() - begun
    if palaver and palaver.process.pid != pids[-1]:
        pids.pop()
    after = [cpu_s(pid) for pid in pids]
    memory.stop()
    steps = game.lua("return steps.took")
    dtimes = [value * 1e3 for value in game.lua("return control.dtimes")]
    mod = game.lua("return steps.mod") or []
    row = Row(
        name,
        took,
        step_p50=quantile(steps, 0.5),
        step_p99=quantile(steps, 0.99),
        step_max=max(steps),
        mod_p50=quantile(mod, 0.5),
        mod_max=max(mod, default=0.0),
        dtime_p99=quantile(dtimes, 0.99),
        dtime_max=max(dtimes),
        server_cpu=(after[0] - before[0]) / took * 100,
        palaver_cpu=(after[1] - before[1]) / took * 100 if len(after) > 1 else 0.0,
    )
    # The first half fills Lua's and the allocator's own stores.
    half = memory.points[len(memory.points) // 2 :]
    row.growth_mb = slope(half) * 3600 / 1024
    if palaver:
        game.lua("bench.on = false")
        game.wait("bench.open == 0")
        count(row, game.lua("return bench.result()"), back)
        grown_kb = game.lua("bench.turns = {} steps.clear() return steps.lua_kb()") - lua_kb
        row.lua_mb = grown_kb / 1024 / took * 3600
        row.leak_kb = slope(half) * took / max(1, row.requests * row.asked)
    assert game.alive()
    return row


def count(row: Row, found: dict[str, Any], back: int) -> None:
    """Count the turns of a run into its row."""
    turns = [text.split(" ") for text in found["rows"] or []]
    firsts: dict[str, list[float]] = {"palaver": [], "canned": []}
    canned: Counter[str] = Counter()
    returned: list[float] = []
    for asked, first, _done, ended, by, why in turns:
        row.lost += int(ended) != 1
        row.answered += by == "palaver"
        if by == "canned":
            canned[why] += 1
        if float(first) and by in firsts:
            firsts[by].append((float(first) - float(asked)) / 1e3)
        if back and by == "palaver" and float(first) > back:
            returned.append((float(first) - back) / 1e6)
    row.asked, row.canned = int(found["asked"]), dict(sorted(canned.items()))
    row.lost += row.asked - len(turns)
    row.first_p50 = quantile(firsts["palaver"], 0.5)
    row.first_p99 = quantile(firsts["palaver"], 0.99)
    row.canned_p99 = quantile(firsts["canned"], 0.99)
    row.back_s = min(returned, default=0.0)
    row.requests = (found["after"]["requests"] - found["before"]["requests"]) / max(1, row.asked)
    row.lua_errors = int(found["errors"])


ROWS = {
    "bare": 8,
    "talking": 64,
    "overload": 8,
    "killed": 64,
    "static": 64,
    "alone": 64,
}
"""Rows, and their `curl_parallel_limit`."""


def one_row(name: str, program: Program, args: argparse.Namespace) -> Row:
    """Start all that a row needs, measure it, and end it."""
    folder = Path(tempfile.mkdtemp(prefix="palaver-bench-"))
    settings: dict[str, object] = {"curl_parallel_limit": ROWS[name], "llm_agent.npc_talks": False}
    mods: dict[str, str | Path] = {"bench": FIGURES}
    try:
        with ExitStack() as stack:
            palaver = None
            if name != "bare":
                chain = "static" if name in ("static", "alone") else "local"
                palaver = stack.enter_context(served(folder, chain))
                settings["llm_agent.url"] = palaver.url
                mods["bench"] = FIGURES + BENCH + REGISTER.format(npcs=args.npcs)
            game = Game(program, folder, mods=mods, settings=settings, agent=name != "bare")
            stack.enter_context(game)
            stack.enter_context(Player(game, "listener", folder))
            row = measure(name, game, palaver, args)
            problems = game.problems()
            if problems:
                print(f"{name}: {len(problems)} lines of trouble:", *problems[:5], sep="\n  ")
            return row
    finally:
        shutil.rmtree(folder, ignore_errors=True)


COLUMNS = {
    "asked": "{0.asked}",
    "answered": "{0.answered}",
    "canned": "{1}",
    "lost": "{0.lost}",
    "step p50": "{0.step_p50:.1f}",
    "p99": "{0.step_p99:.1f}",
    "max ms": "{0.step_max:.1f}",
    "dtime p99": "{0.dtime_p99:.1f}",
    "its max ms": "{0.dtime_max:.1f}",
    "in the mod": "{0.mod_p50:.2f}",
    "its max": "{0.mod_max:.1f}",
    "first p50": "{0.first_p50:.0f}",
    "p99 ms": "{0.first_p99:.0f}",
    "canned p99": "{0.canned_p99:.0f}",
    "req/turn": "{0.requests:.1f}",
    "server CPU": "{0.server_cpu:.1f} %",
    "Palaver CPU": "{0.palaver_cpu:.1f} %",
    "kB/req": "{0.leak_kb:.2f}",
    "MB/h": "{0.growth_mb:.0f}",
    "of it Lua": "{0.lua_mb:.1f}",
    "back s": "{0.back_s:.1f}",
    "errors": "{0.lua_errors}",
}


def table(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [["row", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    for row in rows:
        canned = ", ".join(f"{why} {times}" for why, times in row.canned.items()) or "0"
        lines.append([row.name, *(form.format(row, canned) for form in COLUMNS.values())])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine(program: Program) -> str:
    """Describe this machine in a line."""
    load = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"Luanti {program.version}, load {load:.1f} before"
    )


def main() -> None:
    """Run all rows and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="how long each row is measured"
    )
    parser.add_argument("--npcs", type=int, default=50, help="how many NPCs")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="these rows")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    program = find_server()
    if isinstance(program, str):
        sys.exit(program)
    about, rows = machine(program), []
    for name in args.only:
        rows.append(one_row(name, program, args))
        if not args.json:
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    if args.json:
        print(json.dumps({"machine": about, "rows": [asdict(row) for row in rows]}))
    else:
        print(f"\n{about}; {args.npcs} NPCs, {args.seconds:.0f} s a row\n\n{table(rows)}")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as err:
        sys.exit(str(err))
