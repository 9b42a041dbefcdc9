"""The test command counts what pytest counts, and lets nothing be left out unseen."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"
SUITE = """
import pytest

@pytest.mark.parametrize("n", [1, 2, 3])
def test_passes(n):
    pass

@pytest.mark.skip(reason="no dragon on this machine")
def test_skipped():
    pass

def test_skipped_inside():
    pytest.skip("no dragon on this machine")

@pytest.mark.xfail(reason="dragons cannot swim")
def test_expected():
    assert False

@pytest.fixture
def broken():
    raise RuntimeError

def test_error(broken):
    pass

def test_fails():
    assert False
"""
MODULE = 'import pytest\npytest.skip("no castle here", allow_module_level=True)\n'


@pytest.fixture(scope="module")
def report() -> Any:
    """The module `tools/report.py`."""
    spec = importlib.util.spec_from_file_location("report", TOOLS / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["report"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def junit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with a test of every outcome."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_all.py").write_text(SUITE, encoding="utf-8")
    (folder / "test_module.py").write_text(MODULE, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml=report.xml"],
        cwd=folder,
        env=os.environ | {"PYTEST_ADDOPTS": "-W ignore"},
        capture_output=True,
        timeout=100,
    )
    return folder / "report.xml"


def test_every_outcome_is_counted(report: Any, junit: Path) -> None:
    """Failures and errors are failed; skips are counted by the reason that a person wrote."""
    result = report.Result("py311-core")
    report.read_junit(junit, result)
    assert (result.passed, result.failed, result.skipped) == (3, 2, 4)
    assert result.skips == Counter(
        {
            "no dragon on this machine": 2,
            "expected to fail: dragons cannot swim": 1,
            "no castle here": 1,
        }
    )
    assert report.totals([result, result]) == "6 passed, 4 failed, 8 skipped"


def test_what_is_left_out_is_named_with_its_reason(report: Any, junit: Path) -> None:
    """Environments and tests that did not run are listed, one line for each reason."""
    ran = report.Result("py311-core")
    report.read_junit(junit, ran)
    away = [report.Result(name, report.LEFT_OUT, note="for hours") for name in ("soak", "train")]
    said = [sentence for _, sentence in report.left_out([ran, *away])]
    assert said[0] == "soak, train: for hours"
    assert "2 tests in py311-core: no dragon on this machine" in said


def test_strict_accepts_only_what_the_list_names(report: Any, junit: Path, tmp_path: Path) -> None:
    """A skip that no pattern of the list matches is a failure."""
    ran = report.Result("py311-core")
    report.read_junit(junit, ran)
    listed = tmp_path / "allowed.txt"
    listed.write_text(
        "# comment\nskip no dragon* | dragons are rare\nskip expected to fail: * | known\n",
        encoding="utf-8",
    )
    found = report.left_out([ran])
    assert report.not_allowed(found, report.read_allowed(listed)) == ["skip no castle here"]


def test_a_line_of_the_list_needs_a_reason(report: Any, tmp_path: Path) -> None:
    """A line without a reason is refused with its number."""
    listed = tmp_path / "allowed.txt"
    listed.write_text("env soak\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"allowed\.txt:1: write"):
        report.read_allowed(listed)
