"""The workspace's files agree with each other."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def read(path: Path) -> dict[str, Any]:
    """The content of a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


ROOT_TOML = read(ROOT / "pyproject.toml")
MEMBERS = sorted(
    path.parent.relative_to(ROOT)
    for pattern in ROOT_TOML["tool"]["uv"]["workspace"]["members"]
    for path in ROOT.glob(f"{pattern}/pyproject.toml")
)
each_member = pytest.mark.parametrize("member", MEMBERS, ids=str)


def lines(name: str) -> list[str]:
    """The lines of a file, without comments."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def name_of(requirement: str) -> str:
    """The name in a requirement."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def grouped(group: str) -> set[str]:
    """The requirements of a dependency group, with those of the groups in it."""
    found: set[str] = set()
    for item in ROOT_TOML["dependency-groups"][group]:
        found |= {item} if isinstance(item, str) else grouped(item["include-group"])
    return found


def test_pip_installs_every_member() -> None:
    """requirements.txt and requirements-dev.txt name every member."""
    assert sorted(lines("requirements.txt")) == sorted(f"./{m.as_posix()}" for m in MEMBERS)
    editable = [line for line in lines("requirements-dev.txt") if line.startswith("-e ")]
    assert sorted(line.removesuffix("[testing]") for line in editable) == sorted(
        f"-e ./{m.as_posix()}" for m in MEMBERS
    )


def test_pip_and_uv_install_the_same_tools() -> None:
    """requirements-dev.txt repeats the dependency group `dev`."""
    tools = {line for line in lines("requirements-dev.txt") if not line.startswith("-")}
    assert tools == grouped("dev")


@each_member
def test_a_member_has_the_shape_of_the_others(member: Path) -> None:
    """A member has the version, licence, types marker and folders that all have."""
    project = read(ROOT / member / "pyproject.toml")["project"]
    package = ROOT / member / "src" / project["name"].replace("-", "_")
    assert (package / "py.typed").exists()
    assert (ROOT / member / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (ROOT / member / "README.md").exists()
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert project["dynamic"] == ["version"]
    assert (ROOT / member / "tests").is_dir()


@each_member
def test_a_member_is_named_where_members_are_named(member: Path) -> None:
    """The settings of uv, pytest and tox name every member."""
    name = read(ROOT / member / "pyproject.toml")["project"]["name"]
    assert name in ROOT_TOML["tool"]["uv"]["sources"]
    assert f"{member.as_posix()}/tests" in ROOT_TOML["tool"]["pytest"]["ini_options"]["testpaths"]
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    assert f"-e {{tox_root}}/{member.as_posix()}" in tox["all"]["members"]
    assert f"mypy {member.as_posix()}/src" in tox["testenv:type"]["commands"]
    short = name.removeprefix("palaver-") if name != "palaver" else "core"
    commands = [
        row for row in tox["testenv"]["commands"].splitlines() if row.startswith(f"{short}:")
    ]
    assert [f"{member.as_posix()}/tests" in row for row in commands] == [True]


@each_member
def test_a_member_bounds_its_dependencies_from_below(member: Path) -> None:
    """Every direct dependency has a lower bound; plugins accept one minor version of the core."""
    project = read(ROOT / member / "pyproject.toml")["project"]
    for requirement in project["dependencies"]:
        assert ">=" in requirement, requirement
        if name_of(requirement) == "palaver":
            assert requirement == "palaver>=0.1,<0.2"
        else:
            assert not name_of(requirement).startswith("palaver"), "plugins import no plugin"


def test_members_carry_one_version() -> None:
    """All members carry one version."""
    found = {}
    for member in MEMBERS:
        source = read(ROOT / member / "pyproject.toml")["tool"]["hatch"]["version"]["path"]
        text = (ROOT / member / source).read_text(encoding="utf-8")
        found[str(member)] = re.findall(r'(?m)^__version__ = "(.+)"$', text)
    assert set(map(tuple, found.values())) == {("0.1.0",)}, found


def test_constraints_pin_all_that_ci_installs() -> None:
    """Pins exist for what members and tools ask for; `python tools/constraints.py` makes them."""
    pinned = {name_of(line) for line in lines("constraints.txt")}
    wanted = {name_of(item) for item in grouped("dev") | grouped("docs")}
    for member in MEMBERS:
        project = read(ROOT / member / "pyproject.toml")["project"]
        wanted |= {name_of(item) for item in project["dependencies"]}
    assert {name for name in wanted - pinned if not name.startswith("palaver")} == set()


def test_constraints_hold_names_and_versions_only() -> None:
    """No address and no path stands in constraints.txt."""
    for line in lines("constraints.txt"):
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[^\s/:]+( ;.*)?", line), line


def test_every_skip_that_ci_allows_has_a_reason() -> None:
    """Each line of the allowed list is `env NAME | why` or `skip REASON | why`."""
    for line in lines(".ci/allowed-to-skip.txt"):
        assert re.fullmatch(r"(env|skip) .+ \| .{10,}", line), line
