"""What came out of the tox environments: counts and skip reasons from pytest's JUnit files."""

from __future__ import annotations

import ast
import fnmatch
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

PASSED, FAILED, LEFT_OUT = "passed", "FAILED", "left out"


@dataclass
class Result:
    """One environment: how it ended, what pytest counted in it, why something was left out."""

    env: str
    state: str = PASSED
    seconds: float = 0.0
    note: str = ""
    passed: int = 0
    failed: int = 0
    skips: Counter[str] = field(default_factory=Counter)

    @property
    def skipped(self) -> int:
        """How many tests were skipped."""
        return self.skips.total()


def skip_reason(skipped: ET.Element) -> str:
    """Returns the reason a person wrote, from pytest's element for a skipped test."""
    message = skipped.get("message") or "no reason given"
    if message == "collection skipped":
        # A whole module: the text is a tuple (path, line, "Skipped: reason") in Python's writing.
        try:
            message = str(ast.literal_eval(skipped.text or "")[2])
        except (ValueError, SyntaxError, IndexError):
            message = skipped.text or message
    if skipped.get("type") == "pytest.xfail":
        message = f"expected to fail: {message}"
    return message.removeprefix("Skipped: ").strip()


def read_junit(path: Path, result: Result) -> None:
    """Adds the counts of one JUnit file to `result`; a missing file adds nothing."""
    if not path.exists():
        return
    for case in ET.parse(path).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed += 1
        elif skipped is not None:
            result.skips[skip_reason(skipped)] += 1
        else:
            result.passed += 1


def left_out(results: list[Result]) -> list[tuple[list[str], str]]:
    """Returns what was not run as pairs: keys to match with the allowed list, and a sentence.

    Keys are `env NAME` for an environment and `skip REASON` for tests.
    """
    envs: dict[str, list[str]] = {}
    skips: dict[str, list[Result]] = {}
    for result in results:
        if result.state == LEFT_OUT:
            envs.setdefault(result.note, []).append(result.env)
        for reason in result.skips:
            skips.setdefault(reason, []).append(result)
    found = [
        ([f"env {name}" for name in names], f"{', '.join(names)}: {note}")
        for note, names in envs.items()
    ]
    for reason, where in skips.items():
        count = sum(result.skips[reason] for result in where)
        names = ", ".join(result.env for result in where)
        found.append(([f"skip {reason}"], f"{count} test{'s'[: count > 1]} in {names}: {reason}"))
    return found


def read_allowed(path: Path) -> dict[str, str]:
    """Reads the list of what CI may leave out: lines `env NAME | why` or `skip REASON | why`.

    NAME and REASON may hold `*`.

    Raises:
        SystemExit: A line has no reason.
    """
    allowed: dict[str, str] = {}
    if not path.exists():
        return allowed
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, _, why = (part.strip() for part in line.partition("|"))
        if not why or not pattern.startswith(("env ", "skip ")):
            raise SystemExit(f"{path}:{number}: write `env NAME | why` or `skip REASON | why`")
        allowed[pattern] = why
    return allowed


def not_allowed(found: list[tuple[list[str], str]], allowed: Iterable[str]) -> list[str]:
    """Returns the keys of what was left out though no pattern allows it."""
    keys = [key for group, _ in found for key in group]
    return [key for key in keys if not any(fnmatch.fnmatchcase(key, name) for name in allowed)]


def table(results: list[Result]) -> str:
    """Returns the results as a table of plain text."""
    rows = [("environment", "result", "passed", "failed", "skipped", "seconds")]
    for r in results:
        counted = bool(r.passed or r.failed or r.skipped)
        numbers = (str(r.passed), str(r.failed), str(r.skipped)) if counted else ("", "", "")
        rows.append((r.env, r.state, *numbers, f"{r.seconds:.1f}" if r.seconds else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = []
    for row in rows:
        words = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        words += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(words).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def totals(results: list[Result]) -> str:
    """Returns pytest's totals over all environments: `N passed, N failed, N skipped`."""
    passed = sum(r.passed for r in results)
    failed = sum(r.failed for r in results)
    skipped = sum(r.skipped for r in results)
    return f"{passed} passed, {failed} failed, {skipped} skipped"
