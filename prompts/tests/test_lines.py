"""The authored lines: enough of them, all different, and each of a shape that can be chosen."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest

from palaver_prompts import WORLDS

COLUMNS = ["id", "text", "intent", "mood", "when", "lang"]
INTENTS = "greeting threat trade question quest farewell insult thanks silence".split()
MANY = {"vampire", "zombie"}
FRENCH = {"vampire", "elder_willow", "alchemist"}
FILES = sorted(path for folder in WORLDS.values() for path in folder.glob("lines/*.csv"))

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def rows(path: Path, lang: str | None = None) -> list[dict[str, str]]:
    """Read the lines of a file, of one language or of all."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if lang in (None, row["lang"])]


def words(text: str) -> set[str]:
    """Return the lower-cased words of a line, without punctuation."""
    return set(re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)*", text.lower()))


def test_every_character_has_lines() -> None:
    """Both worlds have lines for each of their personas, and for nobody else."""
    for folder in WORLDS.values():
        personas = {path.stem for path in folder.glob("personas/*.md")}
        assert {path.stem for path in folder.glob("lines/*.csv")} == personas
        assert personas


@each_file
def test_columns(path: Path) -> None:
    """A file has exactly the columns of the format, and a value in each that needs one."""
    with path.open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == COLUMNS
    for row in rows(path):
        assert all(row[name] for name in ("id", "text", "intent", "lang")), row
        assert row["intent"] in {*INTENTS, "any", "filler", "closing"}
        assert all(value == value.strip() for value in row.values()), row
        assert row["id"].startswith(f"{path.stem}-")


def test_ids_are_unique() -> None:
    """No two lines of all worlds share an id."""
    found = Counter(row["id"] for path in FILES for row in rows(path))
    assert [name for name, count in found.items() if count > 1] == []


@each_file
def test_enough_lines(path: Path) -> None:
    """Whatever a player does, there are several English answers to choose from."""
    english = rows(path, "en")
    found = Counter(row["intent"] for row in english)
    assert len(english) >= (60 if path.stem in MANY else 45)
    least = 5 if path.stem in MANY else 3
    assert {name: found[name] for name in INTENTS if found[name] < least} == {}
    assert found["any"] >= 3


@each_file
def test_enough_lines_without_condition(path: Path) -> None:
    """Each intent has two lines at least that any mood and any facts allow."""
    free = Counter(r["intent"] for r in rows(path, "en") if not r["mood"] and not r["when"])
    assert {name: free[name] for name in [*INTENTS, "any"] if free[name] < 2} == {}


@each_file
def test_languages(path: Path) -> None:
    """Three characters also speak French, with an answer to every intent; nobody else does."""
    assert {row["lang"] for row in rows(path)} == ({"en", "fr"} if path.stem in FRENCH else {"en"})
    if path.stem in FRENCH:
        french = rows(path, "fr")
        assert len(french) >= 9
        assert {*INTENTS, "any"} <= {row["intent"] for row in french}


@each_file
def test_no_two_lines_are_alike(path: Path) -> None:
    """No two lines of one character share more than half of the shorter one's words."""
    alike = []
    for one, other in itertools.combinations(rows(path), 2):
        for split in (words, lambda text: set(text.lower().split())):
            a, b = split(one["text"]), split(other["text"])
            if len(a & b) / min(len(a), len(b)) > 0.5:
                alike.append((one["id"], other["id"], sorted(a & b)))
    assert alike == []


@each_file
def test_lines_are_speech(path: Path) -> None:
    """A line is one short piece of speech: no markup, no tags, no slip out of the world."""
    for row in rows(path):
        assert not re.search(r"[<>\[\]{}*\n\t]", row["text"]), row
        assert len(row["text"].split()) <= 30, row
        assert not re.search(r"(?i)\b(an AI|language model|assistant model|prompt)\b", row["text"])
        assert row["text"][-1] in ".!?…", row


@each_file
def test_conditions(path: Path, read: Callable[..., Any], values: Callable[..., Any]) -> None:
    """Conditions are used by a few lines, use declared facts only, and change with the facts."""
    env = jinja2.Environment(undefined=jinja2.StrictUndefined)
    head = read(path.parent.parent / "personas" / f"{path.stem}.md").head
    before = values(head)
    after = values(
        head,
        facts={"hunger": 9},
        player={"reputation": "friend", "debt": 3},
        game={"night": True, "rain": True, "storm": True},
    )
    conditions = [row["when"] for row in rows(path) if row["when"]]
    assert 2 <= len(conditions) <= 8
    for condition in conditions:
        holds = env.compile_expression(condition, undefined_to_none=False)
        assert holds(**before) is False, condition
        assert holds(**after) is True, condition


@each_file
def test_moods(path: Path, read: Callable[..., Any]) -> None:
    """Each mood a line asks for is one that the persona's own body or head names."""
    persona = read(path.parent.parent / "personas" / f"{path.stem}.md")
    known = {persona.head["mood"], *re.findall(r'npc\.mood == "(\w+)"', persona.body)}
    assert {row["mood"] for row in rows(path)} - {""} <= known
