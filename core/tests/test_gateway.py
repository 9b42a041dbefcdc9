"""The gateway: asking it, its limits, what fails on the way, and how it closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from palaver import background, hookcalls, lifecycle
from palaver.chain.backend import Finish
from palaver.errors import BackendUnavailable, ConfigError, ProtocolError
from palaver.gateway import Gateway, Parts
from palaver.hookspecs import hookimpl
from palaver.memory import Exchange
from palaver.session_info import SessionInfo
from palaver.startup import prepare
from palaver.testing.scripted import ScriptedBackend, scripted_type
from palaver.testing.server import running_server
from palaver.turn import context
from palaver.turn.model import Turn
from palaver.world.trust import TrustStore

WAIT_S = 20
Make = Callable[..., Awaitable[Parts]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, memory is not left out."""
    monkeypatch.setattr(context, "RECALL_S", WAIT_S)


@pytest.fixture
def make_parts(palaver_world: Path, tmp_path: Path) -> Make:
    """Makes the parts of a gateway with these plugins and settings."""

    async def make(
        backend: ScriptedBackend | None = None,
        *plugins: object,
        overrides: dict[str, Any] | None = None,
    ) -> Parts:
        trust = TrustStore(tmp_path / "trusted.json")
        trust.trust(palaver_world)
        parts = await prepare(
            palaver_world,
            overrides=overrides,
            environ={"PALAVER_PLUGINS": ""},
            backend_types=[scripted_type([backend or ScriptedBackend("local", "Good evening.")])],
            trust=trust,
        )
        for number, plugin in enumerate(plugins):
            parts.plugins.manager.register(plugin, f"plugin{number}")
        return parts

    return make


def hooks(**functions: Callable[..., Any]) -> SimpleNamespace:
    """Return a plugin of these hooks, named without `palaver_`."""
    return SimpleNamespace(
        **{f"palaver_{name}": hookimpl(function) for name, function in functions.items()}
    )


class Sink:
    """Keeps the messages of a turn."""

    capabilities = frozenset({"sentence"})

    def __init__(self) -> None:
        self.frames: list[str] = []

    def emit(self, head: str, tail: str) -> None:
        """Keep one."""
        self.frames.append(f"{head}0{tail}")

    end = emit


# --- asking -------------------------------------------------------------------------------------


async def test_ask(make_parts: Make) -> None:
    """A persona answers as an NPC of its name, with the facts it was given, and remembers."""
    backend = ScriptedBackend("local", "Good evening.")
    async with Gateway(await make_parts(backend)) as palaver:
        result = await palaver.ask("Hello!", persona="vampire", player="ada", facts={"hunger": 7})
        assert (result.status, result.text) == ("completed", "Good evening.")
        assert result.served_by.backend == "local"
        turn = backend.requests[0].turn
        assert (turn.npc.id, turn.game, turn.intent) == ("vampire", "default", "greeting")
        assert "Hunger: 7." in backend.requests[0].messages[-1].content
        await palaver.ask("And now?", npc="vampire", player="ada")
        said = [message.content for message in backend.requests[1].messages]
        assert said[1:3] == ["ada: Hello!", "Good evening."]
        assert "Hunger: 7." in said[3], "facts stay"


async def test_ask_with_everything(make_parts: Make) -> None:
    """A cue, a tier, a game, a sink, and whatever else turn.start has."""
    backend, sink, accepted = ScriptedBackend("local", "Ah. Thunder."), Sink(), list[Turn]()
    async with Gateway(await make_parts(backend)) as palaver:
        await palaver.ask(
            cue="It thunders.",
            npc="vlad",
            persona="vampire",
            game="shard",
            tier="boss",
            sink=sink,
            on_turn=accepted.append,
            turn="mine",
            lang="de",
            seed=5,
            priority="ambient",
        )
        (turn,) = accepted
        assert (turn.id, turn.game, turn.tier_name, turn.lang) == ("mine", "shard", "boss", "de")
        assert backend.requests[0].messages[-1].content.endswith("(It thunders.)")
        assert (backend.requests[0].seed, backend.requests[0].priority) == (5, 2)
        kinds = [frame.split('"')[3] for frame in sink.frames]
        assert kinds == ["turn.delta", "turn.sentence", "turn.sentence", "turn.done"]


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ({"text": "Hi."}, "bad_message", "give `npc`, or a `persona`"),
        ({"text": "Hi.", "npc": "vlad"}, "unknown_npc", "'vlad'"),
        ({"text": "Hi.", "persona": "vampir"}, "unknown_persona", "did you mean `vampire`?"),
        ({"text": "Hi.", "persona": "vampire", "tier": "mythic"}, "bad_message", "boss, elite"),
        ({"persona": "vampire"}, "bad_message", "`text`"),
        ({"text": "x" * 60_000, "persona": "vampire"}, "bad_message", "text"),
        ({"text": "Hi.", "persona": "vampire", "priority": "high"}, "bad_message", "priority"),
        ({"text": "Hi.", "persona": "vampire", "facts": {"a": "x" * 5_000}}, "too_large", "'a'"),
    ],
    ids=["nobody", "npc", "persona", "tier", "nothing said", "too long", "priority", "facts"],
)
async def test_what_cannot_be_asked(
    asked: dict[str, Any], code: str, words: str, make_parts: Make
) -> None:
    """It is refused with a code of the protocol and what to do."""
    async with Gateway(await make_parts()) as palaver:
        with pytest.raises(ProtocolError) as caught:
            await palaver.ask(**asked)
        assert caught.value.code == code
        assert words in caught.value.message


async def test_who_stops_asking(make_parts: Make) -> None:
    """Cancelling goes down to the backend; what nobody heard is not remembered."""
    backend = ScriptedBackend("local", ["Once ", asyncio.Event()], "Hm.")
    sink = Sink()
    async with Gateway(await make_parts(backend)) as palaver:
        asking = asyncio.create_task(palaver.ask("A story!", persona="vampire", sink=sink))
        await backend.called()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert backend.calls[0].closed_early
        assert '"status":"cancelled"' in sink.frames[-1]
        await palaver.ask("Hello.", persona="vampire")
        assert len(backend.requests[1].messages) == 2, "system and utterance"


# --- limits -------------------------------------------------------------------------------------


async def test_games_are_bounded(make_parts: Make) -> None:
    """One too many takes the place of the one that was idle the longest, never of a busy one."""
    parts = await make_parts(overrides={"limits.games": 2})
    async with Gateway(parts) as palaver:
        for game in ("one", "two", "one", "three"):
            await palaver.ask("Hi.", persona="vampire", game=game)
        assert list(palaver.games) == ["one", "three"]
        for game in palaver.games.values():
            game.sessions += 1
        with pytest.raises(ProtocolError, match=r"limits\.games"):
            await palaver.ask("Hi.", persona="vampire", game="four")
        await palaver.ask("Hi.", persona="vampire", game="one")


async def test_a_question_to_nobody_opens_no_game(make_parts: Make) -> None:
    """A turn that cannot be leaves nothing behind."""
    async with Gateway(await make_parts()) as palaver:
        with pytest.raises(ProtocolError, match="no NPC"):
            await palaver.ask("Hi.", npc="vlad", game="new")
        with pytest.raises(ProtocolError, match="no persona"):
            await palaver.ask("Hi.", persona="vampyre", game="new")
        assert palaver.games == {}


async def test_turns_that_wait_are_bounded(make_parts: Make) -> None:
    """Those of one NPC with one player come one after another, and only a few may wait."""
    gate = asyncio.Event()
    backend = ScriptedBackend("local", [gate, "Hm."])
    async with Gateway(await make_parts(backend, overrides={"limits.queue": 2})) as palaver:
        begun: list[str] = []

        async def ask(turn: str, player: str = "ada") -> str:
            fields = {"persona": "vampire", "player": player, "turn": turn}
            result = await palaver.ask(turn, **fields, on_turn=lambda turn: begun.append(turn.id))
            return result.text

        tasks = [asyncio.create_task(ask(turn)) for turn in ("a", "b", "c")]
        await backend.called()
        with pytest.raises(ProtocolError) as caught:
            await ask("d")
        assert (caught.value.code, caught.value.retryable) == ("overloaded", True)
        tasks.append(asyncio.create_task(ask("e", player="bob")))
        await backend.called(2)
        assert begun == ["a", "b", "c", "e"]
        gate.set()
        assert await asyncio.gather(*tasks) == ["Hm."] * 4
        spoken = [call.request.turn.id for call in backend.calls]
        assert [turn for turn in spoken if turn != "e"] == ["a", "b", "c"]


# --- backends and bridges -----------------------------------------------------------------------


class BadStart(ScriptedBackend):
    """A backend that cannot start, or never does, and cannot close either."""

    def __init__(self, *, hangs: bool) -> None:
        super().__init__("local", "I work all the same.")
        self.hangs = hangs

    async def start(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        raise BackendUnavailable("local", "nobody is there")

    async def close(self) -> None:
        await self.start()


@pytest.mark.parametrize("hangs", [False, True], ids=["fails", "hangs"])
async def test_a_backend_that_does_not_start(
    hangs: bool, make_parts: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in the log and asked all the same; what it holds up at the end is closed."""
    monkeypatch.setattr(lifecycle, "START_S", 0.05)
    parts = await make_parts(BadStart(hangs=hangs))
    memory = Remembering()
    async with Gateway(replace(parts, memory=memory)) as palaver:
        assert "backend local" in caplog.text
        caplog.clear()
        assert (await palaver.ask("Hi.", persona="vampire")).text == "I work all the same."
    assert "local could not be closed" in caplog.text
    assert memory.closed == 1


class Remembering:
    """A memory that fails as it is told to."""

    def __init__(self, *, start: Exception | None = None, fails: bool = False) -> None:
        self.error, self.fails = start, fails
        self.slow = False
        self.closed = 0

    async def start(self) -> None:
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.closed += 1

    def recall(self, *_: Any) -> Sequence[Exchange] | Awaitable[Sequence[Exchange]]:
        if self.fails:
            raise OSError("the disk is gone")
        if self.slow:
            return asyncio.get_running_loop().create_future()
        return ()

    def remember(self, *_: Any) -> None:
        if self.fails:
            raise OSError("the disk is gone")

    def last_save(self, _game: str) -> str | None:
        return None

    def play(self, *_: Any) -> None:
        return None

    async def mark(self, *_: Any) -> None:
        if self.fails:
            raise OSError("the disk is gone")

    async def flush(self) -> None:
        pass


async def test_a_memory_that_does_not_open(make_parts: Make) -> None:
    """Then the gateway does not open either, and no backend was started."""
    backend = ScriptedBackend("local", "Hm.")
    parts = await make_parts(backend)
    memory = Remembering(start=ConfigError("memory.path cannot be written"))
    palaver = Gateway(replace(parts, memory=memory))
    with pytest.raises(ConfigError, match="cannot be written"):
        await palaver.__aenter__()
    assert not backend.started
    await palaver.__aexit__(None, None, None)


@pytest.mark.parametrize("how", ["fails", "slow"])
async def test_a_memory_that_fails(
    how: str, make_parts: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An NPC that forgets is better than one that is silent."""
    monkeypatch.setattr(context, "RECALL_S", 0.05)
    memory, over = Remembering(fails=how == "fails"), list[Turn]()
    memory.slow = how == "slow"
    parts = await make_parts(None, hooks(turn_finished=lambda turn: over.append(turn)))
    async with Gateway(replace(parts, memory=memory)) as palaver:
        result = await palaver.ask("Hi.", persona="vampire", player="ada")
        assert (result.status, result.text) == ("completed", "Good evening.")
    words = "memory failed" if how == "fails" else "memory took longer than 50 ms"
    assert over[0].trace == [words]
    assert words in caplog.text
    assert ("is not remembered" in caplog.text) is (how == "fails")


PLUGIN = '''\
"""A plugin with every register hook."""

from pathlib import Path

from aiohttp import web

from palaver import BackendType, hookimpl
from palaver.testing.scripted import ScriptedBackend, scripted_type

STATE = []


class Echo:
    name = "echo"

    def routes(self, gateway):
        async def ask(request):
            result = await gateway.ask(request.query["say"], persona="vampire")
            return web.Response(text=result.text)

        return [web.get("/echo", ask)]

    async def start(self, gateway):
        STATE.append("start")

    async def close(self):
        STATE.append("close")
        raise OSError("a bug")


class Broken(Echo):
    name = "broken"

    def routes(self, gateway):
        raise ValueError("a bug")

    async def start(self, gateway):
        raise ValueError("another bug")

    async def close(self):
        STATE.append("close what could not start")


@hookimpl
def palaver_register_backends(register):
    register(scripted_type([ScriptedBackend("other", "I am another.")], name="other"))


@hookimpl
def palaver_register_bridges(register):
    register(Broken())
    register(Echo())


@hookimpl
def palaver_register_world(register):
    register.templates(Path(__file__).parent / "templates")
'''


async def test_what_a_plugin_registers(
    palaver_world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its backend speaks, its bridge answers on the one port, its templates stand in for ours."""
    plugins = palaver_world / "plugins"
    (plugins / "templates").mkdir(parents=True)
    (plugins / "whole.py").write_text(PLUGIN, encoding="utf-8")
    own = palaver_world / "templates" / "npc.j2"
    (plugins / "templates" / "npc.j2").write_text("{% block identity %}Mine.{% endblock %}")
    (plugins / "templates" / "beast.j2").write_text("{% block identity %}A beast.{% endblock %}")
    zombie = palaver_world / "personas" / "zombie.md"
    zombie.write_text(zombie.read_text().replace("npc.j2", "beast.j2"))
    settings = palaver_world / "palaver.toml"
    text = settings.read_text().replace('chain = ["local"]', 'chain = ["other"]', 1)
    settings.write_text(text + '\n[backends.other]\ntype = "other"\n')
    assert own.is_file()
    async with running_server(palaver_world) as palaver, aiohttp.ClientSession() as http:
        async with http.get(f"{palaver.http_url}/echo", params={"say": "Hi."}) as answer:
            assert await answer.text() == "I am another."
        engine = await palaver.ready()
        await engine.send({"type": "npc.upsert", "npc": "zed", "persona": "zombie"})
        await engine.say("vlad", "Hi.", turn="t1")
        await engine.say("zed", "Hi.", turn="t2")
        other: Any = palaver.gateway.backends["other"].backend
        systems = [request.messages[0].content for request in other.requests[-2:]]
        assert systems == ["You are Vlad.", "A beast."], "the world's own template comes first"
        state = next(
            plugin.STATE
            for plugin in palaver.gateway.plugins.manager.get_plugins()
            if hasattr(plugin, "STATE")
        )
        assert state == ["start"]
    ends = ["close", "close what could not start"]
    assert state == ["start", *ends, *ends], "by the server, before it waits for requests, too"
    assert "bridge broken" in caplog.text
    assert "echo could not be closed" in caplog.text


# --- sessions -----------------------------------------------------------------------------------


async def test_sessions_are_told_of(palaver_world: Path) -> None:
    """Once when an engine joins, once when its window is over, and not when it resumes."""
    told: asyncio.Queue[tuple[str, SessionInfo]] = asyncio.Queue()

    async def opened(session: SessionInfo) -> None:
        await asyncio.sleep(0)
        told.put_nowait(("opened", session))

    def fail(session: SessionInfo) -> None:
        raise RuntimeError("a bug")

    async def stuck(session: SessionInfo) -> None:
        await asyncio.Event().wait()

    plugins = {
        "failing": hooks(session_opened=fail, session_closed=fail),
        "stuck": hooks(session_opened=stuck),
        "telling": hooks(
            session_opened=opened,
            session_closed=lambda session: told.put_nowait(("closed", session)),
        ),
    }

    async def next_one() -> tuple[str, SessionInfo]:
        async with asyncio.timeout(WAIT_S):
            return await told.get()

    async with running_server(palaver_world, plugins=plugins) as palaver:
        engine = await palaver.ready(
            client={"name": "Crypt", "version": "2", "engine": "Godot 4"}, game="g", save="s"
        )
        what, info = await next_one()
        assert (what, info.id, info.game, info.save) == ("opened", engine.session, "g", "s")
        assert (info.client_name, info.client_version, info.engine) == ("Crypt", "2", "Godot 4")
        assert (info.role, info.player) == ("engine", None)
        engine.cut()
        again = await engine.another()
        assert (await again.resume(engine.session, engine.last_seq))["type"] == "session.resumed"
        await again.ping()
        assert told.empty()
        await again.send({"type": "session.end"})
        assert await next_one() == ("closed", info)
        other = await palaver.ready()
        assert (await next_one())[1].id == other.session
    what, info = await next_one()
    assert (what, info.id) == ("closed", other.session), "the server's end is the session's"
    assert told.empty()


async def test_a_window_that_is_over(palaver_world: Path) -> None:
    """A session whose engine does not come back is closed once."""
    told: asyncio.Queue[str] = asyncio.Queue()
    plugin = hooks(session_closed=lambda session: told.put_nowait(session.id))
    async with running_server(
        palaver_world, plugins={"telling": plugin}, overrides={"limits.resume_ms": 0}
    ) as palaver:
        engine = await palaver.ready()
        engine.cut()
        async with asyncio.timeout(WAIT_S):
            assert await told.get() == engine.session
    assert told.empty()


# --- what plugins do afterwards -----------------------------------------------------------------


async def test_what_plugins_do_afterwards_is_bounded(
    make_parts: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where too many are at work, the oldest gives way, and only that one."""
    monkeypatch.setattr(background, "MAX_TASKS", 3)
    monkeypatch.setattr(background, "GRACE_S", 0.05)
    begun, ended = asyncio.Queue[str](), asyncio.Queue[str]()

    async def slow(turn: Turn) -> None:
        begun.put_nowait(turn.id)
        try:
            await asyncio.Event().wait()
        finally:
            ended.put_nowait(turn.id)

    async with Gateway(await make_parts(None, hooks(turn_finished=slow))) as palaver:
        for turn in ("a", "b", "c", "d"):
            await palaver.ask("Hi.", persona="vampire", turn=turn)
            assert await asyncio.wait_for(begun.get(), WAIT_S) == turn
        assert await asyncio.wait_for(ended.get(), WAIT_S) == "a"
        assert ended.empty()
        assert "plugins fall behind" in caplog.text
    assert sorted(ended.get_nowait() for _ in range(3)) == ["b", "c", "d"]


async def test_what_takes_too_long_afterwards(
    make_parts: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has a limit, and is named."""
    monkeypatch.setattr(background, "LIMIT_S", 0.05)
    ended = asyncio.Event()

    async def slow(turn: Turn) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Gateway(await make_parts(None, hooks(turn_finished=slow))) as palaver:
        await palaver.ask("Hi.", persona="vampire")
        await asyncio.wait_for(ended.wait(), WAIT_S)
        await asyncio.sleep(0)
    assert "plugin plugin0 took longer than" in caplog.text
    assert "palaver_turn_finished" in caplog.text


# --- the end ------------------------------------------------------------------------------------


async def test_closing_twice(make_parts: Make) -> None:
    """The second time nothing happens, and a gateway that was never open can be closed."""
    backend, memory = ScriptedBackend("local", "Hm."), Remembering()
    palaver = Gateway(replace(await make_parts(backend), memory=memory))
    await palaver.__aexit__(None, None, None)
    before = asyncio.all_tasks()
    async with palaver:
        await palaver.ask("Hi.", persona="vampire")
        assert not backend.closed
    assert (backend.closed, memory.closed) == (True, 1)
    await palaver.__aexit__(None, None, None)
    assert memory.closed == 1
    assert asyncio.all_tasks() == before, "nothing runs on"


async def test_plugins_come_to_their_end(
    make_parts: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What plugins have begun when Palaver stops is finished, if it does not take long."""
    caplog.set_level(logging.WARNING, "palaver")
    # A machine that stands still for a moment makes no plugin slow, nor Palaver impatient.
    monkeypatch.setattr(hookcalls, "SLOW_S", WAIT_S)
    monkeypatch.setattr(background, "GRACE_S", WAIT_S)
    written: list[str] = []

    async def write(turn: Turn) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        written.append(turn.id)

    async with Gateway(await make_parts(None, hooks(turn_finished=write))) as palaver:
        await palaver.ask("Hi.", persona="vampire", turn="t")
    assert written == ["t"]
    assert caplog.text == ""


async def test_a_hundred_identical_turns_at_once_ask_once(palaver_world: Path) -> None:
    """The bell of a hundred shards rings at once: their gatekeepers' words are one request."""
    ring = asyncio.Event()
    backend = ScriptedBackend("local", [ring, "Midnight, ", "and all is well.", Finish()])
    async with running_server(palaver_world, backend=backend) as palaver:
        turns = [
            asyncio.ensure_future(
                palaver.gateway.ask(
                    npc="guard", persona="vampire", cue="The bell rings.", game=f"shard{number}"
                )
            )
            for number in range(100)
        ]
        async with asyncio.timeout(60):
            while palaver.gateway.flights.listeners < 100:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
            ring.set()
            results = await asyncio.gather(*turns)
        assert {one.text for one in results} == {"Midnight, and all is well."}
        assert len(backend.calls) == 1
        shared = [one for one in results if (one.trail[0].reason or "").startswith("shared")]
        assert len(shared) == 99
