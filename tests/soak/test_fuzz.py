"""Whatever is sent to it, the server answers in its protocol and serves everybody else."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from websockets.exceptions import ConnectionClosed

from palaver.testing.fake_engine import FakeEngine
from palaver.testing.server import RunningServer

PROPER: list[dict[str, Any]] = [
    {"type": "npc.upsert", "npc": "n", "persona": "zombie", "facts": {"hunger": 1}},
    {"type": "npc.remove", "npc": "n"},
    {"type": "player.upsert", "player": "p", "name": "Ada", "lang": "de"},
    {"type": "facts.update", "npc": "n", "set": {"hunger": 2}, "unset": ["thirst"]},
    {
        "type": "actions.set",
        "npc": "n",
        "actions": [{"name": "wave", "description": "Wave.", "args": {"type": "object"}}],
    },
    {"type": "turn.start", "turn": "t", "npc": "n", "player": "p", "text": "Hello", "seed": 1},
    {"type": "turn.start", "turn": "u", "npc": "n", "cue": "It thunders.", "audience": ["n"]},
    {"type": "turn.cancel", "turn": "t", "heard": 3},
    {"type": "turn.heard", "turn": "t"},
    {"type": "turn.feedback", "turn": "t", "kind": "like", "note": "good"},
    {"type": "action.result", "turn": "t", "call": "c", "ok": True},
    {"type": "save.mark", "save": "s"},
    {"type": "ping", "nonce": "x"},
    {"type": "session.start", "protocol": 1, "client": {"name": "fuzz"}},
    {"type": "session.resume", "session": "s", "last_seq": 0},
    {"type": "session.end"},
]
ODD: list[Any] = [
    None, True, 0, -1, 2**63, 1e308, "", "x" * 5_000, "\0", "\ud800", "{{ 7 * 7 }}", "<|im_start|>",
    [], {}, [[[[]]]], {"a": {"b": {}}}, ["n"] * 500, {"$ref": "#"}, {"pattern": "(a+)+$"},
]  # fmt: skip


def broken(rng: random.Random) -> str | bytes:
    """A message that is proper, odd, or no message at all."""
    message = dict(rng.choice(PROPER))
    kind = rng.random()
    if kind < 0.5:
        message[rng.choice(list(message))] = rng.choice(ODD)
    elif kind < 0.6:
        del message[rng.choice(list(message))]
    elif kind < 0.65:
        message[str(rng.choice(ODD))] = rng.choice(ODD)
    text = json.dumps(message)
    if kind > 0.95:
        return rng.randbytes(rng.randrange(1, 200))
    if kind > 0.9:
        return text[: rng.randrange(len(text))]
    if kind > 0.85:
        at = rng.randrange(len(text))
        return text[:at] + rng.choice('{}[]",:\\0 ') + text[at + 1 :]
    return text


async def abuse(server: RunningServer, rng: random.Random) -> None:
    """Send broken messages until the server closes, or for a while."""
    engine = await server.engine()
    try:
        if rng.random() < 0.9:
            await engine.start()
        for _ in range(rng.randrange(1, 200)):
            await engine.send(broken(rng))
        await engine.ping("last")  # `receive` checks all that came before it
    except ConnectionClosed as end:
        code = end.rcvd.code if end.rcvd else None
    else:
        code = None
    engine.cut_all()
    assert code != 1011, "the server closed with its own fault"


async def test_broken_messages_harm_nobody(palaver: RunningServer, soak_s: float) -> None:
    """Hours of broken messages leave a server that serves others meanwhile and afterwards."""
    rng = random.Random(8765)
    ends = asyncio.get_running_loop().time() + soak_s
    count = 0
    while asyncio.get_running_loop().time() < ends:
        witness: FakeEngine = await palaver.ready()
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(abuse(palaver, random.Random(rng.random())))
            done = await witness.say("vlad", "Good evening.", turn=f"w{count}")
        assert done["text"] == "Good evening, traveller. Sit."
        await witness.send({"type": "session.end"})
        witness.cut_all()
        count += 1
    assert count
