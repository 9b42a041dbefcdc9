"""The exchange: a session of the wire protocol over requests."""

from __future__ import annotations

import asyncio
from typing import Any

from palaver.chain.backend import Finish

# Long enough that its opening is shown at once; see the chain's checks.
OPENING = "Good evening, traveller. Come in, the night is cold, and the fire is warm in here. "


async def test_ask_and_poll(game: Any) -> None:
    """An ask brings the first words, the polls bring the rest, and nothing is missing."""
    go = asyncio.Event()
    game.palaver.backend.replies = [[OPENING, go, "Sit ", "down.", Finish()]]
    turn = game.turn()
    first = await game.ask(turn)
    assert game.kinds(first["messages"])[:2] == ["accepted", "delta"]
    assert (first["cursor"], first["open"], first["more"]) == (0, 1, False)
    assert "fresh" not in first
    go.set()
    rest = await game.rest(turn["turn"])
    assert game.text_of(first["messages"] + rest, turn["turn"]) == OPENING + "Sit down."
    assert rest[-1]["text"] == OPENING + "Sit down."
    assert game.cursor == rest[-1]["seq"]


async def test_whole_reply(game: Any) -> None:
    """A reply that is there at once comes whole with the ask, and no poll is needed."""
    answer = await game.ask(game.turn())
    while answer["open"]:
        answer = await game.poll()
    assert game.kinds(answer["messages"])[-1] == "done"
