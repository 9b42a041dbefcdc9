"""Personas: front matter and template of one file, with errors in that file's lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.errors import PersonaError, TemplateError, WorldError
from palaver.prompt.library import Library
from palaver.world.persona import Persona, read_persona, sample_variables

BODY = "{% extends 'npc.j2' %}\n{% block identity %}{{ npc.name }} {{ facts.hunger }}{% endblock %}"
VALE = "name: Vale\nlast_words: Go.\n"
Read = Callable[..., Persona]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a persona and read it."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "personas").mkdir()
    (tmp_path / "templates" / "npc.j2").write_text("{% block identity %}{% endblock %}")

    def write_and_read(head: str, body: str = BODY) -> Persona:
        file = tmp_path / "personas" / "vale.md"
        file.write_text(f"---\n{head}\n---\n{body}")
        return read_persona(file, folder=tmp_path, library=Library([tmp_path / "templates"]))

    return write_and_read


def test_a_persona(read: Read) -> None:
    """Front matter, declared facts by whose they are, and the template."""
    persona = read(
        "name: Vale\nlast_words: Go.\nlang: de\nopen: x\nfacts:\n  hunger: 3\n  player:\n"
        "    reputation: neutral\n  game: {night: false, hour: 12:30, day: 2024-01-01}".replace(
            "open: x\n", ""
        )
    )
    assert (persona.id, persona.file.as_posix()) == ("vale", "personas/vale.md")
    assert (persona.front.name, persona.front.lang, persona.front.mood) == ("Vale", "de", "neutral")
    assert persona.facts == {"hunger": 3}
    assert persona.player_facts == {"reputation": "neutral"}
    assert persona.game_facts == {"night": False, "hour": "12:30", "day": "2024-01-01"}
    assert persona.declared == {
        "facts": ["hunger"],
        "player": ["reputation"],
        "game": ["night", "hour", "day"],
    }
    assert persona.template.render(sample_variables(persona)) == [("identity", "Vale 3")]
    assert persona.template.render({"npc": {"name": "V"}, "facts": {}}) == [("identity", "V")]


def test_the_version_is_of_everything(read: Read) -> None:
    """The version changes with front matter and body."""
    version = read("name: Vale\nlast_words: Go.").version
    assert read("name: Vale\nlast_words: Go.").version == version
    assert read("name: Vale\nlast_words: Go!").version != version
    assert read("name: Vale\nlast_words: Go.", BODY + "\n").version != version


@pytest.mark.parametrize(
    ("head", "line", "problem"),
    [
        (VALE + "moood: calm", 4, "`moood`: no such key; did you mean `mood`?"),
        ("name: Vale", 1, "`last_words`: is missing; add `last_words`, a text"),
        (VALE + "lang: no", 4, "`lang`: is False, but must be a text; put it"),
        ("name: Vale\nlast_words: ''", 3, "`last_words`: is '', but must not be empty"),
        (VALE + "sampling:\n  temperature: 3", 5, "`sampling.temperature`: is 3"),
        (VALE + "sampling:\n  topp: 1", 5, "did you mean `top_p`?"),
        (VALE + "emotions: glee", 4, "must be a list"),
        (VALE + "facts:\n  player: yes", 5, "put them below it, indented"),
        (VALE + "facts:\n  is hungry: 1", 5, "cannot be the name of a fact"),
        (VALE + "name: Other", 4, "`name` is there twice, first in line 2"),
        ("name: Vale\nlast_words: He said: go", 3, "put texts with a colon in quotes"),
        ("name: Vale\n\tlast_words: Go.", 3, "indent with spaces, not with tabs"),
        ("name: &a Vale\nlast_words: *a", 3, "not available here"),
        ("name: !!python/object:os.system x\nlast_words: Go.", 2, "this is not YAML"),
        ("name: [Vale\nlast_words: Go.", None, "this is not YAML"),
        ("- Vale", 2, "write lines of the form `name: value`"),
        (VALE + "facts:\n  a: !!binary aGk=", 5, "is no plain value"),
        (VALE + "facts:\n  a: " + "[" * 30 + "]" * 30, 5, "nested too deeply"),
    ],
)
def test_errors_of_front_matter(read: Read, head: str, line: int | None, problem: str) -> None:
    """Each mistake has its line in the file and says what to write."""
    with pytest.raises(PersonaError) as caught:
        read(head)
    assert problem in caught.value.problem
    if line is not None:
        assert caught.value.line == line


def test_all_errors_of_front_matter_at_once(read: Read) -> None:
    """Every wrong key is told, in the order of lines, and then the template's error."""
    with pytest.raises(PersonaError) as caught:
        read("nam: Vale\nlast_words: Go.\nteir: x\nlang: 5")
    errors = [caught.value, *caught.value.others]
    assert [error.line for error in errors] == [2, 4, 5]
    with pytest.raises(PersonaError) as caught:
        read("name: Vale", "{% extends 'npc.j2' %}\n{{ 1|uper }}")
    assert [error.line for error in (caught.value, *caught.value.others)] == [1, 5]


def test_file_without_front_matter(tmp_path: Path) -> None:
    """A file that does not begin with front matter, or does not end it, is told how to."""
    file = tmp_path / "vale.md"
    for text, problem in (("Hello.", "begin the file with"), ("---\nname: x\n", "does not end")):
        file.write_text(text)
        with pytest.raises(PersonaError, match=problem) as caught:
            read_persona(file, folder=tmp_path, library=Library([]))
        assert caught.value.line == 1


def test_template_lines_are_the_files_lines(read: Read) -> None:
    """An error of the template counts the front matter's lines."""
    with pytest.raises(TemplateError) as caught:
        read(
            "name: Vale\nlast_words: Go.",
            "{% extends 'npc.j2' %}\n{% block identity %}\n{{ 1 / 0 }}",
        )
    assert caught.value.line == 7
    with pytest.raises(TemplateError, match="divides by zero") as caught:
        read(
            "name: Vale\nlast_words: Go.",
            "{% extends 'npc.j2' %}\n{% block identity %}\n\n{{ 1 / 0 }}{% endblock %}",
        )
    assert caught.value.line == 8


def test_too_large(read: Read) -> None:
    """A persona has at most 64 kB."""
    with pytest.raises(WorldError, match="larger than 64,000 bytes"):
        read("name: Vale\nlast_words: Go.", BODY + "x" * 64_000)
