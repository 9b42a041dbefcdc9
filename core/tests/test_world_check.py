"""`palaver check`: everything wrong with a world that can be seen without running it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from palaver.chain.backend import BackendSettings, BackendType
from palaver.config.load import load_settings
from palaver.world.check import Problem, check_world
from palaver.world.lines import INTENTS
from palaver.world.loader import load_world

HEAD = "name: Vale\nlast_words: Go.\nfacts:\n  hunger: 3\n  player:\n    reputation: neutral"
BODY = "{% extends 'npc.j2' %}\n"
LINES = "id,text,intent,mood,when,lang\n" + "".join(
    f"{intent},Yes.,{intent},,,\n" for intent in INTENTS
)
MANIFEST = 'name = "vale"\nversion = "1"\nbase = "tiny"\npath = "vale-1"\nrank = 16\n'


class ModelSettings(BackendSettings):
    """Settings of a type that uses adapters."""

    model: str | None = Field(default=None)
    adapters: Literal["auto", "off"] = Field(default="auto")


def no_backend(*_: Any) -> Any:
    """Checking makes no backend."""
    raise AssertionError


TYPES = {
    "static": BackendType("static", BackendSettings, no_backend, instant=True),
    "model": BackendType("model", ModelSettings, no_backend),
}
Check = Callable[..., list[Problem]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Write a world and check it: files by name, `None` removes one."""

    def write_and_check(
        head: str = HEAD, body: str = BODY, toml: str = "", types: Any = TYPES, **files: str | None
    ) -> list[Problem]:
        folder = tmp_path / "world"
        plugin = tmp_path / "plugin"
        plugin.mkdir(exist_ok=True)
        (plugin / "npc.j2").write_text(
            "{% block identity %}{{ npc.name }}{% endblock %}{% block voice %}{% endblock %}"
            "{% block situation %}{{ npc.mood }}{% endblock %}"
        )
        everything: dict[str, str | None] = {
            "personas/vale.md": f"---\n{head}\n---\n{body}",
            "lines/vale.csv": LINES,
            "palaver.toml": toml,
            **{name.replace("__", "/").replace("_dot_", "."): text for name, text in files.items()},
        }
        for name, text in everything.items():
            if text is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
        world = load_world(folder, [plugin], trusted=True)
        return check_world(world, load_settings(folder / "palaver.toml"), types)

    return write_and_check


def test_nothing_is_wrong(check: Check) -> None:
    """A world that is all right has no problems."""
    assert check() == []


@pytest.mark.parametrize(
    ("changes", "severity", "file", "line", "message"),
    [
        ({"body": "{{ 1|uper }}"}, "error", "vale.md", 9, "did you mean `upper`?"),
        ({"body": BODY + "Lost."}, "error", "vale.md", 10, "this text is in no block"),
        (
            {"body": BODY + "{% block situation %}{{ facts.thirst }}{% endblock %}"},
            *("error", "vale.md", 10, "`facts.thirst` is not declared"),
        ),
        ({"head": HEAD + "\ntier: elit"}, "error", "vale.md", None, "did you mean `elite`?"),
        ({"head": HEAD + "\nlines: vail"}, "error", "vale.md", None, "did you mean `vale`?"),
        (
            {"head": HEAD + "\nadapter: vale@2", "adapters__vale@1_dot_toml": MANIFEST},
            *("error", "vale.md", None, "no manifest adapters/vale@2.toml; did you mean `vale@1`?"),
        ),
        (
            {"toml": '[backends.a]\ntype = "modle"'},
            *("error", "palaver.toml", None, "did you mean `model`?"),
        ),
        (
            {"toml": '[backends.a]\ntype = "model"\nmodl = "x"'},
            *("error", "palaver.toml", 3, "did you mean `model`?"),
        ),
        (
            {"toml": '[backends.mine]\ntype = "model"\n[tiers.x]\nchain = ["mime", "static"]'},
            *("warning", "palaver.toml", None, "'mime' is not configured and skipped"),
        ),
        ({"types": {}}, "error", "vale.md", None, "only has its last words"),
        (
            {"lines__vale_dot_csv": "id,text,intent\na,Hi.,greeting\n"},
            *("warning", "vale.csv", None, "no line that always fits for `threat`, `trade`"),
        ),
        (
            {"lines__vale_dot_csv": LINES.replace("Yes.,silence,,,", "Yes.,silence,calm,,")},
            *("warning", "vale.csv", None, "no line that always fits for `silence`"),
        ),
        (
            {"lines__vale_dot_csv": LINES + "x,Hi.,any,,facts.hungre > 3,\n"},
            *("error", "vale.csv", 11, "did you mean `facts.hunger`?"),
        ),
        ({"head": HEAD + "\nlang: fr"}, "warning", "vale.csv", None, "no line in the language"),
        ({"lines__vail_dot_csv": LINES}, "warning", "vail.csv", None, "did you mean `vale`?"),
        ({"personas__b_dot_markdown": "x"}, "warning", "b.markdown", None, "is not read"),
        (
            {"body": BODY + "\n{% block voice %}\n{{ player.reputation }}{% endblock %}"},
            *("warning", "vale.md", 12, "block `voice` stands at the beginning of the prompt"),
        ),
        (
            {"body": BODY + "{% block voice %}{{ npc.mood }}{% endblock %}"},
            *("warning", "vale.md", 10, "uses `npc.mood`"),
        ),
        (
            {
                "body": BODY + "{% block voice %}{% include 'mine.j2' %}{% endblock %}",
                "templates__mine_dot_j2": "{{ facts.hunger }}",
            },
            *("warning", "vale.md", 10, "uses `facts.hunger`"),
        ),
        (
            {"body": BODY + "{% set m = npc.mood %}\n{% block voice %}{{ m }}{% endblock %}"},
            *("warning", "vale.md", 11, "uses what changes"),
        ),
        (
            {"adapters__vale@1_dot_toml": MANIFEST},
            *("error", "vale@1.toml", None, "put the weights there"),
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)  # fmt: skip
def test_problems(
    check: Check, changes: dict[str, Any], severity: str, file: str, line: int | None, message: str
) -> None:
    """Each problem is found with its file, line and what to write."""
    found = [problem for problem in check(**changes) if message in problem.message]
    (problem,) = found
    assert (problem.severity, problem.file.name, problem.line) == (severity, file, line)


def test_no_lines(check: Check) -> None:
    """A persona without authored lines is a warning that names the file to write."""
    (problem,) = check(lines__vale_dot_csv=None)
    assert problem.severity == "warning"
    assert "write lines/vale.csv" in problem.message


def test_a_line_that_looks_like_a_template(check: Check) -> None:
    """A line with braces is a warning: players would read them."""
    line = 'a,"Hello {{ player.name }}.",any\n'
    (problem,) = check(lines__vale_dot_csv=f"id,text,intent\n{line}")
    assert (problem.severity, problem.line) == ("warning", 2)
    assert "write plain text" in problem.message


def test_broken_lines_are_told_once(check: Check) -> None:
    """Lines that cannot be read at all are one problem, not also missing."""
    (problem,) = check(lines__vale_dot_csv="id,txt\n")
    assert "did you mean `text`?" in problem.message


def test_an_adapter_of_another_model(check: Check) -> None:
    """An adapter that was made for another model than the chain's backend serves is an error."""
    world = {
        "head": HEAD + "\nadapter: vale@1\ntier: elite",
        "adapters__vale@1_dot_toml": MANIFEST,
        "adapters__vale-1__adapter_model_dot_safetensors": "weights",
    }
    backend = '[backends.local]\ntype = "model"\nmodel = "{}"\n'
    assert check(toml=backend.format("tiny"), **world) == []
    (problem,) = check(toml=backend.format("large"), **world)
    assert problem.severity == "error"
    assert "made for the model 'tiny', but the backend 'local' serves 'large'" in problem.message
    assert check(toml=backend.format("large") + 'adapters = "off"', **world) == []


def test_problems_read_as_file_line_message(check: Check) -> None:
    """A problem as text is what an editor can jump to."""
    (problem,) = check(body=BODY + "Lost.")
    assert str(problem).startswith(f"{problem.file}:10: this text is in no block")


def test_a_type_says_what_does_not_go_together(check: Check) -> None:
    """A type sees all its backends whose settings are right, and its words are warnings."""

    def look(backends: Any) -> Any:
        models = {name: settings.model for name, settings in backends.items()}
        yield f"{models} share a server; give each its own"

    kind = BackendType("model", ModelSettings, no_backend, check=look)
    toml = (
        '[backends.a]\ntype = "model"\nmodel = "x"\n[backends.b]\ntype = "model"\nmodel = "y"\n'
        '[backends.c]\ntype = "model"\nmodle = "z"\n'
    )
    found = check(toml=toml, types={**TYPES, "model": kind})
    (warning,) = [one for one in found if "share a server" in one.message]
    assert warning.message == "{'a': 'x', 'b': 'y'} share a server; give each its own"
    assert (warning.severity, warning.file.name) == ("warning", "palaver.toml")
    assert not any("share a server" in one.message for one in check(types={"model": kind}))


def test_a_type_that_cannot_say_it_hides_nothing(check: Check) -> None:
    """A plugin's bug in looking at its backends is told, and so is everything else."""

    def look(backends: Any) -> Any:
        raise LookupError("oops")

    kind = BackendType("model", ModelSettings, no_backend, check=look)
    found = check(
        toml='[backends.a]\ntype = "model"\n', types={**TYPES, "model": kind}, head="x: 1"
    )
    assert any("'model' failed to look" in one.message and "oops" in one.message for one in found)
    assert any(one.severity == "error" for one in found)


def test_a_tier_with_fillers_wants_filler_lines(check: Check) -> None:
    """A persona without fillers, in a tier that speaks some, is a warning; with some it is not."""
    toml = "[tiers.elite]\nfiller_ms = 900\n"
    told = [problem for problem in check(toml=toml) if "filler" in problem.message]
    assert [(one.severity, one.file.name) for one in told] == [("warning", "vale.csv")]
    assert "900 ms" in told[0].message
    lines = LINES + "wait,Hm.,filler,,,\n"
    found = check(toml=toml, **{"lines/vale.csv": lines})
    assert not [problem for problem in found if "filler" in problem.message]
