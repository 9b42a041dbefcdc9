"""A persona's template: resolved once, one text per block, errors with the right file and line."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from palaver.errors import TemplateError
from palaver.prompt.library import Library
from palaver.prompt.template import BlockTemplate, compile_template

DATA = Path(__file__).parent / "data"
TEMPLATES: dict[str, list[Any]] = yaml.safe_load((DATA / "templates.yaml").read_text("utf-8"))
BASE = """{# text outside of blocks is not used #}
{% block identity %}You are {{ npc.name }}.{% endblock %}
{% block voice %}{% endblock %}
{% block situation %}{% if npc.mood %}Mood: {{ npc.mood }}.{% endif %}{% endblock %}
"""
VALUES: dict[str, Any] = {"npc": {"name": "Vale", "mood": "calm"}, "facts": {"hunger": 3}}
DECLARED = {"facts": ["hunger"], "player": ["reputation"], "game": ["night"]}

Compile = Callable[..., BlockTemplate]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with a base template of a plugin, and a world beside it."""
    (tmp_path / "plugin" / "parts").mkdir(parents=True)
    (tmp_path / "plugin" / "npc.j2").write_text(BASE)
    (tmp_path / "plugin" / "parts" / "rules.j2").write_text("Rules of {{ npc.name }}.")
    folder = tmp_path / "world"
    (folder / "templates").mkdir(parents=True)
    (folder / "personas").mkdir()
    return folder


@pytest.fixture
def compiled(world: Path) -> Compile:
    """Compile a persona's template; other files of the world by name."""

    def compile_(text: str, **templates: str) -> BlockTemplate:
        for name, source in templates.items():
            (world / "templates" / f"{name}.j2").write_text(source)
        library = Library([world / "templates", world.parent / "plugin"])
        file = world / "personas" / "vale.md"
        return compile_template(library, "personas/vale.md", file, text)

    return compile_


def test_blocks_in_the_order_of_the_base(compiled: Compile) -> None:
    """Each block that is not empty is one text, in the order of the base template."""
    template = compiled(
        '{% extends "npc.j2" %}{% block situation %}Night.{% endblock %}'
        "{% block voice %}\n  Slow. \n{% endblock %}"
    )
    assert template.blocks == ("identity", "voice", "situation")
    assert template.render(VALUES) == [
        ("identity", "You are Vale."),
        ("voice", "Slow."),
        ("situation", "Night."),
    ]
    empty = compiled('{% extends "npc.j2" %}{% block identity %} {% endblock %}')
    assert empty.render({"npc": {}}) == []


def test_super_works_through_every_parent(compiled: Compile) -> None:
    """`super()` gives the parent's block, and its parent's."""
    template = compiled(
        '{% extends "undead.j2" %}{% block identity %}{{ super() }} Old.{% endblock %}',
        undead='{% extends "npc.j2" %}{% block identity %}{{ super() }} Dead.{% endblock %}',
    )
    assert template.render(VALUES)[0] == ("identity", "You are Vale. Dead. Old.")


def test_sets_and_macros_outside_of_blocks(compiled: Compile) -> None:
    """What is set, defined or imported outside of blocks is there in every block."""
    template = compiled(
        '{% extends "npc.j2" %}{% set old = npc.name ~ "!" %}'
        '{% import "say.j2" as say %}{% from "say.j2" import loud as shout %}'
        "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}"
        '{% if facts.hunger > 2 %}{% set state = "hungry" %}'
        '{% else %}{% set state = "fed" %}{% endif %}'
        "{% block voice %}{{ twice(old) }} {{ say.loud('a') }} {{ shout('b') }} {{ state }}"
        "{% endblock %}",
        say="{% macro loud(x) %}{{ x|upper }}{% endmacro %}",
    )
    assert template.render(VALUES)[1] == ("voice", "Vale!Vale! A B hungry")
    assert template.render({**VALUES, "facts": {"hunger": 0}})[1][1].endswith("fed")


def test_the_worlds_own_template_comes_first(compiled: Compile) -> None:
    """A file of the world replaces one of the same name from a plugin."""
    template = compiled(
        '{% extends "npc.j2" %}', npc='{% block only %}{% include "parts/rules.j2" %}{% endblock %}'
    )
    assert template.render(VALUES) == [("only", "Rules of Vale.")]


def test_version_covers_all_files(compiled: Compile) -> None:
    """The version changes with the persona and with each file it uses, and with nothing else."""
    text = '{% extends "undead.j2" %}{% block voice %}{% include "rasp.j2" %}{% endblock %}'
    files = {"undead": '{% extends "npc.j2" %}', "rasp": "Rasping."}
    version = compiled(text, **files).version
    assert compiled(text, **files, unused="x").version == version
    assert compiled(text, **{**files, "rasp": "Rasping!"}).version != version
    assert compiled(text, **{**files, "undead": '{% extends "npc.j2" %}{# #}'}).version != version


def test_player_text_is_never_a_template(compiled: Compile) -> None:
    """Jinja syntax in a fact or a name comes out as it went in."""
    template = compiled('{% extends "npc.j2" %}{% block voice %}{{ facts.said }}{% endblock %}')
    evil = "{{ 7 * 7 }}{% include 'parts/rules.j2' %}"
    result = dict(template.render({"npc": {"name": evil}, "facts": {"said": evil}}))
    assert result == {"identity": f"You are {evil}.", "voice": evil}


@pytest.mark.parametrize(
    "case", TEMPLATES["file_errors"], ids=lambda case: f"{case['file']}: {case['problem']}"
)
def test_errors_name_the_file_to_edit(compiled: Compile, case: dict[str, Any]) -> None:
    """An error has file and line of the file that is wrong, whichever uses it."""
    with pytest.raises(TemplateError) as caught:
        compiled(case["text"], **case.get("files", {})).render(VALUES)
    assert case["problem"] in caught.value.problem
    assert Path(str(caught.value.file)).name == case["file"]
    assert caught.value.line == case["line"]


@pytest.mark.parametrize(("text", "line", "message"), TEMPLATES["findings"])
def test_findings(compiled: Compile, world: Path, text: str, line: int, message: str) -> None:
    """What is wrong but keeps nothing from running is found, with line and what to write."""
    template = compiled("{% extends 'npc.j2' %}" + text)
    template.render(VALUES)
    (found,) = template.findings(DECLARED, inside=world)
    assert message in found.message
    assert (found.file.name, found.line) == ("vale.md", line)


def test_nothing_is_found_where_nothing_is_wrong(compiled: Compile, world: Path) -> None:
    """Declared facts, fields, names a template sets itself, and plugins' files are all right."""
    template = compiled(
        "{% extends 'npc.j2' %}{# a comment #}\n{% set calm = npc.mood == 'calm' %}"
        "{% macro m(x) %}{{ x }}{{ varargs }}{% endmacro %}"
        "{% block voice %}{{ facts.hunger }}{{ player.reputation }}{{ player.name }}"
        "{{ game.night }}{{ npc.zone }}{{ lang_name }}{{ context.moon }}{{ world }}{{ m(1) }}"
        "{{ calm }}{{ intent }}{{ emotions }}"
        "{% for action in actions %}{{ loop.index }}{{ action.name }}{% endfor %}"
        "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}{{ facts[npc.mood] }}"
        "{% include 'mine.j2' %}{% endblock %}",
        mine="{{ calm }}{{ facts.hunger }}",
    )
    assert template.findings(DECLARED, inside=world) == []


def test_rendering_is_fast(compiled: Compile) -> None:
    """A turn's blocks take well under a millisecond."""
    template = compiled(
        "{% extends 'npc.j2' %}{% block voice %}{% if facts.hunger > 2 %}Hungry.{% endif %}"
        "{{ super() }}{% endblock %}"
    )
    best = min(timeit.repeat(lambda: template.render(VALUES), number=50, repeat=10)) / 50
    assert best < 1e-3


def test_files_that_may_be_missing(compiled: Compile) -> None:
    """`ignore missing`, and the first of several names that is there."""
    template = compiled(
        "{% extends 'npc.j2' %}{% block voice %}{% include 'no.j2' ignore missing %}"
        "{% include ['no.j2', 'parts/rules.j2'] %}{% endblock %}"
    )
    assert template.render(VALUES)[1] == ("voice", "Rules of Vale.")
