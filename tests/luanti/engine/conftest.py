"""Two NPCs of the village for the tests with a game server."""

from __future__ import annotations

import pytest

VILLAGERS = """\
llm_agent.register_npc("willow", {name = "Elder Willow", persona = "elder_willow"})
llm_agent.register_npc("brewer", {name = "The Brewer", persona = "alchemist"})
"""


@pytest.fixture
def villagers() -> str:
    """The init.lua of a mod with two NPCs, `willow` and `brewer`."""
    return VILLAGERS
