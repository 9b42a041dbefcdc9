"""What NPCs know and remember over the turns of a game, on a real gateway and server."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import Finish
from palaver.testing.fake_engine import FakeEngine
from palaver.testing.scripted import ScriptedBackend, scripted_type
from palaver.testing.server import RunningServer, running_server, write_world
from palaver.turn import context
from palaver.world import watch
from palaver.world.trust import TrustStore

WAIT_S = 20


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, memory is not left out."""
    monkeypatch.setattr(context, "RECALL_S", WAIT_S)


def prompt_of(palaver: RunningServer, call: int = -1) -> str:
    """Return the whole prompt of one call of the backend."""
    return "\n".join(message.content for message in palaver.backend.requests[call].messages)


async def prompt_for(palaver: RunningServer, engine: FakeEngine, npc: str, player: str) -> str:
    """Let a player say something that no other turn says, and return the prompt it makes."""
    number = len(palaver.backend.calls)
    await engine.say(npc, f"({number})", turn=f"probe {number}", player=player)
    return prompt_of(palaver)


def serving(world: Path) -> AbstractAsyncContextManager[RunningServer]:
    """Run a server with an instant backend `static` at the end of the chain."""
    static = ScriptedBackend("static", "An authored line.")
    return running_server(
        world,
        overrides={"tiers.elite.chain": ["local", "static"]},
        backend_types=[scripted_type([static], name="static", instant=True)],
    )


@pytest.fixture
async def palaver(palaver_world: Path) -> AsyncIterator[RunningServer]:
    """A running server."""
    async with serving(palaver_world) as running:
        yield running


# --- templates and reloading --------------------------------------------------------------------


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is true that nobody tells of."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)


async def test_a_template_that_fails_at_run_time(
    palaver_world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Authored lines need no prompt: static answers, and the log says where the fault is."""
    file = palaver_world / "personas" / "vampire.md"
    text = file.read_text(encoding="utf-8")
    broken = text.replace("{{ facts.hunger }}", "{{ 10 // (facts.hunger - 3) }}")
    line = next(n for n, one in enumerate(broken.splitlines(), 1) if "10 //" in one)
    file.write_text(broken, encoding="utf-8")
    async with serving(palaver_world) as palaver:
        engine = await palaver.ready()
        odd = {"type": "npc.upsert", "npc": "odd", "persona": "vampire", "facts": {"hunger": 3}}
        await engine.send(odd)
        done = await engine.say("odd", "Hello.", turn="t1", player="ada")
        assert (done["status"], done["text"]) == ("completed", "An authored line.")
        assert [one["backend"] for one in done["trail"]] == ["static"]
        assert palaver.backend.calls == []
        assert f"vampire.md:{line}" in caplog.text
        assert (await engine.say("vlad", "Hello.", turn="t2"))["text"] == "Good evening."


async def test_a_persona_that_is_saved_while_a_turn_runs(
    palaver_world: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The turn keeps its persona, the next one has the new, and a broken one changes nothing."""
    monkeypatch.setattr(watch, "LOOK_MS", 100)
    caplog.set_level(logging.INFO, "palaver")
    file = palaver_world / "personas" / "vampire.md"
    good = file.read_text(encoding="utf-8")
    go_on = asyncio.Event()
    backend = ScriptedBackend("local", ["Once ", go_on], "Good evening.")
    async with running_server(palaver_world, backend=backend) as palaver:
        engine = await palaver.ready()
        first = {"type": "turn.start", "turn": "t1", "npc": "vlad", "player": "ada", "text": "Hi."}
        await engine.send(first)
        await engine.until("turn.delta")
        changed = good.replace("The night is over.", "Dawn!").replace("Hunger:", "Thirst:")
        file.write_text(changed, encoding="utf-8")
        await until(lambda: palaver.gateway.world.personas["vampire"].front.last_words == "Dawn!")
        assert backend.requests[0].turn.persona.front.last_words == "The night is over."
        go_on.set()
        await engine.finish("t1")
        assert "Hunger: 0." in prompt_of(palaver, 0)
        await engine.say("vlad", "Hi.", turn="t2", player="ada")
        assert "Thirst: 0." in prompt_of(palaver, 1)

        lines = changed.splitlines()
        lines[-1] = lines[-1].replace("{{ facts.hunger }}", "{{ facts.hunger")
        file.write_text("\n".join(lines), encoding="utf-8")
        await until(lambda: bool(palaver.gateway.world.problems))
        await engine.say("vlad", "Hi.", turn="t3", player="ada")
        assert "Thirst: 0." in prompt_of(palaver, 2)
        (problem,) = palaver.gateway.world.problems
        assert f"vampire.md:{len(lines)}" in str(problem)
        assert f"{problem}; the last good version serves on" in caplog.text

        file.write_text(good, encoding="utf-8")
        await until(lambda: not palaver.gateway.world.problems)
        await engine.say("vlad", "Hi.", turn="t4", player="ada")
        assert "Hunger: 0." in prompt_of(palaver, 3)


# --- games, audiences, saves --------------------------------------------------------------------


async def test_two_games_share_nothing(palaver: RunningServer) -> None:
    """Facts and memories of one game are unknown in the other, though all names are the same."""
    one = await palaver.ready(game="one")
    two = await palaver.ready(game="two")
    await one.send({"type": "facts.update", "npc": "vlad", "set": {"hunger": 9}})
    await one.say("vlad", "I am the heir of Bran.", turn="t", player="ada")
    other = await prompt_for(palaver, two, "vlad", "ada")
    assert "Bran" not in other
    assert "Hunger: 0." in other
    own = await prompt_for(palaver, one, "vlad", "ada")
    assert "Bran" in own
    assert "Hunger: 9." in own


async def test_an_audience_remembers(palaver: RunningServer) -> None:
    """Who else heard an exchange knows what was said and by whom; who was not there does not."""
    engine = await palaver.ready()
    for npc in ("zed", "deaf"):
        await engine.send({"type": "npc.upsert", "npc": npc, "persona": "zombie"})
    await engine.send({"type": "player.upsert", "player": "ada", "name": "Ada"})
    palaver.backend.replies = ["In the crypt.", "Nnngh."]
    await engine.say("vlad", "Where is the key?", turn="t", player="ada", audience=["zed", "bob"])
    heard = await prompt_for(palaver, engine, "zed", "ada")
    assert "Ada: Where is the key?" in heard
    assert "Vlad: In the crypt." in heard
    assert {message.role for message in palaver.backend.requests[-1].messages} == {"system", "user"}
    assert "key" not in await prompt_for(palaver, engine, "deaf", "ada")
    assert "Ada: Where is the key?" in await prompt_for(palaver, engine, "vlad", "bob")
    assert "key" not in await prompt_for(palaver, engine, "vlad", "carl")


async def test_npcs_that_talk_to_each_other(palaver: RunningServer) -> None:
    """Each takes its own words for its own and the other's for the other's."""
    engine = await palaver.ready()
    await engine.send({"type": "npc.upsert", "npc": "zed", "persona": "zombie"})
    palaver.backend.replies = ["Never.", "Nnngh."]
    await engine.say("vlad", "Food?", turn="t1", speaker="zed")
    await engine.say("zed", "Go away.", turn="t2", speaker="vlad")
    roles = [(one.role, one.content) for one in palaver.backend.requests[-1].messages[1:]]
    (only,) = roles
    assert only[0] == "user"
    assert "(You said: Food?)\n\nVlad: Never." in only[1]
    assert only[1].endswith("Vlad: Go away.")


async def test_a_line_that_is_answered_is_read_once(palaver: RunningServer) -> None:
    """An NPC that answers what another one just said finds it at the end, and not before too."""
    engine = await palaver.ready()
    await engine.send({"type": "npc.upsert", "npc": "zed", "persona": "zombie"})
    palaver.backend.replies = ["Never, my friend.", "Nnngh."]
    await engine.say("vlad", "Food?", turn="t1", speaker="zed")
    await engine.say("zed", "Never, my  friend.", turn="t2", speaker="vlad")
    prompt = palaver.backend.requests[-1].messages[-1].content
    assert prompt.count("my friend") + prompt.count("my  friend") == 1
    assert "(You said: Food?)" in prompt
    assert prompt.endswith("Vlad: Never, my  friend.")


async def test_a_talk_is_read_line_by_line(palaver: RunningServer) -> None:
    """What each of two NPCs remembers of their talk holds few of its lines twice."""
    engine = await palaver.ready()
    await engine.send({"type": "npc.upsert", "npc": "zed", "persona": "zombie"})
    lines = ["Is that hunger?", "Nnngh, brains.", "How very common.", "Nnngh, blood.", "Better."]
    palaver.backend.replies = list(lines)
    said = "You there!"
    for number, line in enumerate(lines):
        npc, other = ("zed", "vlad") if number % 2 else ("vlad", "zed")
        await engine.say(npc, said, turn=f"t{number}", speaker=other)
        said = line
    prompt = "\n".join(one.content for one in palaver.backend.requests[-1].messages[1:])
    counts = [prompt.count(line) for line in lines[:4]]
    assert min(counts) == 1
    assert sum(counts) <= 5
    assert palaver.backend.requests[-1].messages[1].role == "user"


async def test_returning_to_a_save(palaver: RunningServer) -> None:
    """Back at the old save an NPC does not know what happened after it; the new one still does."""
    engine = await palaver.ready()
    await engine.say("vlad", "My name is Ada.", turn="t1", player="ada")
    await engine.send({"type": "save.mark", "save": "after"})
    await engine.say("vlad", "The king is dead.", turn="t2", player="ada")
    known = await prompt_for(palaver, engine, "vlad", "ada")
    assert "My name is Ada." in known
    assert "The king is dead." in known
    await engine.send({"type": "session.end"})
    await engine.closed()

    back = await palaver.ready(save="main")
    known = await prompt_for(palaver, back, "vlad", "ada")
    assert "My name is Ada." in known
    assert "The king is dead." not in known
    await back.say("vlad", "I bring flowers.", turn="t3", player="ada")
    await back.send({"type": "session.end"})
    await back.closed()

    again = await palaver.ready(save="after")
    known = await prompt_for(palaver, again, "vlad", "ada")
    assert "The king is dead." in known
    assert "flowers" not in known


async def test_a_save_during_a_line_takes_the_line_along(palaver: RunningServer) -> None:
    """What is being said while the game is saved belongs to the save, whenever it was heard."""
    engine = await palaver.ready()
    gate = asyncio.Event()
    palaver.backend.replies = [["The key ", gate, "is in the crypt."], "Nnngh."]
    start = {"type": "turn.start", "turn": "t1", "npc": "vlad", "player": "ada"}
    await engine.send({**start, "text": "Where is the key?"})
    await palaver.backend.called()
    await engine.send({"type": "save.mark", "save": "slot"})
    await engine.send({"type": "ping", "nonce": "marked"})
    await engine.until("pong")
    gate.set()
    await engine.until("turn.done")
    assert "in the crypt" in await prompt_for(palaver, engine, "vlad", "ada")


async def test_a_restart_goes_on_with_the_last_save(palaver_world: Path) -> None:
    """An engine that names no save gets the one that the game played last."""
    async with running_server(palaver_world) as palaver:
        engine = await palaver.ready()
        await engine.send({"type": "save.mark", "save": "slot"})
        await engine.say("vlad", "The king is dead.", turn="t1", player="ada")
    async with running_server(palaver_world) as palaver:
        engine = await palaver.ready()
        assert "The king is dead." in await prompt_for(palaver, engine, "vlad", "ada")


# --- what counts as heard -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capable", "messages", "remembered"),
    [
        (False, [], "Once upon a time."),
        (True, [], None),
        (True, [{"type": "turn.heard"}], "Once upon a time."),
        (True, [{"type": "turn.cancel", "heard": "Once upon"}], "Once upon"),
        (True, [{"type": "turn.cancel", "heard": ""}, {"type": "turn.heard"}], None),
        (True, [{"type": "turn.cancel"}], None),
        (True, [{"type": "turn.cancel"}, {"type": "turn.heard"}], "Once upon a time."),
        (False, [{"type": "turn.cancel", "heard": "Once"}], "Once upon a time."),
    ],
    ids=[
        "plain client",
        "heard nothing yet",
        "heard to the end",
        "too late, heard a part",
        "too late, heard nothing",
        "too late, unknown",
        "unknown, then to the end",
        "plain client, too late",
    ],
)
async def test_only_what_was_heard_is_remembered(
    capable: bool, messages: list[dict[str, Any]], remembered: str | None, palaver: RunningServer
) -> None:
    """A client with `heard` says what was heard of a whole reply; for others all of it was."""
    engine = await palaver.ready(capabilities=["heard"] if capable else [])
    palaver.backend.replies = ["Once upon a time.", "Hm."]
    await engine.say("vlad", "A story!", turn="t", player="ada")
    for message in messages:
        await engine.send({**message, "turn": "t"})
    await prompt_for(palaver, engine, "vlad", "ada")
    replies = [m.content for m in palaver.backend.requests[-1].messages if m.role == "assistant"]
    assert replies == ([] if remembered is None else [remembered])


@pytest.mark.parametrize("heard", ["Once", None], ids=["a part", "unknown"])
async def test_a_line_that_was_cut_short(heard: str | None, palaver: RunningServer) -> None:
    """Of a cancelled turn only that is remembered which the client says was heard."""
    engine = await palaver.ready(capabilities=[])
    palaver.backend.replies = [["Once upon", asyncio.Event()], ["Hm.", Finish()]]
    start = {"type": "turn.start", "turn": "t", "npc": "vlad", "player": "ada", "text": "Story!"}
    await engine.send(start)
    await engine.until("turn.delta")
    cancel = {"type": "turn.cancel", "turn": "t"}
    await engine.send(cancel if heard is None else {**cancel, "heard": heard})
    await engine.until("turn.done", status="cancelled")
    prompt = await prompt_for(palaver, engine, "vlad", "ada")
    replies = [m.content for m in palaver.backend.requests[-1].messages if m.role == "assistant"]
    assert replies == ([] if heard is None else [heard])
    assert ("Story!" in prompt) is (heard is not None)


# --- a sudden death -----------------------------------------------------------------------------

ECHO = '''\
"""A backend that answers with its whole prompt."""

from palaver import hookimpl
from palaver.testing.scripted import ScriptedBackend, scripted_type


def reply(request):
    return "\\n".join(message.content for message in request.messages)


@hookimpl
def palaver_register_backends(register):
    register(scripted_type([ScriptedBackend("local", reply)]))
'''


def exchanges_in(file: Path) -> int:
    """Return how many exchanges a memory file holds, as another process sees it."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as memory:
            return int(memory.execute("SELECT count(*) FROM exchanges").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.timeout(120)
async def test_a_killed_server_still_remembers(
    tmp_path: Path, cli_environ: dict[str, str], start: Callable[..., Any]
) -> None:
    """After `kill -9` and a new start the next prompt holds what was said before."""
    world = write_world(tmp_path / "world")
    (world / "plugins").mkdir()
    (world / "plugins" / "echo.py").write_text(ECHO, encoding="utf-8")
    TrustStore(Path(cli_environ["PALAVER_CONFIG_DIR"]) / "trusted.json").trust(world)

    async def talk(text: str, *, until_heard: str) -> tuple[Any, str]:
        process = start("serve", str(world), "--port", "0", "--json", terminal=False)
        shown = await asyncio.to_thread(process.read_until, '"ready"', "\n", timeout_s=60)
        ready = json.loads(next(line for line in shown.splitlines() if '"ready"' in line))
        async with await FakeEngine.connect(ready["url"]) as engine:
            await engine.start()
            await engine.send({"type": "npc.upsert", "npc": "vlad", "persona": "vampire"})
            for number in range(20):
                done = await engine.say("vlad", text, turn=f"t{number}", player="ada")
                # A turn does not wait for a memory that is slow to read; the next one has it.
                if until_heard in done["text"]:
                    break
        return process, str(done["text"])

    process, _ = await talk("I am the heir of Bran.", until_heard="Bran")
    memory = Path(cli_environ["PALAVER_DATA_DIR"]) / "memory.sqlite3"
    # It is written in the background, within hundredths of a second.
    await until(lambda: exchanges_in(memory) == 1)
    process.popen.kill()
    assert process.end() < 0
    _, prompt = await talk("Who am I?", until_heard="Bran")
    assert "ada: I am the heir of Bran." in prompt
    assert prompt.endswith("ada: Who am I?")
