"""Out of the box: the example worlds, served and talked to, with authored lines alone."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import palaver
import palaver_prompts
from palaver.client import Client

pytestmark = pytest.mark.timeout(180)

WORLDS = Path(palaver_prompts.__file__).parent / "worlds"
PEOPLE = sorted((file.parent.parent.name, file.stem) for file in WORLDS.glob("*/personas/*.md"))
each_person = pytest.mark.parametrize(
    ("world", "persona"), PEOPLE, ids=[persona for _, persona in PEOPLE]
)
SAID = {
    "greeting": "Good evening!",
    "threat": "I will kill you!",
    "trade": "How much for the sword?",
    "question": "Who are you?",
    "quest": "Do you have a quest for me?",
    "farewell": "Farewell.",
    "insult": "You stupid idiot!",
    "thanks": "Thank you so much.",
    "silence": "...",
}


@cache
def lines_of(world: str, persona: str) -> dict[str, dict[str, str]]:
    """Return the rows of a persona's CSV by their text."""
    file = WORLDS / world / "lines" / f"{persona}.csv"
    with file.open(encoding="utf-8", newline="") as rows:
        return {row["text"]: row for row in csv.DictReader(rows)}


def connect(served: Any, game: str) -> Client:
    """Return a client that is patient with a slow machine."""
    return palaver.connect(served.url, game=game, timeout_s=60)


def test_all_are_there() -> None:
    """The two worlds have the characters that the tests below talk to."""
    names = {persona for _, persona in PEOPLE}
    assert names >= {"zombie", "ghoul", "vampire", "werewolf", "lich", "broker"}
    assert names >= {"elder_willow", "alchemist"}


def test_the_start_names_what_is_served(example_worlds: dict[str, Any]) -> None:
    """The first line tells world, personas, and that static answers; nothing is wrong with it."""
    for world, served in example_worlds.items():
        ready = served.ready
        assert ready["world"] == world
        assert sorted(ready["personas"]) == [name for where, name in PEOPLE if where == world]
        assert ready["backends"]["static"]["ok"] is True
        assert (ready["notes"], ready["problems"]) == ([], [])


@each_person
async def test_everybody_answers_in_character(
    world: str, persona: str, example_worlds: dict[str, Any]
) -> None:
    """Whatever is said, the answer is a line of that persona, and one for what was said."""
    lines = lines_of(world, persona)
    async with connect(example_worlds[world], f"intents {persona}") as client:
        await client.upsert_npc("npc", persona=persona)
        for intent, text in SAID.items():
            done = await (await client.say("npc", text, player=f"says {intent}")).done()
            assert done.status == "completed"
            assert done.served_by.backend == "static"
            assert [one.outcome for one in done.trail] == ["served"]
            assert done.text in lines
            assert lines[done.text]["intent"] == intent, f"{text!r} was answered {done.text!r}"
        done = await (await client.cue("npc", "Thunder shakes the walls.", player="cue")).done()
        assert done.text in lines


@each_person
async def test_nothing_is_said_twice_before_all_was_said(
    world: str, persona: str, example_worlds: dict[str, Any]
) -> None:
    """Each player hears every line that fits before one comes again, whatever others heard."""
    lines = lines_of(world, persona)
    always = {
        text
        for text, row in lines.items()
        if row["intent"] in ("greeting", "any")
        and row["lang"] == "en"
        and not row["mood"]
        and not row["when"]
    }
    async with connect(example_worlds[world], f"again {persona}") as client:
        await client.upsert_npc("npc", persona=persona)
        for player in ("ada", "bob"):
            heard: list[str] = []
            while not heard or heard[-1] not in heard[:-1]:
                heard.append(await (await client.say("npc", "Hello!", player=player)).text())
                assert lines[heard[-1]]["intent"] in ("greeting", "any")
                assert len(heard) <= len(lines) + 1
            assert always <= set(heard), "a line was held back"


@each_person
async def test_a_french_player(world: str, persona: str, example_worlds: dict[str, Any]) -> None:
    """Where there are French lines a French player gets them, elsewhere English ones."""
    lines = lines_of(world, persona)
    expected = "fr" if any(row["lang"] == "fr" for row in lines.values()) else "en"
    async with connect(example_worlds[world], f"french {persona}") as client:
        await client.upsert_npc("npc", persona=persona)
        await client.upsert_player("amelie", name="Amélie", lang="fr")
        done = await (await client.say("npc", "Bonjour !", player="amelie")).done()
        assert lines[done.text]["lang"] == expected
        assert lines[done.text]["intent"] == "greeting"
        regional = await (
            await client.say("npc", "Qui êtes-vous ?", player="luc", lang="fr-CA")
        ).done()
        assert lines[regional.text]["lang"] == expected


async def test_over_http(example_worlds: dict[str, Any]) -> None:
    """A single request is enough for a line in character."""
    base = example_worlds["village"].ready["http_url"]
    turn = {"npc": "willow", "persona": "elder_willow", "player": "sam", "text": "Good morning!"}
    async with aiohttp.ClientSession(base) as http:
        async with http.get("/readyz") as answer:
            assert answer.status == 200
        async with http.post("/v1/turns", json=turn) as answer:
            done = await answer.json()
    assert done["type"] == "turn.done"
    assert lines_of("village", "elder_willow")[done["text"]]["intent"] == "greeting"


def test_it_stops_when_told(serve: Any) -> None:
    """Ctrl-C ends it with exit code 0, and nothing is said on stderr."""
    served = serve("village")
    assert served.stop() == 0
    assert served.log[-1] == "stopping"
