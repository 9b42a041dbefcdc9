"""The client against the real server, also over a line that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import palaver
from palaver.chain.backend import Finish
from palaver.client import Client, link
from palaver.errors import ConnectionLost, ServerError
from palaver.messages import TurnAction, TurnDelta, TurnDone, TurnEmotion, TurnSentence
from palaver.testing.scripted import Pause, ScriptedBackend
from palaver.testing.server import RunningServer, running_server


class Line:
    """A TCP line between client and server that can break, and stay broken."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.target = port
        self.open: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on until one side ends."""
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.open |= {writer, there[1]}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.copy(reader, there[1]))
                tasks.create_task(self.copy(there[0], writer))
        finally:
            for end in (writer, there[1]):
                end.transport.abort()
                self.open.discard(end)

    async def copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on in one direction."""
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            pass

    def cut(self) -> None:
        """Break every connection."""
        for writer in list(self.open):
            writer.transport.abort()


@pytest.fixture
async def line(
    palaver_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Line]:
    """A breakable line to `palaver_server`, for a client that tries again at once."""
    monkeypatch.setattr(link, "RETRY_BASE_S", 0.01)
    monkeypatch.setattr(link, "RETRY_CAP_S", 0.02)
    made = Line(palaver_server.server.port)
    async with await asyncio.start_server(made.handle, "127.0.0.1", 0) as listening:
        made.url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield made
        made.cut()
        listening.close()


@pytest.fixture
async def client(palaver_server: RunningServer) -> AsyncIterator[Client]:
    """A client of `palaver_server` with a vampire."""
    async with palaver.connect(palaver_server.url) as connected:
        await connected.upsert_npc("vlad", persona="vampire")
        yield connected


async def test_a_whole_conversation(palaver_server: RunningServer, client: Client) -> None:
    """Everything an engine does in a game works, and events are typed and in order."""
    palaver_server.backend.replies = [
        ["<feel anger 0.5>Leave. ", '<do bow {"deep": true}>', "Now.", Finish()]
    ]
    await client.upsert_player("ada", name="Ada", zone="tower", lang="en", facts={"level": 3})
    await client.update_facts({"night": True})
    await client.update_facts({"hunger": 7}, npc="vlad", unset=["friends"])
    schema = {"type": "object", "properties": {"deep": {"type": "boolean"}}}
    await client.set_actions([{"name": "bow", "description": "Bows.", "args": schema}])
    turn = await client.say("vlad", "Whose tower is this?", player="ada", seed=7)
    events = [event async for event in turn]
    kinds = [type(event) for event in events]
    assert kinds[0] is TurnEmotion
    assert kinds[-1] is TurnDone
    assert {TurnDelta, TurnSentence, TurnAction} <= set(kinds)
    action = next(event for event in events if isinstance(event, TurnAction))
    assert (action.name, action.args) == ("bow", {"deep": True})
    await turn.action_result(action.call, ok=True)
    done = await turn.done()
    assert done.text == await turn.text() == "Leave. Now."
    assert done.served_by.backend == "local"
    assert (turn.tier, turn.npc, turn.is_over) == ("elite", "vlad", True)
    await turn.feedback("like", note="so polite")
    await turn.heard()
    await client.mark_save("slot 1")
    await client.remove_npc("vlad")
    with pytest.raises(ServerError, match=r"npc\.upsert") as caught:
        await client.say("vlad", "Are you gone?")
    assert (caught.value.code, caught.value.retryable) == ("unknown_npc", False)
    assert await client.ping() < 5


async def test_a_cue(palaver_server: RunningServer, client: Client) -> None:
    """A cue makes an NPC speak of what happened, with the urgency of a scene."""
    turn = await client.cue("vlad", "A bell rings.", player="ada", audience=["mina"])
    assert await turn.text() == "Good evening."
    request = palaver_server.backend.requests[-1]
    assert request.turn.cue == "A bell rings."
    assert request.turn.priority == "scene"


async def test_capabilities(palaver_server: RunningServer) -> None:
    """A client that wants deltas only gets no other events."""
    async with palaver.connect(palaver_server.url, capabilities=()) as client:
        assert client.ready.capabilities == []
        await client.upsert_npc("vlad", persona="vampire")
        turn = await client.say("vlad", "Hello")
        assert {type(event) async for event in turn} == {TurnDelta, TurnDone}


async def test_cancel(palaver_server: RunningServer, client: Client) -> None:
    """Cancelling stops the backend; the turn still ends with what was said."""
    palaver_server.backend.replies = [["Once upon", asyncio.Event()]]
    turn = await client.say("vlad", "A story!")
    async for event in turn:
        if isinstance(event, TurnDelta):
            await turn.cancel(heard=event.text)
    done = await turn.done()
    assert (done.status, done.text) == ("cancelled", "Once upon")
    assert palaver_server.backend.calls[0].closed_early
    await turn.cancel()


async def test_turns_side_by_side(palaver_server: RunningServer, client: Client) -> None:
    """Turns of several players run at once, each with its own stream."""
    palaver_server.backend.replies = [lambda request: f"I hear {request.turn.text}."]
    turns = await asyncio.gather(
        *(client.say("vlad", f"voice {n}", player=f"p{n}") for n in range(40))
    )
    texts = await asyncio.gather(*(turn.text() for turn in turns))
    assert texts == [f"I hear voice {n}." for n in range(40)]


async def test_a_turn_id_of_ones_own(client: Client) -> None:
    """An id that is used again is refused, here or there."""
    turn = await client.say("vlad", "Hello", turn="mine")
    assert turn.id == "mine"
    with pytest.raises(ServerError) as caught:
        await client.say("vlad", "Something else", turn="mine")
    assert caught.value.code == "duplicate_turn"
    await turn.done()


async def test_cuts_are_not_seen(palaver_server: RunningServer, line: Line) -> None:
    """Over a line that breaks again and again, replies arrive whole and calls take effect."""
    words = [f"word{n} " for n in range(80)]
    steps = [step for word in words for step in (word, Pause(0.2))]
    palaver_server.backend.replies = [[*steps, Finish()]]
    async with palaver.connect(line.url) as client:
        session = client.ready.session
        await client.upsert_npc("vlad", persona="vampire")
        turns = [await client.say("vlad", "Count", player=f"p{n}") for n in range(4)]

        async def read(turn: palaver.client.ClientTurn) -> str:
            return "".join([e.text async for e in turn if isinstance(e, TurnDelta)])

        reading = [asyncio.create_task(read(turn)) for turn in turns]
        cuts = 0
        while not all(task.done() for task in reading):
            line.cut()
            cuts += 1
            await client.upsert_player("ada", facts={"cuts": cuts})
        whole = "".join(words).rstrip()
        assert [await task for task in reading] == [whole] * 4
        assert cuts > 3
        assert client.ready.session == session
        game = palaver_server.gateway.games["default"]
        assert game.players["ada"].facts == {"cuts": cuts}


async def test_another_server_takes_over(
    palaver_server: RunningServer, line: Line, tmp_path: Path, palaver_world: Path
) -> None:
    """Where another gateway answers after a cut, the game goes on there with all it was told."""
    backend = ScriptedBackend("local", "I am new here.")
    async with running_server(palaver_world, backend=backend) as second:
        async with palaver.connect(line.url, game="shard 7") as client:
            await client.upsert_npc("vlad", persona="vampire", facts={"hunger": 3})
            await client.upsert_player("ada", name="Ada")
            gate = asyncio.Event()
            palaver_server.backend.replies = [["I ", gate, "stay."]]
            lost = await client.say("vlad", "Will you stay?", player="ada")
            await anext(lost)
            line.target = second.server.port
            line.cut()
            turn = await client.say("vlad", "Who are you?", player="ada")
            assert await turn.text() == "I am new here."
            with pytest.raises(ConnectionLost, match="say it again"):
                await lost.text()
        game = second.gateway.games["shard 7"]
        assert game.npcs["vlad"].facts == {"hunger": 3}
        assert game.players["ada"].name == "Ada"


async def test_a_server_that_is_away(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the server is away calls wait for it, but no longer than timeout_s."""
    async with palaver.connect(line.url) as client:
        there, line.target = line.target, 1
        line.cut()
        # For this call only: to connect may take longer where the machine is busy.
        with monkeypatch.context() as patch:
            patch.setattr(client, "_timeout_s", 0.3)
            with pytest.raises(ConnectionLost, match=r"0\.3 s"):
                await client.upsert_npc("vlad", persona="vampire")
        line.target = there
        await client.upsert_npc("mina", persona="vampire")
        assert client.is_connected


async def test_a_server_that_stops(palaver_server: RunningServer) -> None:
    """Without reconnect, a server that stops ends what waits, with a reason."""
    palaver_server.backend.replies = [["Wait", asyncio.Event()]]
    async with palaver.connect(palaver_server.url, reconnect=False) as client:
        await client.upsert_npc("vlad", persona="vampire")
        turn = await client.say("vlad", "Hello")
        await palaver_server.server.__aexit__()
        with pytest.raises(ConnectionLost, match="1001"):
            await client.ping()
        assert turn.is_over


async def test_closing_ends_the_session(palaver_server: RunningServer) -> None:
    """A client that is closed leaves no session and no turn behind."""
    palaver_server.backend.replies = [["Wait", asyncio.Event()]]
    async with palaver.connect(palaver_server.url) as client:
        await client.upsert_npc("vlad", persona="vampire")
        turn = await client.say("vlad", "Hello")
        call = await palaver_server.backend.called()
    with pytest.raises(ConnectionLost, match="closed"):
        await turn.done()
    async with asyncio.timeout(20):
        await call.ended.wait()
    assert len(palaver_server.server.hub) == 0
