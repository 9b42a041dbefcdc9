"""The lines of the example worlds, as players hear them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendContext
from palaver.testing.turns import make_turn
from palaver.turn.model import Turn
from palaver.world.lines import INTENTS
from palaver.world.loader import load_world
from palaver.world.world import World
from palaver_static.backend import StaticBackend
from palaver_static.config import StaticSettings

PROMPTS = Path(__file__).parents[3] / "prompts/src/palaver_prompts"
# The worlds are another distribution's; an sdist of this one comes without them.
pytestmark = pytest.mark.skipif(not PROMPTS.is_dir(), reason="not in a checkout of the repository")

CAST = [
    ("body-broker", "zombie"),
    ("body-broker", "ghoul"),
    ("body-broker", "vampire"),
    ("body-broker", "werewolf"),
    ("body-broker", "lich"),
    ("village", "elder_willow"),
    ("village", "alchemist"),
]


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    """Both example worlds."""
    return {
        name: load_world(PROMPTS / "worlds" / name, [PROMPTS / "templates"], trusted=False)
        for name in ("body-broker", "village")
    }


@pytest.fixture
def backend(tmp_path: Path) -> StaticBackend:
    """A backend that has not said anything."""
    context = BackendContext(tmp_path, dict, lambda line: None)
    return StaticBackend("static", StaticSettings(type="static"), context)


def turn_with(world: World, name: str, intent: str, **fields: Any) -> Turn:
    """Return a turn with a persona of the world, its facts as declared."""
    persona = world.personas[name]
    variables = {
        "facts": dict(persona.facts),
        "player": dict(persona.player_facts),
        "game": dict(persona.game_facts),
    }
    return make_turn(persona=persona, world=world, intent=intent, variables=variables, **fields)


@pytest.mark.parametrize(("world", "name"), CAST, ids=[name for _, name in CAST])
@pytest.mark.parametrize("intent", INTENTS)
def test_three_answers(
    worlds: dict[str, World], backend: StaticBackend, world: str, name: str, intent: str
) -> None:
    """Whatever is said to a character, it has at least three fitting answers in a row."""
    turn = turn_with(worlds[world], name, intent)
    said = [backend.pick(turn) for _ in range(3)]
    assert len({line.id for line in said}) == 3
    assert {line.intent for line in said} == {intent}
    assert {line.lang for line in said} == {"en"}
    assert turn.trace == []


@pytest.mark.parametrize(("world", "name"), CAST, ids=[name for _, name in CAST])
def test_small_talk(
    worlds: dict[str, World], backend: StaticBackend, world: str, name: str
) -> None:
    """To what fits nothing it has several answers, none of them twice in a row."""
    turn = turn_with(worlds[world], name, "other")
    said = [backend.pick(turn).id for _ in range(8)]
    assert len(set(said)) >= 4
    assert all(one != other for one, other in pairwise(said))


def test_french(worlds: dict[str, World], backend: StaticBackend) -> None:
    """A Canadian is answered in French where there are French lines, else in English."""
    for world, name in CAST:
        has_french = any(line.lang == "fr" for line in worlds[world].lines[name])
        line = backend.pick(turn_with(worlds[world], name, "greeting", lang="fr-CA"))
        assert line.lang == ("fr" if has_french else "en")


def test_a_friend(worlds: dict[str, World], backend: StaticBackend) -> None:
    """What holds for this player comes first."""
    turn = turn_with(worlds["body-broker"], "vampire", "greeting", mood="bored")
    turn.variables["player"]["reputation"] = "friend"
    assert backend.pick(turn).text.startswith("My friend returns")
