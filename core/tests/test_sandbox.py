"""Templates get plain data, closed lists of what to do with it, and a counted budget."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, FileSystemLoader, FunctionLoader, TemplateSyntaxError
from jinja2.exceptions import TemplateError as JinjaError

from palaver.errors import TemplateError
from palaver.prompt.blame import template_error
from palaver.prompt.bounds import MAX_STEPS, metered
from palaver.prompt.sandbox import make_environment

DATA = Path(__file__).parent / "data"
TRICKS: dict[str, list[dict[str, Any]]] = yaml.safe_load((DATA / "tricks.yaml").read_text("utf-8"))
TEMPLATES: dict[str, list[Any]] = yaml.safe_load((DATA / "templates.yaml").read_text("utf-8"))
LARGE = {"DEEP": "(" * 500 + "1" + ")" * 500, "LONG": "1" + "+1" * 5000, "DIGITS": "9" * 5000}
each_escape = pytest.mark.parametrize("trick", TRICKS["escapes"], ids=lambda trick: trick["id"])
each_bomb = pytest.mark.parametrize("trick", TRICKS["bombs"], ids=lambda trick: trick["id"])


class Secretive:
    """An object that should never be in a template's reach, but might get there by mistake."""

    secret = "swordfish"

    def tell(self) -> str:
        return self.secret


def variables() -> dict[str, Any]:
    """Return what the tricks are tried on."""
    return {
        "facts": {"file": "../secret.txt", "module": "../module.j2"},
        "npc_object": Secretive(),
    }


def render(source: str, **values: Any) -> str:
    """Render in the sandbox; whatever goes wrong is a TemplateError."""
    try:
        return make_environment().from_string(source).render(values)
    except Exception as err:
        raise template_error(err, "test.j2") from err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of templates, and secrets beside it."""
    (tmp_path / "secret.txt").write_text("swordfish")
    (tmp_path / "module.j2").write_text("{% set word = 'swordfish' %}")
    templates = tmp_path / "templates"
    templates.mkdir()
    return templates


@each_escape
def test_escape_works_on_plain_jinja(trick: dict[str, Any], folder: Path) -> None:
    """Where nobody guards against it, the trick reaches what it is after."""

    def load(name: str) -> str:
        path = Path(name) if "/secret" not in name else folder.parent / "secret.txt"
        return (path if path.is_absolute() else folder / name).read_text()

    env = Environment(loader=FunctionLoader(load))
    source = trick.get("plain", trick["template"])
    assert trick["reaches"] in env.from_string(source).render(variables())


@each_escape
def test_escape_is_harmless(trick: dict[str, Any], folder: Path) -> None:
    """The sandbox refuses the trick with a line, or it renders to nothing of what it wanted."""
    values = variables()
    env = make_environment(FileSystemLoader(folder))
    try:
        text = env.from_string(trick["template"]).render(values)
    except (TemplateError, TemplateSyntaxError) as err:
        found = template_error(err, "test.j2")
        assert found.problem
        if not trick.get("files"):
            assert found.line == 1
        text = ""
    assert trick["reaches"] not in text
    assert values["facts"] == variables()["facts"]


@pytest.fixture(scope="module")
def set_off() -> dict[str, str]:
    """What each bomb does to Jinja's own sandbox."""
    if not sys.platform.startswith("linux"):
        pytest.skip("limits of memory and time for a process need Linux")
    bombs = {trick["id"]: trick["template"] for trick in TRICKS["bombs"]}
    done = subprocess.run(
        [sys.executable, str(DATA / "bombs.py")],
        input=json.dumps(bombs),
        capture_output=True,
        text=True,
        timeout=170,
        check=True,
    )
    outcomes: dict[str, str] = json.loads(done.stdout)
    return outcomes


@pytest.mark.timeout(180)  # a dozen seconds of processor time, on a machine that may be busy
@each_bomb
def test_bomb_works_on_jinjas_sandbox(trick: dict[str, Any], set_off: dict[str, str]) -> None:
    """Jinja's own sandbox runs out of memory or time."""
    assert set_off[trick["id"]] in ("memory", "time")


@each_bomb
def test_bomb_is_harmless(trick: dict[str, Any]) -> None:
    """Here it is refused, or does nothing, with little memory and always at the same step."""
    outcomes = set()
    tracemalloc.start()
    began = time.process_time()
    try:
        for _ in range(2):
            with metered() as budget:
                try:
                    outcomes.add((render(trick["template"]), budget.steps))
                except TemplateError as err:
                    outcomes.add((str(err), budget.steps))
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(outcomes) == 1
    assert all(len(text) < 300 for text, _ in outcomes)
    assert peak < 16_000_000
    # Counted, so not a matter of time; but slow would be a bomb, too (tracing slows this down).
    assert time.process_time() - began < 10


def test_there_are_enough_tricks() -> None:
    """At least forty, memory and time bombs among them, each with a name of its own."""
    names = [trick["id"] for tricks in TRICKS.values() for trick in tricks]
    assert len(names) >= 40
    assert len(set(names)) == len(names)
    assert len(TRICKS["bombs"]) >= 20


@pytest.mark.parametrize("source", TEMPLATES["same"])
def test_means_what_jinja_means(source: str) -> None:
    """What is allowed does the same as in plain Jinja."""
    values = {
        "d": {"k": 5, "z": "y"},
        "people": [{"name": "Ada", "age": 36}, {"name": "Bo", "age": 9}, {"name": "Cy", "age": 36}],
        "tree": [{"n": 1, "c": [{"n": 2}, {"n": 3, "c": [{"n": 4}]}]}, {"n": 5}],
    }
    assert render(source, **values) == Environment().from_string(source).render(values)


@pytest.mark.parametrize(
    "source",
    [
        *("x > 3", "x < 3", "x >= 3", "x <= 3", "3 > x", "3 < x", "x > y", "none > 3", "3 < none"),
        *("x == 1", "x == none", "x in [1]", "1 in x", "1 in none", "1 in 5", "'a' < 1", "[1] < 2"),
        *("x.y.z", "x[0]", "x['a'].b", "d.nope", "d.nope.deeper > 1", "x and true", "x + 1 > 0"),
        *(
            "-x",
            "x * 2 == 0",
            "x|length",
            "x|int",
            "x|list",
            "x|sum",
            "x|first",
            "x|abs",
            "x|round",
        ),
    ],
)
def test_missing_values_are_false(source: str) -> None:
    """What is missing, none or cannot be compared is false and raises nothing."""
    assert render(f"{{{{ 1 if {source} else 0 }}}}", d={}) == "0"


@pytest.mark.parametrize(("source", "text"), TEMPLATES["empty"])
def test_missing_values_are_empty(source: str, text: str) -> None:
    """What is missing or none renders as nothing, and so does all that is asked of it."""
    assert render(source) == text


def test_facts_come_before_methods() -> None:
    """A fact may have the name of a method."""
    assert (
        render(
            "{{ f.count }}{{ f.items }}{{ f.keys|join }}", f={"count": 3, "items": "i", "keys": "k"}
        )
        == "3ik"
    )


@pytest.mark.parametrize(("source", "problem", "line"), TEMPLATES["errors"])
def test_errors_name_the_line(source: str, problem: str, line: int | None) -> None:
    """Whatever goes wrong is a TemplateError that says what to write, and where."""
    for word, large in LARGE.items():
        source = source.replace(word, large)
    with pytest.raises(TemplateError) as caught:
        render(source)
    assert problem in caught.value.problem
    if line is not None:
        assert caught.value.line == line


def test_lists_are_closed() -> None:
    """The environment has no filter, test or function that nobody thought about."""
    env = make_environment()
    jinjas = Environment()
    assert set(env.globals) == {"range", "dict", "namespace"}
    assert set(env.filters) <= set(jinjas.filters)
    assert not {"attr", "format", "center", "safe", "random", "pprint"} & set(env.filters)
    assert not {"callable", "filter", "test", "escaped"} & set(env.tests)


def test_output_is_bounded() -> None:
    """256 kB of output are enough for everybody, also where no single text is large."""
    assert len(render("{% for i in range(255) %}" + "a" * 1000 + "{% endfor %}")) == 255_000
    with pytest.raises(TemplateError, match="at most 256,000"):
        render("{% for i in range(257) %}" + "a" * 1000 + "{% endfor %}")


def test_budgets_are_per_render() -> None:
    """A costly template can be rendered again and again: each render has a budget of its own."""
    template = make_environment().from_string(
        "{% for i in range(900) %}{{ i }}{{ i * 2 }}{% endfor %}"
    )
    assert len({template.render() for _ in range(20)}) == 1
    with metered() as budget:
        template.render()
    assert budget.steps == MAX_STEPS


def test_outside_a_budget_nothing_runs() -> None:
    """Rendering around the budget, as Jinja's `generate` would, is an error, not a hole."""
    template = make_environment().from_string("{% for i in range(9) %}{{ i }}{% endfor %}")
    with pytest.raises((LookupError, JinjaError)):
        "".join(template.generate())
