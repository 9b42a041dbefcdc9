"""The world folders: front matter, settings, pages for writers, and how they are offered."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import palaver_prompts
from palaver.config.models import Settings, Tier, default_tiers
from palaver_prompts import TEMPLATES, WORLDS

KEYS = set("name tier adapter lines voice lang mood faction facts last_words sampling".split())
TIERS = {
    "zombie": "grunt",
    "ghoul": "grunt",
    "vampire": "elite",
    "werewolf": "elite",
    "lich": "boss",
    "broker": "story",
    "elder_willow": "elite",
    "alchemist": "elite",
}
ADAPTERS = {"vampire": "vampire@1", "zombie": "zombie@1"}
PERSONAS = sorted(path for folder in WORLDS.values() for path in folder.glob("personas/*.md"))

each_world = pytest.mark.parametrize("name", sorted(WORLDS))


def test_offered() -> None:
    """The hook hands over the templates and both worlds, and all of them are folders."""

    class Registry:
        def __init__(self) -> None:
            self.found: list[Any] = []

        def templates(self, folder: Path) -> None:
            self.found.append(folder)

        def world(self, name: str, folder: Path) -> None:
            self.found.append((name, folder))

    registry = Registry()
    palaver_prompts.palaver_register_world(registry)
    assert registry.found == [TEMPLATES, *WORLDS.items()]
    assert all(folder.is_dir() for folder in [TEMPLATES, *WORLDS.values()])
    assert (TEMPLATES / "npc.j2").is_file()


def test_the_cast() -> None:
    """The eight characters are there, each in its tier and with its adapter."""
    assert {path.stem for path in PERSONAS} == set(TIERS)


@pytest.mark.parametrize("path", PERSONAS, ids=lambda path: path.stem)
def test_front_matter(path: Path, read: Callable[..., Any]) -> None:
    """Front matter uses known keys only, and says all that this character needs."""
    head = read(path).head
    assert set(head) <= KEYS
    assert head["tier"] == TIERS[path.stem]
    assert head.get("adapter") == ADAPTERS.get(path.stem)
    assert set(head["sampling"]) <= {"temperature", "top_p", "max_tokens", "stop"}
    assert head["sampling"]["max_tokens"] <= default_tiers()[head["tier"]]["max_tokens"]
    assert head["lang"] == "en"
    assert head["mood"]
    last = head["last_words"]
    assert 3 <= len(last.split()) <= 15
    assert last[-1] in ".!?"


@each_world
def test_settings_are_only_examples(name: str) -> None:
    """The settings file says nothing as shipped, and is valid with every example switched on."""
    text = (WORLDS[name] / "palaver.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    switched_on = tomllib.loads(re.sub(r"(?m)^#(?=\S)", "", text))
    assert switched_on["backends"]["local"]["type"] == "vllm"
    tiers = default_tiers()
    for tier, change in switched_on.pop("tiers").items():
        Tier(**{**tiers[tier], **change})
    assert Settings(**switched_on).server.port == 8765


@each_world
def test_page_for_writers(name: str) -> None:
    """The page for writers is short and names only files and personas that exist."""
    text = (WORLDS[name] / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 12
    stems = {path.stem for path in (WORLDS[name] / "personas").glob("*.md")}
    named = re.findall(rf"(?:--npc|render {name}) (\w+)", text)
    assert named
    assert set(named) <= stems
