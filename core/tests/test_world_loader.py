"""Worlds: everything in a folder, with the last good version of what is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver.errors import ManifestError, TemplateError, WorldError
from palaver.world import loader
from palaver.world.loader import load_world
from palaver.world.manifest import check_weights, read_manifest
from palaver.world.world import World

PERSONA = "---\nname: Vale\nlast_words: Go.\n---\n{% extends 'npc.j2' %}\n"
MANIFEST = 'name = "vale"\nversion = "1"\nbase = "tiny"\npath = "vale-1"\nrank = 16\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small world with one of everything."""
    folder = tmp_path / "hollow"
    for name, text in {
        "personas/vale.md": PERSONA,
        "lines/vale.csv": "id,text,intent\na,Good evening.,greeting\n",
        "adapters/vale@1.toml": MANIFEST,
        "templates/npc.j2": "{% block identity %}You are {{ npc.name }}.{% endblock %}",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def load(folder: Path, previous: World | None = None) -> World:
    """Load the world."""
    return load_world(folder, trusted=False, previous=previous)


def test_a_world(folder: Path) -> None:
    """Personas, lines and manifests by name."""
    world = load(folder)
    assert (world.name, world.folder, world.trusted) == ("hollow", folder, False)
    assert list(world.personas) == ["vale"]
    assert world.personas["vale"].file == Path("personas/vale.md")
    assert [line.text for line in world.lines["vale"]] == ["Good evening."]
    assert world.adapters["vale@1"].path == folder / "adapters" / "vale-1"
    assert world.problems == ()
    assert load_world(folder, trusted=True, name="other").name == "other"


def test_plugins_templates_come_after_the_worlds_own(folder: Path, tmp_path: Path) -> None:
    """Base templates are found in plugins' folders; the world's own file wins."""
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    (plugin / "npc.j2").write_text("{% block identity %}plugin{% endblock %}")
    variables = {"npc": {"name": "Vale"}}
    world = load_world(folder, [plugin], trusted=False)
    assert world.personas["vale"].template.render(variables)[0][1] == "You are Vale."
    (folder / "templates" / "npc.j2").unlink()
    world = load_world(folder, [plugin], trusted=False)
    assert world.personas["vale"].template.render(variables)[0][1] == "plugin"


@pytest.mark.parametrize(
    ("file", "text", "line", "problem"),
    [
        ("personas/vale.md", PERSONA.replace("name", "nmae"), 2, "did you mean `name`?"),
        ("personas/vale.md", PERSONA + "{{ 1|uper }}", 6, "did you mean `upper`?"),
        ("personas/vale.md", "", 1, "begin the file with"),
        ("templates/npc.j2", "{% block identity %}\n{{ 1 / 0 }}{% endblock %}", 2, "by zero"),
        ("templates/npc.j2", "{% block identity %}", 1, "Unexpected end of template"),
        ("lines/vale.csv", "id,text,intent\na,Hi.,greting\n", 2, "did you mean `greeting`?"),
        ("lines/vale.csv", "", 1, "is empty"),
        ("adapters/vale@1.toml", MANIFEST + "rnak = 3", 6, "did you mean `rank`?"),
        ("adapters/vale@1.toml", MANIFEST + "x = ", 6, "this is not TOML"),
        ("adapters/vale@1.toml", MANIFEST.replace("1", "2"), None, "call the file vale@2.toml"),
    ],
)
def test_the_last_good_version_serves_on(
    folder: Path, file: str, text: str, line: int | None, problem: str
) -> None:
    """What is broken is reported with file and line; what was read before stays."""
    good = load(folder)
    (folder / file).write_text(text)
    world = load(folder, good)
    (found,) = world.problems
    assert problem in found.problem
    assert (found.file is not None, found.line) == (True, line)
    assert Path(str(found.file)) == folder / file
    assert world.personas["vale"].version == good.personas["vale"].version
    assert world.lines == good.lines
    assert world.adapters == good.adapters
    again = load(folder, world)
    assert [str(error) for error in again.problems] == [str(found)]
    assert again.personas.keys() == good.personas.keys()


def test_mended_files_are_read_again(folder: Path) -> None:
    """A mended file replaces the last good version, and its problem is gone."""
    good = load(folder)
    (folder / "personas" / "vale.md").write_text("---\n")
    broken = load(folder, good)
    (folder / "personas" / "vale.md").write_text(PERSONA.replace("Vale", "Valeria"))
    world = load(folder, broken)
    assert world.problems == ()
    assert world.personas["vale"].front.name == "Valeria"


def test_without_a_good_version(folder: Path) -> None:
    """At first a broken persona is not there, but of broken lines the right ones are."""
    (folder / "personas" / "vale.md").write_text("---\n")
    (folder / "lines" / "vale.csv").write_text("id,text,intent\na,Hi.,any\nb,Hi.,no\n")
    world = load(folder)
    assert world.personas == {}
    assert [line.id for line in world.lines["vale"]] == ["a"]
    assert len(world.problems) == 2


def test_files_that_go_are_gone(folder: Path) -> None:
    """A file that was removed is not kept alive; editors' own files are not read."""
    good = load(folder)
    (folder / "lines" / "vale.csv").unlink()
    (folder / "personas" / ".vale.md.swp.md").write_text("x")
    (folder / "personas" / "#vale.md").write_text("x")
    (folder / "personas" / "notes.txt").write_text("x")
    world = load(folder, good)
    assert world.lines == {}
    assert world.problems == ()


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there, or no world, is told with what to do."""
    with pytest.raises(WorldError, match="palaver init"):
        load(tmp_path / "nowhere")
    with pytest.raises(WorldError, match="holds no personas"):
        load(tmp_path)


def test_nothing_outside_is_read(folder: Path, tmp_path: Path) -> None:
    """Links that leave the folder are refused, for personas, lines and templates."""
    (tmp_path / "secret.csv").write_text("id,text,intent\na,swordfish,any\n")
    (tmp_path / "secret.j2").write_text("{% block identity %}swordfish{% endblock %}")
    (folder / "lines" / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "templates" / "npc.j2").unlink()
    (folder / "templates" / "npc.j2").symlink_to(tmp_path / "secret.j2")
    world = load(folder)
    assert "link" not in world.lines
    assert world.personas == {}
    assert len(world.problems) == 2
    assert all("leaves the folder" in str(problem) for problem in world.problems)
    assert any(isinstance(problem, TemplateError) for problem in world.problems)


def test_links_inside_are_followed(folder: Path, tmp_path: Path) -> None:
    """A link to another file of the world is fine, and so is a link to the whole world."""
    (folder / "lines" / "twin.csv").symlink_to(folder / "lines" / "vale.csv")
    (tmp_path / "alias").symlink_to(folder)
    world = load(tmp_path / "alias")
    assert [line.text for line in world.lines["twin"]] == ["Good evening."]
    assert world.problems == ()


def test_too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound, files of one kind are not read, and that is told."""
    monkeypatch.setattr(loader, "MAX_FILES", 3)
    for number in range(9):
        (folder / "personas" / f"p{number}.md").write_text(PERSONA)
    world = load(folder)
    assert len(world.personas) == 3
    assert "more than 3 files" in str(world.problems[0])


def test_several_errors_of_one_file(folder: Path) -> None:
    """All errors of one file are told, each once, though several personas use it."""
    (folder / "personas" / "other.md").write_text(PERSONA)
    (folder / "templates" / "npc.j2").write_text("{% block identity %}{{ 1|uper }}{% endblock %}")
    (folder / "lines" / "vale.csv").write_text("id,text,intent\n,a,any\n,b,any\n")
    world = load(folder)
    assert [problem.line for problem in world.problems] == [1, 2, 3]


def test_weights(folder: Path) -> None:
    """Weights are looked at on demand: they must be there, and be those of the hash."""
    file = folder / "adapters" / "vale@1.toml"
    manifest = read_manifest(file, folder=folder)
    with pytest.raises(ManifestError, match="put the weights there"):
        check_weights(manifest, file)
    weights = folder / "adapters" / "vale-1" / "adapter_model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    check_weights(manifest, file)
    file.write_text(MANIFEST + f'sha256 = "{"0" * 64}"\n')
    with pytest.raises(ManifestError, match="give changed weights a new version"):
        check_weights(read_manifest(file, folder=folder), file)
