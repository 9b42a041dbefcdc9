"""Sessions: resuming without gaps, repeats, the end of turns, and what counts as heard."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from palaver.chain.backend import Finish
from palaver.config.models import Limits
from palaver.memory import player_key
from palaver.testing.fake_engine import FakeEngine
from palaver.testing.scripted import Pause, ScriptedBackend
from palaver.testing.server import RunningServer, running_server


async def remembered(palaver: RunningServer, player: str = "ada") -> list[str]:
    """Return the replies that Vlad remembers with a player."""
    memory = palaver.gateway.memory
    await memory.flush()
    found = memory.recall("default", "main", "vlad", player_key(player), 100)
    exchanges = await found if isinstance(found, Awaitable) else found
    return [exchange.reply for exchange in exchanges]


@pytest.mark.parametrize("seed", range(4))
async def test_cuts_leave_no_gap(seed: int, palaver_world: Path) -> None:
    """However often a connection is cut, the replies of many turns arrive whole and in order."""
    dice = random.Random(seed)
    reply = [f"word{n} " if n % 5 else "Pause. " for n in range(60)]
    steps = [step for word in reply for step in (word, Pause(0.1))]
    backend = ScriptedBackend("local", [*steps, Finish()])
    async with running_server(palaver_world, backend=backend) as palaver:
        engine = await palaver.ready(capabilities=["sentence"])
        session = engine.session
        turns = [f"t{n}" for n in range(8)]
        for turn in turns:
            start = {"type": "turn.start", "turn": turn, "npc": "vlad", "player": turn}
            await engine.send({**start, "text": "Speak."})
        await engine.ping()
        cuts = 0
        done: set[str] = set()
        while len(done) < len(turns):
            for _ in range(dice.randrange(1, 120)):
                message = await engine.receive()
                if message["type"] == "turn.done":
                    done.add(message["turn"])
                if len(done) == len(turns):
                    break
            else:
                if dice.random() < 0.5:
                    engine.cut()
                other = await engine.another()
                assert (await other.resume(session, engine.last_seq))["type"] == "session.resumed"
                engine = other
                cuts += 1
        assert cuts
        for turn in turns:
            last = engine.turn_messages(turn, "turn.done")[0]
            assert engine.text(turn) == last["text"] == "".join(reply).rstrip()
            sentences = engine.turn_messages(turn, "turn.sentence")
            assert [one["index"] for one in sentences] == list(range(len(sentences)))
            for one in sentences:
                assert last["text"][one["start"] :].startswith(one["text"])


async def test_what_is_no_longer_kept_resets(palaver_world: Path) -> None:
    """A client that is too far behind gets a new session instead of a reply with a hole."""
    backend = ScriptedBackend("local", ["x" * 1_900] * 4)
    async with running_server(
        palaver_world,
        backend=backend,
        overrides={"limits.replay_bytes": 120_000, "tiers.elite.checks": []},
    ) as palaver:
        engine = await palaver.ready()
        session = engine.session
        for n in range(9):
            await engine.say("vlad", "More.", turn=f"t{n}")
        last = engine.last_seq
        engine.cut()
        behind = await engine.another()
        answer = await behind.resume(session, 1)
        assert answer["type"] == "session.reset"
        assert answer["session"] != session
        assert "last_seq" in answer["reason"]
        level = await engine.another()
        assert (await level.resume(session, last))["type"] == "session.resumed"


async def test_the_longest_reply_can_be_replayed(palaver_world: Path) -> None:
    """Also where as little is kept, and as little may wait, as the settings allow."""
    backend = ScriptedBackend("local", ["😀" * 1_900] * 4)
    least = {"limits.replay_bytes": 120_000, "limits.send_bytes": 120_000}
    async with running_server(palaver_world, backend=backend, overrides=least) as palaver:
        engine = await palaver.ready()
        done = await engine.say("vlad", "Smile.", turn="t")
        assert len(done["text"]) > 3_000
        engine.cut()
        again = await engine.another()
        answer = await again.resume(engine.session, engine.last_seq - 1)
        assert answer["type"] == "session.resumed"
        assert (await again.expect("turn.done"))["text"] == done["text"]
    for key in ("replay_bytes", "send_bytes"):
        with pytest.raises(ValueError, match="120000"):
            Limits.model_validate({key: 119_999})


async def test_a_replay_is_no_overflow(palaver_world: Path) -> None:
    """A client that missed more than may wait for one that does not read gets all of it."""
    backend = ScriptedBackend("local", ["x" * 1_900] * 4)
    settings = {"limits.replay_bytes": 400_000, "limits.send_bytes": 120_000}
    async with running_server(palaver_world, backend=backend, overrides=settings) as palaver:
        engine = await palaver.ready()
        for n in range(12):
            await engine.say("vlad", "More.", turn=f"t{n}")
        engine.cut()
        again = await engine.another()
        assert (await again.resume(engine.session, 0))["type"] == "session.resumed"
        while again.last_seq < engine.last_seq:
            await again.receive()


async def test_longest_replies_fit_their_frames(palaver_world: Path) -> None:
    """A reply ends at 8,000 code points or where its JSON would not fit, whatever it is made of."""
    backend = ScriptedBackend("local", ["a" * 9_000], ["\U0001f600" * 9_000], ['\x7f"\\' * 9_000])
    async with running_server(palaver_world, backend=backend) as palaver:
        engine = await palaver.ready(capabilities=["sentence"])
        plain = await engine.say("vlad", "Go on.", turn="t1")
        assert len(plain["text"]) == 8_000
        for turn in ("t2", "t3"):
            done = await engine.say("vlad", "Go on.", turn=turn)
            assert 0 < len(done["text"]) <= 8_000
            assert engine.text(turn) == done["text"]


@pytest.fixture
async def waiting(palaver_world: Path) -> AsyncIterator[tuple[RunningServer, FakeEngine]]:
    """A server on which Vlad has begun to speak to Ada and does not go on."""
    backend = ScriptedBackend("local", ["Once upon a time", asyncio.Event()])
    settings = {"limits.resume_ms": 0}
    async with running_server(palaver_world, backend=backend, overrides=settings) as palaver:
        engine = await palaver.ready()
        start = {"type": "turn.start", "turn": "t", "npc": "vlad", "player": "ada"}
        await engine.send({**start, "text": "A story!"})
        await engine.until("turn.delta")
        yield palaver, engine


async def test_cancel_reaches_the_backend(waiting: tuple[RunningServer, FakeEngine]) -> None:
    """turn.cancel closes the backend's stream; only what was heard is remembered."""
    palaver, engine = waiting
    await engine.send({"type": "turn.cancel", "turn": "t", "heard": "Once upon"})
    done = await engine.until("turn.done")
    assert (done["status"], done["text"]) == ("cancelled", "Once upon a time")
    assert palaver.backend.calls[0].closed_early
    assert await remembered(palaver) == ["Once upon"]


async def test_cancel_without_heard(waiting: tuple[RunningServer, FakeEngine]) -> None:
    """Of a cancelled reply nothing is remembered, unless the client says what was heard."""
    palaver, engine = waiting
    await engine.send({"type": "turn.cancel", "turn": "t"})
    await engine.until("turn.done", status="cancelled")
    assert await remembered(palaver) == []


async def test_cancel_before_the_first_step(palaver_world: Path) -> None:
    """A turn that is cancelled in the same breath ends too, and makes room for others."""
    async with running_server(palaver_world, overrides={"limits.turns": 1}) as palaver:
        engine = await palaver.ready()
        for turn in ("t1", "t2"):
            await engine.send({"type": "turn.start", "turn": turn, "npc": "vlad", "text": "Hello."})
            await engine.send({"type": "turn.cancel", "turn": turn})
            await engine.until("turn.done", turn=turn, status="cancelled")


async def test_heard_comes_late(waiting: tuple[RunningServer, FakeEngine]) -> None:
    """What the client says it heard is never more than what was sent."""
    palaver, engine = waiting
    heard = "Once upon a time there was a king who never was"
    await engine.send({"type": "turn.cancel", "turn": "t", "heard": heard})
    await engine.until("turn.done")
    assert await remembered(palaver) == ["Once upon a time"]


async def test_the_end_of_the_session_ends_its_turns(
    waiting: tuple[RunningServer, FakeEngine],
) -> None:
    """session.end cancels what runs, down to the backend."""
    palaver, engine = waiting
    await engine.send({"type": "session.end"})
    assert (await engine.closed())[0] == 1000
    assert palaver.backend.calls[0].closed_early
    assert len(palaver.server.hub) == 0


async def test_the_end_of_the_window_ends_turns(
    waiting: tuple[RunningServer, FakeEngine],
) -> None:
    """A session that nobody resumes in time is over, and so are its turns."""
    palaver, engine = waiting
    engine.cut()
    async with asyncio.timeout(20):
        await palaver.backend.calls[0].ended.wait()
    assert palaver.backend.calls[0].closed_early


@pytest.mark.parametrize("capable", [False, True], ids=["plain", "heard"])
async def test_what_counts_as_heard(capable: bool, palaver_server: RunningServer) -> None:
    """A completed reply counts as heard, unless the client promised to say so itself."""
    engine = await palaver_server.ready(capabilities=["heard"] if capable else [])
    await engine.say("vlad", "Hello", turn="t", player="ada")
    if capable:
        assert await remembered(palaver_server) == []
        await engine.send({"type": "turn.heard", "turn": "t"})
        await engine.ping()
    assert await remembered(palaver_server) == ["Good evening."]


async def test_heard_once_is_heard(palaver_server: RunningServer) -> None:
    """Reports that are repeated or come too late change nothing."""
    engine = await palaver_server.ready(capabilities=["heard"])
    await engine.say("vlad", "Hello", turn="t", player="ada")
    for message in (
        {"type": "turn.cancel", "turn": "t", "heard": "Good"},
        {"type": "turn.heard", "turn": "t"},
        {"type": "turn.cancel", "turn": "t", "heard": ""},
    ):
        await engine.send(message)
    await engine.ping()
    assert await remembered(palaver_server) == ["Good"]


async def test_a_fault_touches_no_other_turn(palaver_world: Path) -> None:
    """A backend with a bug costs its own turn its words, in character; all others go on."""
    gate = asyncio.Event()
    backend = ScriptedBackend(
        "local", ["Still ", gate, "here."], [RuntimeError("a bug")], ["Fine."]
    )
    async with running_server(palaver_world, backend=backend) as palaver:
        engine = await palaver.ready()
        start = {"type": "turn.start", "npc": "vlad", "text": "?"}
        await engine.send({**start, "turn": "a", "player": "ada"})
        await engine.until("turn.delta")
        broken = await engine.say("vlad", "?", turn="b", player="bob")
        assert broken["text"] == "The night is over."
        assert broken["served_by"]["backend"] == "last_words"
        gate.set()
        assert (await engine.finish("a"))["text"] == "Still here."


async def test_a_session_that_is_cut_off_makes_room(palaver_world: Path) -> None:
    """Where all sessions are taken, one without a connection gives way to a new client."""
    async with running_server(palaver_world, overrides={"limits.sessions": 2}) as palaver:
        first, second = await palaver.ready(), await palaver.ready()
        third = await palaver.engine()
        await third.send({"type": "session.start", "protocol": 1, "client": {"name": "x"}})
        await third.expect("error", code="overloaded", retryable=True)
        first.cut()
        await second.ping()
        for _ in range(1_000):
            fourth = await palaver.engine()
            hello = {"type": "session.start", "protocol": 1, "client": {"name": "x"}}
            await fourth.send(hello)
            if (await fourth.receive())["type"] == "session.ready":
                break
        assert len(palaver.server.hub) == 2


async def test_sessions_end_without_a_trace(palaver_server: RunningServer) -> None:
    """Sessions that come and go leave nothing behind in the hub."""
    for _ in range(30):
        engine = await palaver_server.ready()
        await engine.say("vlad", "Hello", turn="t")
        await engine.send({"type": "session.end"})
        await engine.closed()
    assert len(palaver_server.server.hub) == 0
    assert not palaver_server.server.hub._expiries
    assert not palaver_server.server.hub._ending


async def test_two_engines_share_a_game(palaver_server: RunningServer) -> None:
    """Sessions of one game see the same NPCs; those of another game do not."""
    await palaver_server.ready(game="shard 1")
    same, other = await palaver_server.engine(), await palaver_server.engine()
    await same.start(game="shard 1")
    await other.start(game="shard 2")
    assert (await same.say("vlad", "Hello", turn="t"))["text"] == "Good evening."
    await other.send({"type": "turn.start", "turn": "t", "npc": "vlad", "text": "Hello"})
    await other.expect("error", code="unknown_npc", turn="t")
