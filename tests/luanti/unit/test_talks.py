"""Talks between NPCs: short, seldom, and never in a player's way."""

from __future__ import annotations

from typing import Any

import pytest
from deeds import Deeds


@pytest.fixture
def deeds() -> Deeds:
    """The alchemist and Willow beside sam, and four lines a talk."""
    return make()


def make(lines: int = 4) -> Deeds:
    """Make a world whose talks have so many lines."""
    deeds = Deeds()
    deeds.add_npc("willow", (2, 0, 1), name="Elder Willow")
    deeds.mod.talks.random = deeds.lua.eval(f"function(low, high) return high and {lines} or 1 end")
    return deeds


def started(deeds: Deeds) -> list[Any]:
    """The lines that were asked for."""
    return list(deeds.world.started.values())


# As in the game: a body that is asked for without a place is the one last used, else the newest.
FAR_BODY = """function(npcs)
    local object, near = npcs.object, npcs.near
    local far = {get_pos = function() return {x = 0, y = 42, z = 0} end}
    local function last_used(id)
        return npcs.get(id).body or (id == "willow" and far) or object(id)
    end
    npcs.object = last_used
    npcs.near = function(...)
        npcs.object = object
        local list = near(...)
        npcs.object = last_used
        return list
    end
end"""
MODEL = {"backend": "local", "type": "vllm"}


def finish(deeds: Deeds, text: str = "Hm.", by: str = "palaver", **served_by: str) -> None:
    """The line that is being spoken ends."""
    line = started(deeds)[-1]
    turn = deeds.table(
        {
            "id": f"t{len(started(deeds))}",
            "shown": text,
            "by": by,
            "served_by": served_by or MODEL,
        }
    )
    line.opts.on_text(turn, text)
    line.opts.on_done(turn)
    deeds.world.step(2)


def test_a_second_body_far_away_keeps_nobody_silent(deeds: Deeds) -> None:
    """An admin spawned Willow twice: she talks where the player is."""
    deeds.lua.eval(FAR_BODY)(deeds.mod.npcs)
    deeds.world.step(0.2)
    assert len(started(deeds)) == 1
    finish(deeds)
    assert len(started(deeds)) == 2


def test_a_talk(deeds: Deeds) -> None:
    """Two NPCs near a player speak in turns, each to what the other said, and then rest."""
    deeds.world.step(0.2)
    for number in range(4):
        assert len(started(deeds)) == number + 1
        finish(deeds, f"Line {number}.")
    lines = started(deeds)
    assert [line.npc for line in lines] == ["alchemist", "willow", "alchemist", "willow"]
    assert "Elder Willow" in lines[0].what.cue
    assert [line.what.text for line in lines[1:]] == ["Line 0.", "Line 1.", "Line 2."]
    assert {line.player for line in lines} == {None}
    assert [line.opts.speaker for line in lines[:2]] == ["willow", "alchemist"]
    assert {line.opts.priority for line in lines} == {"ambient"}
    assert deeds.plain(lines[0].opts.audience) == ["sam"]
    deeds.world.step(30)
    assert len(started(deeds)) == 4
    deeds.world.step(40)
    assert len(started(deeds)) == 5


@pytest.mark.parametrize("lines", [2, 6])
def test_the_number_of_lines(lines: int) -> None:
    """A talk has as many lines as were drawn for it."""
    deeds = make(lines)
    deeds.world.step(0.2)
    for _ in range(10):
        finish(deeds)
    assert len(started(deeds)) == lines


def test_two_to_six_lines_are_drawn() -> None:
    """The number of lines is drawn from two to six."""
    deeds = make()
    asked = []
    deeds.mod.talks.random = lambda low, high=None: asked.append((low, high)) or 2
    deeds.world.step(0.2)
    assert (2, 6) in asked


@pytest.mark.parametrize(
    "change",
    [
        "player.pos = {x = 30, y = 0, z = 0}",
        "A.npcs.get('willow').def.talks = false",
        "A.npcs.get('willow').busy = 1",
        "A.npcs.object('willow').pos.z = 7.5",
        "A.npcs.object('willow').gone = true",
        "world.down = true",
        "world.open_turns = {willow = {{}}}",
        "A.settings.npc_talks = false",
    ],
)
def test_no_talk_begins(deeds: Deeds, change: str) -> None:
    """Without a listener, two who are free and near each other, and a server, all are silent."""
    run = deeds.lua.eval(f"function(world, A, player) {change} end")
    run(deeds.world, deeds.mod, deeds.player)
    deeds.world.step(10)
    assert started(deeds) == []


def test_nobody_listens_any_more(deeds: Deeds) -> None:
    """Where the last player leaves, the line that is being spoken is cancelled as far as heard."""
    deeds.world.step(0.2)
    line = started(deeds)[0]
    line.opts.on_text(deeds.table({"id": "t1"}), "So far")
    deeds.world.leave(deeds.player)
    deeds.world.step(1)
    assert deeds.plain(deeds.world.cancelled) == [["t1", "So far"]]
    assert not deeds.mod.talks.talking("willow")


def test_a_player_comes_first(deeds: Deeds) -> None:
    """Where a player speaks to one of the two, the talk ends at once."""
    deeds.world.step(0.2)
    (listener,) = [one for one in deeds.mod.npcs.listeners.values() if one.name == "talks"]
    willow = deeds.mod.npcs.get("willow")
    listener.on_start(willow, deeds.table({"id": "other"}))
    assert deeds.mod.talks.talking("willow"), "its own line is no reason to stop"
    listener.on_start(willow, deeds.table({"player": "sam"}))
    assert not deeds.mod.talks.talking("alchemist")
    assert deeds.plain(deeds.world.cancelled) == [["t1", ""]]
    finish(deeds, "Too late.")
    assert len(started(deeds)) == 1


@pytest.mark.parametrize(
    ("text", "by", "served_by"),
    [
        ("Hm.", "canned", MODEL),
        (" ", "palaver", MODEL),
        ("", "palaver", MODEL),
        ("Come sit.", "palaver", {"backend": "lines", "type": "static"}),
        ("A moment.", "palaver", {"backend": "last_words", "type": "last_words"}),
    ],
)
def test_a_line_that_is_none(deeds: Deeds, text: str, by: str, served_by: dict[str, str]) -> None:
    """Where no model speaks, the line is the last of a talk, and the next one is far."""
    deeds.world.step(0.2)
    finish(deeds, text, by, **served_by)
    assert len(started(deeds)) == 1
    assert not deeds.mod.talks.talking("willow")
    deeds.world.step(200)
    assert len(started(deeds)) == 1
    deeds.world.step(110)
    assert len(started(deeds)) == 2


def test_the_server_knows_both(deeds: Deeds) -> None:
    """Whom an NPC speaks with is introduced before it speaks."""
    deeds.world.step(0.2)
    sent = [one.message.npc for one in deeds.world.sent.values()]
    assert sent == ["willow"]
    finish(deeds)
    assert [one.message.npc for one in deeds.world.sent.values()] == ["willow", "alchemist"]


def test_a_line_that_cannot_be_asked_for(deeds: Deeds) -> None:
    """A refused line ends the talk, and both rest."""
    deeds.world.silent = "busy"
    deeds.world.step(10)
    assert not deeds.mod.talks.talking("willow")
    deeds.world.silent = None
    deeds.world.step(20)
    assert started(deeds) == []


def test_a_line_that_never_ends(deeds: Deeds) -> None:
    """A talk whose line does not end is ended."""
    deeds.world.step(0.2)
    deeds.world.step(31)
    assert not deeds.mod.talks.talking("willow")
    assert len(list(deeds.world.cancelled.values())) == 1


def test_few_talks_at_once() -> None:
    """However many NPCs stand around, at most two talks go on, with different ones in each."""
    deeds = make()
    for number in range(8):
        deeds.add_npc(f"n{number}", (number / 4, 0, 2))
    deeds.world.step(20)
    lines = started(deeds)
    assert len(lines) == 2
    assert len({line.npc for line in lines} | {line.opts.speaker for line in lines}) == 4


def test_a_talk_on_demand(deeds: Deeds) -> None:
    """A mod can begin a talk about something, where the two are free and heard."""
    assert deeds.mod.talks.start("willow", "alchemist", "A bridge has burned down.") == (True, None)
    assert started(deeds)[0].what.cue == "A bridge has burned down."
    assert deeds.mod.talks.start("willow", "alchemist") == (False, "one of them is busy")
    assert deeds.mod.talks.start("willow", "willow")[0] is False
    assert deeds.mod.talks.start("willow", "nobody")[0] is False
