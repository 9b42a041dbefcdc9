"""The client against a server of forty lines that can misbehave as no real one would."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from palaver.client import Client, connect, ending, link
from palaver.errors import ConnectionLost, ServerError
from palaver.messages import SUBPROTOCOL, TurnAccepted, TurnDelta, TurnDone, client_message

LIMITS = {
    "message_bytes": 60_000,
    "turns": 8,
    "queue": 4,
    "resume_ms": 60_000,
    "silence_ms": 60_000,
    "messages_per_s": 5_000,
}
WAIT_S = 20
"""Ends what hangs; nothing waits for it to pass."""


class Peer:
    """One connection, as the server of the test sees it."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.got: list[dict[str, Any]] = []

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self, *, pong: bool = True) -> dict[str, Any]:
        """Return the next message that is no ping; pings are answered."""
        while True:
            async with asyncio.timeout(WAIT_S):
                message: dict[str, Any] = json.loads(await self.socket.recv())
            client_message(message)
            if message["type"] == "ping" and pong:
                await self.send(type="pong", nonce=message["nonce"])
                continue
            self.got.append(message)
            return message

    async def expect(self, type: str, *, pong: bool = True) -> dict[str, Any]:
        message = await self.receive(pong=pong)
        assert message["type"] == type, message
        return message

    async def ready(self, type: str = "session.ready", session: str = "s1", **more: Any) -> None:
        await self.send(
            type=type,
            session=session,
            protocol=1,
            server={"name": "palaver", "version": "0"},
            capabilities=[],
            limits=LIMITS,
            **more,
        )

    async def accept(self, turn: dict[str, Any], seq: int) -> None:
        fields = {"turn": turn["turn"], "npc": turn["npc"], "tier": "elite"}
        await self.send(type="turn.accepted", seq=seq, **fields)

    async def delta(self, turn: dict[str, Any], seq: int, text: str) -> None:
        await self.send(type="turn.delta", seq=seq, turn=turn["turn"], text=text)

    async def done(self, turn: dict[str, Any], seq: int, text: str) -> None:
        await self.send(
            type="turn.done",
            seq=seq,
            turn=turn["turn"],
            status="completed",
            text=text,
            served_by={"backend": "b", "type": "t", "model": None, "adapter": None},
            trail=[],
            usage={"prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0},
            ttft_ms=1,
            total_ms=2,
            cached=False,
        )

    async def idle(self) -> None:
        """Answer pings until the client leaves."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed:
            pass

    def cut(self) -> None:
        self.socket.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class FakeServer:
    """Plays one script per connection, in order, and keeps what went wrong in them."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []
        self.url = ""

    async def handle(self, socket: ServerConnection) -> None:
        peer = Peer(socket)
        self.peers.append(peer)
        try:
            await self.scripts.pop(0)(peer)
        except ConnectionClosed:
            pass
        except Exception as failure:
            self.failures.append(failure)
            raise


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeServer]:
    """A server that plays scripts, for a client that tries again at once."""
    monkeypatch.setattr(link, "RETRY_BASE_S", 0.01)
    monkeypatch.setattr(link, "RETRY_CAP_S", 0.02)
    fake = FakeServer()
    listening: Server
    async with serve(fake.handle, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL]) as listening:  # type: ignore[list-item]  # a NewType of str
        port = listening.sockets[0].getsockname()[1]
        fake.url = f"ws://127.0.0.1:{port}"
        yield fake
    assert fake.failures == []


async def welcome(peer: Peer) -> None:
    """Open a session and answer pings."""
    await peer.expect("session.start")
    await peer.ready()
    await peer.idle()


async def test_start_says_who_connects(server: FakeServer) -> None:
    """The first message names the protocol, the client, the game and what it wants."""
    server.scripts = [welcome]
    async with connect(server.url, game="g", save="one", token="t", engine="Godot 4") as client:
        assert client.ready.session == "s1"
        assert client.is_connected
        assert await client.ping() > 0
    start = server.peers[0].got[0]
    assert start["protocol"] == 1
    assert start["client"]["engine"] == "Godot 4"
    assert (start["game"], start["save"], start["token"]) == ("g", "one", "t")
    assert start["capabilities"] == ["sentence", "emotion", "action"]
    assert server.peers[0].socket.request is not None
    assert server.peers[0].socket.request.path == "/v1"


async def test_end_is_sent(server: FakeServer) -> None:
    """Closing the client ends its session, so that the server need not wait for it."""
    server.scripts = [welcome]
    async with connect(server.url) as client:
        pass
    await client.close()
    assert [m["type"] for m in server.peers[0].got] == ["session.start", "session.end"]
    assert not client.is_connected
    with pytest.raises(ConnectionLost, match="closed"):
        await client.upsert_npc("vlad", persona="vampire")


async def test_a_refused_message_raises_where_it_was_sent(server: FakeServer) -> None:
    """An error about a message becomes the exception of the call that sent it."""

    async def script(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        upsert = await peer.expect("npc.upsert", pong=False)
        await peer.send(
            type="error",
            code="unknown_persona",
            message="write personas/x.md",
            re=upsert["id"],
            retryable=False,
        )
        await peer.idle()

    server.scripts = [script]
    async with connect(server.url) as client:
        with pytest.raises(ServerError, match="write personas") as caught:
            await client.upsert_npc("vlad", persona="x")
        assert caught.value.code == "unknown_persona"
        await client.upsert_npc("vlad", persona="vampire")


async def test_arguments_are_checked_before_they_are_sent(server: FakeServer) -> None:
    """What the protocol cannot carry is a ValueError, and the connection goes on."""
    server.scripts = [welcome]
    async with connect(server.url) as client:
        with pytest.raises(ValueError, match="npc"):
            await client.upsert_npc("", persona="vampire")
        with pytest.raises(ValueError, match="no message"):
            await client.tell("npc.dance")
        with pytest.raises(ValueError, match="JSON"):
            await client.update_facts({"hunger": float("nan")})
        with pytest.raises(ValueError, match="plain data"):
            await client.update_facts({"hunger": object()})
        with pytest.raises(ServerError, match="bytes"):
            await client.update_facts({"story": "x" * 70_000})
        await client.ping()
    assert [m["type"] for m in server.peers[0].got] == ["session.start", "session.end"]


async def test_a_turn_yields_typed_events(server: FakeServer) -> None:
    """Iterating over a turn gives its events in order and ends after turn.done."""

    async def script(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        turn = await peer.expect("turn.start")
        await peer.accept(turn, 1)
        await peer.delta(turn, 2, "Good ")
        await peer.delta(turn, 3, "evening.")
        await peer.send(type="turn.future", seq=4, turn=turn["turn"], colour="red")
        await peer.done(turn, 5, "Good evening.")
        await peer.idle()

    # A message of a newer server has a seq that must be counted, though nobody understands it.
    server.scripts = [script]
    async with connect(server.url) as client:
        turn = await client.say("vlad", "Hello", player="ada")
        assert turn.tier == "elite"
        events = [event async for event in turn]
        assert [type(event) for event in events] == [TurnDelta, TurnDelta, TurnDone]
        assert await turn.text() == "Good evening."
        assert turn.is_over


async def test_cut_in_a_turn_is_resumed(server: FakeServer) -> None:
    """After a cut the client resumes with the last seq it got, and the turn goes on."""

    async def first(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        turn = await peer.expect("turn.start")
        await peer.accept(turn, 1)
        await peer.delta(turn, 2, "One ")
        while peer.got[-1]["type"] != "player.upsert":
            await peer.receive(pong=False)
        peer.cut()

    async def second(peer: Peer) -> None:
        resume = await peer.expect("session.resume")
        assert (resume["session"], resume["last_seq"]) == ("s1", 2)
        assert resume["game"] == "g"
        await peer.send(type="session.resumed", session="s1")
        turn = server.peers[0].got[1]
        await peer.delta(turn, 2, "One ")  # a server that replays too much
        await peer.delta(turn, 3, "two")
        await peer.done(turn, 4, "One two")
        # Nobody confirmed the upsert, so it comes again; the turn was accepted and does not.
        await peer.expect("player.upsert")
        await peer.idle()

    server.scripts = [first, second]
    async with connect(server.url, game="g") as client:
        turn = await client.say("vlad", "Count")
        assert isinstance(await anext(turn), TurnDelta)
        await client.upsert_player("ada", name="Ada")
        texts = [event.text async for event in turn if isinstance(event, TurnDelta)]
        assert texts == ["two"]
        assert await turn.text() == "One two"


async def test_a_turn_that_was_not_accepted_is_sent_again(server: FakeServer) -> None:
    """A turn.start that was lost in a cut is repeated with the same id."""

    async def first(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        await peer.expect("turn.start")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.expect("session.resume")
        await peer.send(type="session.resumed", session="s1")
        turn = await peer.expect("turn.start")
        assert turn == server.peers[0].got[1]
        await peer.accept(turn, 1)
        await peer.done(turn, 2, "")
        await peer.idle()

    server.scripts = [first, second]
    async with connect(server.url) as client:
        turn = await client.say("vlad", "Hello")
        assert (await turn.done()).status == "completed"


async def test_a_gap_is_resumed(server: FakeServer) -> None:
    """A missing seq makes the client resume instead of showing a reply with a hole."""

    async def first(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        turn = await peer.expect("turn.start")
        await peer.accept(turn, 1)
        await peer.delta(turn, 3, "world")
        await peer.idle()

    async def second(peer: Peer) -> None:
        assert (await peer.expect("session.resume"))["last_seq"] == 1
        await peer.send(type="session.resumed", session="s1")
        turn = server.peers[0].got[1]
        await peer.delta(turn, 2, "Hello ")
        await peer.delta(turn, 3, "world")
        await peer.done(turn, 4, "Hello world")
        await peer.idle()

    server.scripts = [first, second]
    async with connect(server.url) as client:
        turn = await client.say("vlad", "Hello")
        assert [e.text async for e in turn if isinstance(e, TurnDelta)] == ["Hello ", "world"]


async def test_reset_tells_the_server_everything_again(server: FakeServer) -> None:
    """A new session is told the save, NPCs, players, facts and actions of the old one, first."""

    async def first(peer: Peer) -> None:
        await welcome(peer)

    async def second(peer: Peer) -> None:
        assert (await peer.expect("session.resume"))["save"] == "slot 1"
        await peer.ready("session.reset", "s2", reason="another gateway")
        state = [await peer.receive() for _ in range(7)]
        assert [message["type"] for message in state] == [
            "npc.upsert",
            "player.upsert",
            "facts.update",
            "facts.update",
            "facts.update",
            "actions.set",
            "actions.set",
        ]
        assert state[0]["npc"] == "vlad"
        assert state[0]["zone"] == "tower"
        assert state[2]["npc"] == "vlad"
        assert state[2]["set"] == {"hunger": 7, "name": None}
        assert state[4]["set"] == {"day": 2}
        assert state[5]["actions"][0]["name"] == "open_door"
        assert state[6]["npc"] == "vlad"
        turn = await peer.expect("turn.start")
        await peer.accept(turn, 1)
        await peer.done(turn, 2, "")
        await peer.idle()

    server.scripts = [first, second]
    async with connect(server.url) as client:
        await client.upsert_npc("vlad", persona="vampire", facts={"hunger": 1, "old": True})
        await client.upsert_npc("vlad", persona="vampire", zone="tower")
        await client.upsert_npc("gone", persona="vampire", facts={"x": 1})
        await client.set_actions([{"name": "wave"}], npc="gone")
        await client.remove_npc("gone")
        await client.upsert_player("ada", name="Ada", facts={"level": 3})
        await client.update_facts({"hunger": 7, "name": None}, npc="vlad", unset=["old"])
        await client.update_facts({"day": 2})
        await client.set_actions([{"name": "open_door"}])
        await client.set_actions([{"name": "bite"}], npc="vlad")
        await client.mark_save("slot 1")
        server.peers[0].cut()
        turn = await client.say("vlad", "Are you still there?")
        await turn.done()
        assert client.ready.session == "s2"


async def test_reset_ends_accepted_turns_only(server: FakeServer) -> None:
    """A turn that the old session had accepted ends with an error; a later one is sent again."""
    accepted = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        await peer.accept(await peer.expect("turn.start"), 1)
        await accepted.wait()
        await peer.expect("turn.start")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.expect("session.resume")
        await peer.ready("session.reset", "s2", reason="too old")
        turn = await peer.expect("turn.start")
        assert turn["text"] == "second"
        await peer.accept(turn, 1)
        await peer.done(turn, 2, "Yes.")
        await peer.idle()

    server.scripts = [first, second]
    async with connect(server.url) as client:
        lost = await client.say("vlad", "first")
        accepted.set()
        kept = await client.say("vlad", "second")
        assert await kept.text() == "Yes."
        with pytest.raises(ConnectionLost, match="say it again"):
            await lost.text()
        await lost.cancel()


async def test_a_large_state_is_told_in_several_messages(server: FakeServer) -> None:
    """Facts of one NPC that do not fit one message are split."""

    async def second(peer: Peer) -> None:
        await peer.expect("session.resume")
        await peer.ready("session.reset", "s2", reason="too old")
        await peer.idle()

    server.scripts = [welcome, second]
    async with connect(server.url) as client:
        await client.upsert_npc("vlad", persona="vampire")
        for n in range(40):
            await client.update_facts({f"f{n}": "x" * 3_900}, npc="vlad")
        server.peers[0].cut()
        await client.upsert_player("ada")
        got = server.peers[1].got
        facts = [message for message in got if message["type"] == "facts.update"]
        assert len(facts) == 3
        assert len({name for message in facts for name in message["set"]}) == 40
        assert got[-1]["type"] == "player.upsert"


@pytest.mark.parametrize("code", sorted(ending.FATAL))
async def test_some_ends_are_final(server: FakeServer, code: int) -> None:
    """After these close codes the client does not try again, and says what to do."""

    async def script(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        await peer.accept(await peer.expect("turn.start"), 1)
        await peer.socket.close(code, "so there")

    server.scripts = [script]
    async with connect(server.url) as client:
        turn = await client.say("vlad", "Hello")
        with pytest.raises(ConnectionLost, match="so there"):
            await turn.done()
        with pytest.raises(ConnectionLost, match="so there"):
            await client.ping()
    assert len(server.peers) == 1


async def test_without_reconnect_a_cut_is_the_end(server: FakeServer) -> None:
    """With reconnect=False every wait ends with ConnectionLost at the first cut."""

    async def script(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        await peer.expect("npc.upsert", pong=False)
        peer.cut()

    server.scripts = [script]
    async with connect(server.url, reconnect=False) as client:
        with pytest.raises(ConnectionLost):
            await client.upsert_npc("vlad", persona="vampire")


async def test_first_message_refused(server: FakeServer) -> None:
    """An error in answer to session.start is raised by `async with`."""

    async def script(peer: Peer) -> None:
        await peer.expect("session.start")
        fields = {"code": "unauthorized", "message": "give a token", "retryable": False}
        await peer.send(type="error", **fields)
        await peer.socket.close(4401)

    server.scripts = [script]
    with pytest.raises(ServerError, match="give a token") as caught:
        async with connect(server.url):
            pass
    assert caught.value.code == "unauthorized"


async def test_nobody_listens() -> None:
    """Where no server is, the error names the command that starts one."""
    # Taken, so that no other program's server comes to listen there meanwhile.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionLost, match="palaver serve"):
            async with connect(f"ws://127.0.0.1:{port}"):
                pass


async def test_a_web_server_is_no_palaver_server() -> None:
    """A redirect is not followed: the token is for this address only."""

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/v1\r\nContent-Length: 0\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionLost, match="302"):
            async with connect(f"ws://127.0.0.1:{port}"):
                pass


async def test_a_silent_server_has_a_limit() -> None:
    """A server that accepts the connection and says nothing costs no more than timeout_s."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionLost, match="in time"):
            async with connect(f"ws://127.0.0.1:{port}", timeout_s=0.1):
                pass


async def test_unconfirmed_has_a_limit(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that the server never confirms ends with ConnectionLost after timeout_s."""

    async def script(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        while (await peer.receive(pong=False))["type"] != "turn.cancel":
            pass
        cancelled.set()
        await peer.idle()

    cancelled = asyncio.Event()
    server.scripts = [script]
    async with connect(server.url) as client:
        # Not before: a busy machine may need longer than that to connect.
        monkeypatch.setattr(client, "_timeout_s", 0.1)
        with pytest.raises(ConnectionLost, match=r"0\.1 s"):
            await client.upsert_npc("vlad", persona="vampire")
        with pytest.raises(ConnectionLost, match=r"0\.1 s"):
            await client.say("vlad", "Hello", turn="t1")
        # The server may have begun that turn: it is told that nobody listens.
        async with asyncio.timeout(WAIT_S):
            await cancelled.wait()
    cancels = [m for m in server.peers[0].got if m["type"] == "turn.cancel"]
    assert [m["turn"] for m in cancels] == ["t1"]


async def test_a_silent_turn_has_a_limit(server: FakeServer) -> None:
    """A turn without an event for turn_timeout_s raises where it is read."""

    async def script(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        await peer.accept(await peer.expect("turn.start"), 1)
        await peer.idle()

    server.scripts = [script]
    async with connect(server.url, turn_timeout_s=0.05) as client:
        turn = await client.say("vlad", "Hello")
        with pytest.raises(ConnectionLost, match="turn_timeout_s"):
            await anext(turn)
        await turn.cancel(heard="")


async def test_a_dead_connection_is_found(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ping that nobody answers ends the connection, and the client connects again."""
    monkeypatch.setattr(link, "PING_S", 0.02)
    monkeypatch.setattr(link, "PONG_S", 0.02)

    async def dead(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        assert (await peer.receive(pong=False))["type"] == "ping"
        await peer.socket.wait_closed()

    async def second(peer: Peer) -> None:
        await peer.expect("session.resume")
        # This one is alive, and may be slow to answer.
        monkeypatch.setattr(link, "PONG_S", WAIT_S)
        await peer.send(type="session.resumed", session="s1")
        back.set()
        await peer.idle()

    back = asyncio.Event()
    server.scripts = [dead, second]
    async with connect(server.url):
        async with asyncio.timeout(WAIT_S):
            await back.wait()


async def test_a_slow_reader_stays_bounded(server: FakeServer) -> None:
    """Text that nobody reads is joined, so a turn holds few events and loses nothing."""

    async def script(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        turn = await peer.expect("turn.start")
        await peer.accept(turn, 1)
        for n in range(4_000):
            await peer.delta(turn, n + 2, "ab")
        await peer.done(turn, 4_002, "ab" * 4_000)
        await peer.idle()

    server.scripts = [script]
    async with connect(server.url) as client:
        turn = await client.say("vlad", "Hello")
        result = await turn.done()
        events = [event async for event in turn]
        assert len(events) < 300
        assert "".join(e.text for e in events if isinstance(e, TurnDelta)) == result.text


async def test_garbage_is_survived(server: FakeServer) -> None:
    """Frames that are not of the protocol are ignored and logged; the session goes on."""

    async def script(peer: Peer) -> None:
        await peer.expect("session.start")
        await peer.ready()
        for frame in ("{nope", "[]", "7", '{"type":7}', '{"type":"turn.delta","seq":1}', b"\0\1"):
            await peer.socket.send(frame)
        await peer.idle()

    server.scripts = [script]
    async with connect(server.url) as client:
        await client.ping()


async def test_many_calls_at_once(server: FakeServer) -> None:
    """A thousand calls side by side are all handled, with few pings between them."""
    server.scripts = [welcome]
    async with connect(server.url) as client:
        await asyncio.gather(*(client.upsert_npc(f"n{i}", persona="p") for i in range(1_000)))
    upserts = [m["npc"] for m in server.peers[0].got if m["type"] == "npc.upsert"]
    assert upserts == [f"n{i}" for i in range(1_000)]


async def test_the_rate_is_kept(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client sends no faster than the server allows, so that it is refused nothing."""
    monkeypatch.setitem(LIMITS, "messages_per_s", 100)
    server.scripts = [welcome]
    loop = asyncio.get_running_loop()
    async with connect(server.url) as client:
        began = loop.time()
        await asyncio.gather(*(client.upsert_npc(f"n{i}", persona="p") for i in range(120)))
        # A hundred at once, then one every 10 ms; the pings count too.
        assert loop.time() - began > 0.2


async def test_a_client_is_opened_once(server: FakeServer) -> None:
    """Opening a client twice is an error, as is using it before it is open."""
    server.scripts = [welcome]
    client: Client = connect(server.url)
    with pytest.raises(ConnectionLost, match="not open"):
        _ = client.ready
    async with client:
        with pytest.raises(Exception, match="once"):
            await client.__aenter__()


def test_accepted_again_is_harmless() -> None:
    """A repeated turn.accepted changes nothing."""
    from palaver.client.turn import ClientTurn

    turn = ClientTurn(None, "t", "vlad", timeout_s=1)  # type: ignore[arg-type]  # not used here
    accepted = TurnAccepted(turn="t", seq=1, npc="vlad", tier="boss")
    turn.receive(accepted)
    turn.receive(accepted)
    assert turn.tier == "boss"
    assert not turn.is_over
