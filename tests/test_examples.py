"""The examples run: each is started as its README says, and talked to."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

import palaver
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
LINES = ROOT / "prompts/src/palaver_prompts/worlds/body-broker/lines"
LIMIT_S = 100.0


def spoken(lines: Path, *intents: str) -> set[str]:
    """Return the texts of a CSV, or of some intents in it."""
    with lines.open(encoding="utf-8", newline="") as rows:
        return {
            row["text"]
            for row in csv.DictReader(rows)
            if not intents or (row["intent"] or "any") in intents
        }


@pytest.fixture
def moor(tmp_path: Path) -> Path:
    """A copy of the moon world."""
    ignored = shutil.ignore_patterns("data")
    return shutil.copytree(EXAMPLES / "moon_world", tmp_path / "moor", ignore=ignored)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a new user whose files are in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PALAVER_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    config = {
        "PALAVER_CONFIG_DIR": str(folder / "config"),
        "PALAVER_DATA_DIR": str(folder / "data"),
    }
    return kept | config | {"PATH": path, "NO_COLOR": "1", "PYTHONUTF8": "1"}


@contextmanager
def serving(world: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `palaver serve` on a free port; yields the process and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "palaver", "serve", world, "--port", "0", "--json"],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert ready["event"] == "ready"
            assert ready["problems"] == []
            yield process, ready["url"]
        finally:
            process.kill()


@asynccontextmanager
async def moor_server(moor: Path, *replies: object) -> AsyncIterator[RunningServer]:
    """Serve the moon world with the base templates, authored lines, and a scripted backend."""
    backend = ScriptedBackend("local", *replies)  # type: ignore[arg-type]  # scripts
    async with running_server(
        moor,
        backend=backend,
        overrides={"server.detect": False, "backends.local.type": "scripted"},
        environ={"PALAVER_PLUGINS": "prompts,static", "PALAVER_DATA_DIR": str(moor / "data")},
    ) as running:
        yield running


@pytest.mark.parametrize("page", ["plugin", "persona"])
def test_the_moon_world_is_what_the_tutorials_end_with(page: str) -> None:
    """Each piece of code of a tutorial stands in the example, in that order."""
    text = (ROOT / f"docs/tutorial/{page}.md").read_text(encoding="utf-8")
    pieces = re.findall(
        r"<!-- (file|append): (?:moor|fen)/(\S+) -->\n```\w+\n(.*?)```\n", text, re.DOTALL
    )
    built: dict[str, str] = {}
    for how, name, piece in pieces:
        built[name] = piece if how == "file" else built.get(name, "") + piece
    assert built
    for name, piece in built.items():
        if name != "plugins/sun.py":  # which is wrong on purpose
            assert piece in (EXAMPLES / "moon_world" / name).read_text(encoding="utf-8"), name


def test_the_moon_world_is_sound(moor: Path, tmp_path: Path) -> None:
    """`palaver check` finds nothing wrong with it."""
    for command in (["trust", str(moor), "--yes"], ["check", str(moor), "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "palaver", *command],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["problems"] == []


async def test_the_moon_decides_what_is_said(moor: Path) -> None:
    """On the fourteenth day the innkeeper greets with the moon, on others as always."""
    async with moor_server(moor) as server:
        engine = await server.ready("maren", "innkeeper")
        lines = moor / "lines" / "innkeeper.csv"
        done = await engine.say("maren", "Hello.", turn="t1", player="ada")
        assert done["text"] in spoken(lines, "greeting") - {"Bar the door, love."}
        await engine.send({"type": "facts.update", "set": {"day": 42}})
        done = await engine.say("maren", "Hello.", turn="t2", player="ada")
        assert done["text"] == "Bar the door, love. Nothing good walks under a moon that round."
        assert done["served_by"]["backend"] == "static", "small talk needs no model"
        assert server.backend.calls == []


async def test_the_moor_is_not_named(moor: Path) -> None:
    """The filter finds its word however a model cuts it into pieces, and lets the rest pass."""
    async with moor_server(
        moor, ["Stay off the mo", "or", ". The moor", "land ", "is wide"]
    ) as server:
        engine = await server.ready("maren", "innkeeper")
        await engine.send({"type": "facts.update", "set": {"day": 14}})
        done = await engine.say("maren", "Where is the bridge?", turn="t1", player="ada")
        assert done["text"] == "Stay off the you know where. The moorland is wide"
        prompt = server.backend.requests[0].messages[-1].content
        assert "The moon is full tonight." in prompt


async def test_nobody_is_sent_out(moor: Path) -> None:
    """An errand is refused under a full moon, with the last words, and only then."""
    async with moor_server(moor, "Find my brother's lantern.") as server:
        engine = await server.ready("maren", "innkeeper")
        done = await engine.say("maren", "Do you have a quest for me?", turn="t1", player="ada")
        assert done["text"] == "Find my brother's lantern."
        await engine.send({"type": "facts.update", "set": {"day": 14}})
        done = await engine.say("maren", "Do you have a quest for me?", turn="t2", player="ada")
        assert done["text"] == "One moment, love, the stew is boiling over."
        assert done["trail"][-1]["reason"] == "refused: no errands under a full moon"


async def written(file: Path, count: int) -> None:
    """Wait until a memory holds so many exchanges: what was just said is written within moments."""
    async with asyncio.timeout(LIMIT_S):
        with closing(sqlite3.connect(file)) as memory:
            query = "SELECT count(*) FROM exchanges"
            while memory.execute(query).fetchone() < (count,):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
async def test_what_was_said_survives_a_kill(moor: Path, tmp_path: Path) -> None:
    """A server that is killed knows afterwards what the watchman said: he does not repeat it."""
    said = []
    for _ in range(2):
        with serving(str(moor), tmp_path) as (process, url):
            async with palaver.connect(url) as client:
                await client.upsert_npc("tam", persona="watchman")
                turn = await client.say("tam", "Who lights the fire?", player="ada")
                said.append(await turn.text())
                await written(tmp_path / "data" / "memory.sqlite3", len(said))
                process.send_signal(signal.SIGKILL)
    assert said == ["Marsh gas. Mind the puddle.", "Mm. Cold night."]


def play(url: str, *typed: str) -> list[str]:
    """Play the text adventure, and return the lines it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "python_engine" / "engine.py"), url],
        input="".join(f"{line}\n" for line in typed),
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1"},
        text=True,
        encoding="utf-8",
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_text_adventure_is_played(tmp_path: Path) -> None:
    """Against a real server each place has somebody who answers, and night falls."""
    with serving("body-broker", tmp_path) as (_, url):
        shown = play(
            url, "Good evening.", "draw sword", "wait", "go tunnel", "Hello?", "bag", "quit"
        )
    assert shown[0].startswith("A ballroom by candlelight.")
    assert shown[1] in spoken(LINES / "vampire.csv", "greeting")
    assert shown[2] in spoken(LINES / "vampire.csv")
    assert shown[3:5] == ["Night falls.", "Water to the ankles. Something sways in the dark."]
    assert shown[5] in spoken(LINES / "zombie.csv")
    assert shown[6:] == ["You carry a sword."]


async def test_the_text_adventure_carries_out_actions(tmp_path: Path) -> None:
    """What a character gives lands in the player's bag; what is no action of the game does not."""
    world = shutil.copytree(LINES.parent, tmp_path / "broker")
    reply = ['<feel joy 0.5>For you: <do give {"item": "a ', 'key"}><do fly {}>keep it warm.']
    async with moor_server(world, reply) as server:
        shown = await asyncio.to_thread(play, server.url, "go market", "Who are you?", "bag")
    assert shown[1:] == [
        "Ice chests, a ledger, a man with a kind smile.",
        "(joy) For you: [you get a key] keep it warm.",
        "You carry a sword, a key.",
    ]


def test_the_text_adventure_says_what_to_do_without_a_server() -> None:
    """Where no server answers, it says so in one line, and what starts one."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "python_engine" / "engine.py"), "ws://127.0.0.1:9"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "palaver serve" in done.stderr
