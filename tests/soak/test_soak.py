"""A server that runs for long stays as it was: every turn ends once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from palaver.chain.backend import Finish, GenerateRequest
from palaver.errors import BackendUnavailable, StreamBroken
from palaver.hookspecs import hookimpl
from palaver.server.session import Session
from palaver.testing.fake_engine import FakeEngine
from palaver.testing.scripted import Pause, ScriptedBackend, scripted_type
from palaver.testing.server import RunningServer, running_server, write_world
from palaver.turn.model import Turn

ENGINES = 10
"""Engines at once."""
GROWTH_MIB = 40
"""How much more memory may be taken at the end than after a quarter of the time."""
FLOOD = "Tell me everything."
STATUSES = {"completed", "cancelled", "rescued", "truncated"}


def resident_mib() -> float:
    """Memory of this process that is really there, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def sockets() -> int:
    """Sockets that this process has open."""
    count = 0
    for entry in os.scandir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            count += os.readlink(entry.path).startswith("socket:")
    return count


def alive(kind: type) -> int:
    """Objects of a kind that are still there."""
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


LONG = [f"{'long ' * 20}{'🙂' * 400}" for _ in range(10)]
"""Longer than any reply may be, and twelve bytes to nearly every character of it."""


def reply(rng: random.Random, request: GenerateRequest) -> Any:
    """What a backend says: mostly something sensible."""
    if FLOOD in request.turn.text:
        return LONG
    pieces: list[Any] = []
    for number in range(rng.randrange(1, 30)):
        pieces.append("Sit. " if number % 6 == 5 else f"word{number} ")
        if rng.random() < 0.5:
            pieces.append(Pause(0.1))
    kind = rng.random()
    if kind < 0.75:
        return [*pieces, Finish()]
    if kind < 0.80:
        return [BackendUnavailable("local", "is down")]
    if kind < 0.85:
        return [*pieces, StreamBroken("local", "was cut")]
    if kind < 0.88:
        return [*pieces, ValueError("a bug, on purpose")]
    if kind < 0.91:
        return []
    if kind < 0.94:
        return [*pieces, asyncio.Event()]  # says nothing more, and stalls
    if kind < 0.97:
        return LONG
    return [*pieces, Finish(reason="length")]


class Ledger:
    """Counts on the server's side how often each turn was finished; a plugin."""

    def __init__(self) -> None:
        self.finished: Counter[str] = Counter()

    @hookimpl
    async def palaver_turn_finished(self, turn: Turn, result: Any) -> None:
        assert result.status in STATUSES
        self.finished[turn.id] += 1
        await asyncio.sleep(0)


class Life:
    """One engine from its start to its end, with whatever happens to its line.

    Args:
        palaver: The server.
        rng: Dice.
        name: Unique; its turns are named after it.
        counts: What happened, for the report.
    """

    def __init__(
        self, palaver: RunningServer, rng: random.Random, name: str, counts: Counter[str]
    ) -> None:
        self.palaver, self.rng, self.name, self.counts = palaver, rng, name, counts
        self.engine: FakeEngine
        self.sent: dict[str, dict[str, Any]] = {}
        self.repeats: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.number = 0

    async def run(self) -> set[str]:
        """Live; returns the turns that were accepted."""
        self.engine = await self._connect()
        try:
            await self._begin()
            for _ in range(self.rng.randrange(3, 40)):
                await self._something()
            await self._settle()
            for turn, times in self.done.items():
                extra = self.repeats[turn]
                assert 1 <= times <= 1 + extra, f"{turn} had {times} ends"
                assert 1 <= self.accepted[turn] + times <= 2 + extra
            assert self.done.keys() == self.accepted.keys()
            if self.rng.random() < 0.8:
                await self.engine.send({"type": "session.end"})
                assert (await self.engine.closed())[0] == 1000
            else:
                self.counts["abandoned"] += 1
        finally:
            self.engine.cut_all()
        return set(self.accepted)

    async def _connect(self) -> FakeEngine:
        # Small, so that a client that does not read is noticed while it is away.
        return await FakeEngine.connect(self.palaver.url, receive_bytes=16_384)

    async def _begin(self) -> None:
        wanted = [name for name in ("sentence", "emotion", "heard") if self.rng.random() < 0.5]
        await self.engine.start(game=f"game {self.rng.randrange(3)}", capabilities=wanted)
        await self._state()

    async def _state(self) -> None:
        for npc in ("vlad", "zed"):
            persona = "vampire" if npc == "vlad" else "zombie"
            await self._send({"type": "npc.upsert", "npc": npc, "persona": persona})
        # A line that is lost before it was read would lose the NPC with it.
        await self._read()

    async def _something(self) -> None:
        kinds: list[tuple[float, Callable[[], Any]]] = [
            (0.45, self._start),
            (0.10, self._cancel),
            (0.05, self._repeat),
            (0.08, self._heard),
            (0.07, self._tell),
            (0.10, self._read),
            (0.08, self._lose_line),
            (0.04, self._take_over),
            (0.01, self._do_not_read),
        ]
        (kind,) = self.rng.choices([do for _, do in kinds], [weight for weight, _ in kinds])
        self.counts[kind.__name__] += 1
        await kind()

    # --- what engines do ------------------------------------------------------------------------

    async def _start(self, **fields: Any) -> None:
        rng = self.rng
        self.number += 1
        turn = f"{self.name}-{self.number}"
        start: dict[str, Any] = {"type": "turn.start", "turn": turn, "npc": "vlad", **fields}
        if not fields:
            start["npc"] = rng.choice(["vlad", "zed"])
            if rng.random() < 0.8:
                start |= {"text": f"Hello from {turn}.", "player": rng.choice(["ada", "bob", turn])}
            else:
                start |= {"cue": "It thunders.", "audience": ["vlad", "ada"]}
        self.sent[turn] = start
        await self._send(start)

    async def _cancel(self) -> None:
        if self.sent:
            cancel = {"type": "turn.cancel", "turn": self.rng.choice(list(self.sent)[-4:])}
            if self.rng.random() < 0.5:
                cancel["heard"] = "word0 "
            await self._send(cancel)

    async def _repeat(self) -> None:
        if self.sent:
            turn = self.rng.choice(list(self.sent)[-4:])
            self.repeats[turn] += 1
            await self._send(self.sent[turn])

    async def _heard(self) -> None:
        if self.done:
            await self._send({"type": "turn.heard", "turn": self.rng.choice(list(self.done))})

    async def _tell(self) -> None:
        await self._send(
            self.rng.choice(
                [
                    {"type": "facts.update", "npc": "vlad", "set": {"hunger": self.rng.random()}},
                    {
                        "type": "player.upsert",
                        "player": "ada",
                        "lang": self.rng.choice(["en", "de"]),
                    },
                    {"type": "save.mark", "save": f"save {self.rng.randrange(3)}"},
                    {"type": "actions.set", "actions": [{"name": "wave"}]},
                    {"type": "turn.feedback", "turn": "none", "kind": "like"},
                ]
            )
        )

    async def _read(self) -> None:
        try:
            await self.engine.ping(f"{len(self.engine.log)}")
        except ConnectionClosed as end:
            await self._dropped(end)
        self._count()

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self.engine.send(message)
        except ConnectionClosed as end:
            await self._dropped(end)
            await self._send(message)

    # --- what happens to lines ------------------------------------------------------------------

    async def _lose_line(self) -> None:
        if self.rng.random() < 0.7:
            self.engine.cut()
        else:
            await self.engine.close()
        await self._again()

    async def _take_over(self) -> None:
        """Resume while the older connection is open still: the server closes that one."""
        await self._again()

    async def _do_not_read(self) -> None:
        """Ask for much, read nothing for a while, then all of it, or come again if dropped."""
        self.engine.stop_reading()
        for number in range(self.rng.randrange(1, 60)):
            await self._start(text=FLOOD, player=f"p{number}")
        await asyncio.sleep(2 * self.rng.random())
        self.engine.start_reading()
        await self._read()

    async def _dropped(self, end: ConnectionClosed) -> None:
        self.counts[f"closed {end.rcvd.code if end.rcvd else None}"] += 1
        await self._again()

    async def _again(self) -> None:
        """Connect again and resume; what was sent last may be lost, so it is sent again."""
        older = self.engine
        self._count()
        self.engine = await self._connect()
        self.engine.session = older.session
        answer = await self.engine.resume(older.session, older.last_seq)
        older.cut()
        if answer["type"] == "session.reset":
            # Its window was over. Turns of the old session have ended on the server's side only.
            self.counts["reset"] += 1
            for turn in self.accepted.keys() - self.done.keys():
                del self.accepted[turn]
            self.sent.clear()
            await self._state()
            return
        assert answer["type"] == "session.resumed", answer
        self.counts["resumed"] += 1
        for turn, start in list(self.sent.items())[-8:]:
            if turn not in self.accepted:
                self.repeats[turn] += 1
                await self._send(start)

    # --- books ----------------------------------------------------------------------------------

    def _count(self) -> None:
        for message in self.engine.log:
            kind, turn = message["type"], message.get("turn")
            if kind == "turn.accepted":
                self.accepted[turn] += 1
            elif kind == "turn.done":
                assert message["status"] in STATUSES
                self.done[turn] += 1
            elif kind == "error" and turn is not None:
                assert message["code"] in ("overloaded",), message
                self.sent.pop(turn, None)
                self.counts["overloaded"] += 1
        self.engine.log.clear()

    async def _settle(self) -> None:
        """Wait until every accepted turn has its end."""
        await self._read()
        while self.accepted.keys() - self.done.keys():
            try:
                await self.engine.receive()
            except ConnectionClosed as end:
                await self._dropped(end)
            self._count()
        await self._read()


async def ask_over_http(palaver: RunningServer, rng: random.Random, counts: Counter[str]) -> None:
    """Turns over HTTP, some of which are left in the middle."""
    body = {"npc": "web", "persona": "vampire", "player": f"p{rng.randrange(5)}", "text": "Hi."}
    accept = rng.choice(["application/json", "text/event-stream"])
    async with aiohttp.ClientSession() as http:
        async with http.post(
            f"{palaver.http_url}/v1/turns", json=body, headers={"Accept": accept}
        ) as answer:
            counts[f"HTTP {answer.status}"] += 1
            assert answer.status in (200, 503)
            if rng.random() < 0.3:
                return
            text = await answer.text()
            assert answer.status == 503 or text.count('"turn.done"') == 1


async def edit(world: Path, rng: random.Random, counts: Counter[str]) -> None:
    """Save a persona again and again, sometimes broken."""
    file = world / "personas" / "vampire.md"
    good = file.read_text(encoding="utf-8")
    try:
        while True:
            await asyncio.sleep(rng.random())
            counts["saved"] += 1
            text = good.replace("Hunger:", f"Hunger {counts['saved']}:")
            file.write_text(text if rng.random() < 0.7 else f"{text}{{{{", encoding="utf-8")
    finally:
        file.write_text(good, encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc, which Linux has")
async def test_a_long_run_leaves_nothing_behind(
    tmp_path: Path,
    soak_s: float,
    dice: random.Random,
    logged_errors: Any,
    settles: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Engines come, talk, lose their line and go; turns end once, and all is given back."""
    loop = asyncio.get_running_loop()
    counts: Counter[str] = Counter()
    ledger = Ledger()
    accepted: set[str] = set()
    speaks = random.Random(dice.random())
    local = ScriptedBackend("local", lambda request: reply(speaks, request))
    static = ScriptedBackend("static", "An authored line.")
    world = write_world(tmp_path / "world")
    overrides = {
        "tiers.elite.chain": ["local", "static"],
        "tiers.elite.stall_ms": 300,
        "limits.messages_per_s": 1_000_000,
        "limits.send_bytes": 120_000,
        "limits.resume_ms": 3_000,
        "memory.keep": 50,
    }
    before_sockets, before_tasks = sockets(), len(asyncio.all_tasks())
    serving = running_server(
        world,
        backend=local,
        overrides=overrides,
        plugins={"ledger": ledger},
        backend_types=[scripted_type([static], name="static", instant=True)],
    )
    with logged_errors() as errors:
        async with serving as palaver:
            tasks, open_sockets = len(asyncio.all_tasks()), sockets()
            began, number, early = loop.time(), 0, 0.0

            async def engines(rng: random.Random) -> None:
                nonlocal number
                while loop.time() < began + soak_s:
                    number += 1
                    name = f"e{number}"
                    accepted.update(await Life(palaver, rng, name, counts).run())

            async def browsers(rng: random.Random) -> None:
                while loop.time() < began + soak_s:
                    await ask_over_http(palaver, rng, counts)

            async def measure() -> None:
                nonlocal early
                while loop.time() < began + soak_s:
                    await asyncio.sleep(0.5)
                    local.calls.clear()
                    static.calls.clear()
                    if not early and loop.time() > began + soak_s / 4:
                        gc.collect()
                        early = resident_mib()

            editor = asyncio.create_task(edit(world, random.Random(dice.random()), counts))
            async with asyncio.TaskGroup() as group:
                for _ in range(ENGINES):
                    group.create_task(engines(random.Random(dice.random())))
                group.create_task(browsers(random.Random(dice.random())))
                group.create_task(measure())
            editor.cancel()
            await asyncio.wait({editor})

            await settles("sessions", lambda: len(palaver.server.hub), 0)
            await settles("tasks", lambda: len(asyncio.all_tasks()), tasks)
            await settles("sockets", sockets, open_sockets)
            local.calls.clear()
            static.calls.clear()
            await settles("sessions in memory", lambda: alive(Session), 0)
            await settles("turns in memory", lambda: alive(Turn), 0)
            late = resident_mib()
            lanes = sum(len(game._lanes) for game in palaver.gateway.games.values())
            assert lanes == 0, "an order of turns is still taken"

            assert accepted
            assert {turn for turn in accepted if ledger.finished[turn] != 1} == set()
            assert set(ledger.finished.values()) == {1}
            with capsys.disabled():
                counts.update(turns=sum(ledger.finished.values()), engines=number)
                report = {"MiB": [round(early), round(late)], **dict(sorted(counts.items()))}
                sys.stdout.write(f"{json.dumps(report)}\n")
            assert late - early < GROWTH_MIB
        await settles("tasks", lambda: len(asyncio.all_tasks()), before_tasks)
        await settles("sockets", sockets, before_sockets)
        expected = ("has a bug", "the last good version serves on", "vampire.md")
        assert [one for one in errors if not any(word in one for word in expected)] == []
