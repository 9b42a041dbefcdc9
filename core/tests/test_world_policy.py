"""`palaver check` on tiers, prices and ceilings: what cannot be meant is told before serving."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendSettings, BackendType
from palaver.config.load import load_settings, parse_backend
from palaver.world.check import check_world
from palaver.world.loader import load_world
from palaver.world.policy import Policy, check_policy

TODAY = date(2026, 11, 21)


class CloudSettings(BackendSettings):
    """Settings of a type that costs money."""

    model: str | None = None


def no_backend(*_: Any) -> Any:
    """Checking makes no backend."""
    raise AssertionError


STATIC = BackendType("static", BackendSettings, no_backend, instant=True)
TYPES = {
    "static": STATIC,
    "model": BackendType("model", BackendSettings, no_backend),
    "cloud": BackendType("cloud", CloudSettings, no_backend, paid=True),
}
BACKENDS = """
[backends.local]
type = "model"
[backends.fast]
type = "cloud"
model = "gpt-6-luna"
[spend]
usd_per_day = 10
"""


def findings(
    tmp_path: Path, toml: str, types: dict[str, BackendType] = TYPES, today: date = TODAY
) -> list[str]:
    """Return what is found in a `palaver.toml`, as `error: ...` and `warning: ...`."""
    file = tmp_path / "palaver.toml"
    file.write_text(toml, encoding="utf-8")
    settings = load_settings(file)
    backends = {
        name: parse_backend(name, table, types[table["type"]])
        for name, table in settings.backends.items()
        if table["type"] in types
    }
    found = check_policy(Policy(settings, types, backends, today))
    return [f"{one.severity}: {one.message}" for one in found]


def test_what_is_shipped_is_in_order(tmp_path: Path) -> None:
    """The default tiers have nothing to mend, with and without models."""
    assert findings(tmp_path, "") == []
    assert findings(tmp_path, BACKENDS) == []


@pytest.mark.parametrize(
    ("tier", "found"),
    [
        ('chain = ["local"]', "error: tiers.t.chain: does not end with authored lines"),
        ('chain = ["static", "local"]', "warning: tiers.t.chain: `static` always answers"),
        ('chain = ["local", "local", "static"]', "warning: tiers.t.chain: names a backend twice"),
        ("first_text_ms = 20_000", "error: tiers.t.first_text_ms: 20,000 ms is more than total_ms"),
        ("stall_ms = 20_000", "warning: tiers.t.stall_ms: 20,000 ms is more than total_ms"),
        (
            "first_token_ms = 2_000",
            "error: tiers.t.first_token_ms: 'local' has 2,000 ms for its first word",
        ),
        (
            "first_token_ms = 1_500",
            "warning: tiers.t.first_token_ms: 'local' may take all of first_text_ms",
        ),
        (
            "first_token_ms = { locl = 400 }",
            "warning: tiers.t.first_token_ms.locl: 'locl' is not in the chain; did you mean",
        ),
        ("filler_ms = 1_500", "error: tiers.t.filler_ms: 1,500 ms is not before first_text_ms"),
        ('first_meeting = "t"', "error: tiers.t.first_meeting: names the tier itself"),
        ('first_meeting = "stori"', "error: tiers.t.first_meeting: there is no tier 'stori'"),
        ("usd_per_day = 11", "warning: tiers.t.usd_per_day: $11 is more than usd_per_day"),
    ],
    ids=lambda value: value.split(" ")[0] if "=" in value else "",
)
def test_a_tier_that_cannot_be_meant(tmp_path: Path, tier: str, found: str) -> None:
    """Each is told with its key, and nothing else is."""
    chain = "" if tier.startswith("chain") else 'chain = ["local", "fast", "static"]\n'
    told = findings(tmp_path, f"{BACKENDS}[tiers.t]\n{chain}{tier}\n")
    assert any(one.startswith(found) for one in told), told
    assert {one.split(":")[1].split(".")[1] for one in told} == {"t"}


def test_the_last_of_those_that_are_there(tmp_path: Path) -> None:
    """Names that are not configured do not count: what is left must end with authored lines."""
    chain = '[tiers.t]\nchain = ["fast", "static", "premium"]\n'
    assert findings(tmp_path, BACKENDS + chain) == []


def test_no_authored_lines_at_all(tmp_path: Path) -> None:
    """Where no plugin brings any that is said once, not for every tier."""
    types = {name: kind for name, kind in TYPES.items() if name != "static"}
    (told,) = findings(tmp_path, BACKENDS, types)
    assert "install palaver-static" in told


def test_meetings_in_a_circle(tmp_path: Path) -> None:
    """Told once, with all its steps."""
    tiers = "".join(
        f'[tiers.{one}]\nchain = ["static"]\nfirst_meeting = "{other}"\n'
        for one, other in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"))
    )
    (told,) = findings(tmp_path, tiers)
    assert "a → b → c → a" in told


def test_a_price_is_missing(tmp_path: Path) -> None:
    """An error for a type that costs money; its own price, or that of one's table, mends it."""
    unknown = BACKENDS.replace("gpt-6-luna", "unheard-of")
    (told,) = findings(tmp_path, unknown)
    assert told.startswith("error: backends.fast: costs money, but no price is known")
    own = 'model = "unheard-of"\nusd_per_m_prompt = 1\nusd_per_m_completion = 2'
    assert findings(tmp_path, unknown.replace('model = "unheard-of"', own)) == []
    (tmp_path / "mine.toml").write_text('[[model]]\nmatch="un*"\nprompt=1\ncompletion=2\n')
    assert findings(tmp_path, unknown + 'prices = "mine.toml"\n') == []


def test_a_price_of_long_ago(tmp_path: Path) -> None:
    """After a year the shipped table is no longer to be trusted."""
    assert findings(tmp_path, BACKENDS, today=date(2027, 9, 1)) == []
    (told,) = findings(tmp_path, BACKENDS, today=date(2027, 12, 1))
    assert told.startswith("warning: backends.fast: its price is of 2026-")


def test_a_price_table_that_cannot_be_used(tmp_path: Path) -> None:
    """It is named, and the shipped one still serves for the rest of the checks."""
    (told,) = findings(tmp_path, BACKENDS + 'prices = "nowhere.toml"\n')
    assert told.startswith("error: spend.prices:")
    assert "nowhere.toml" in told


def test_a_closed_tap_is_meant(tmp_path: Path) -> None:
    """`usd_per_day = 0` turns spending off in a hurry, whatever the other ceilings are."""
    toml = BACKENDS.replace("usd_per_day = 10", "usd_per_day = 0\nusd_per_player_day = 0.5")
    assert findings(tmp_path, f"{toml}[tiers.elite]\nusd_per_day = 3\n") == []


@pytest.mark.parametrize("key", ["usd_per_player_day", "usd_per_session"])
def test_ceilings_that_cannot_be_reached(tmp_path: Path, key: str) -> None:
    """A player cannot spend more than all of them together."""
    (told,) = findings(tmp_path, f"{BACKENDS}{key} = 11\n")
    assert told.startswith(f"error: spend.{key}: $11 is more than usd_per_day, $10")


def test_no_ceiling(tmp_path: Path) -> None:
    """What costs money without a ceiling is worth a warning, unless spending is off."""
    open_ended = BACKENDS.replace("usd_per_day = 10", "")
    (told,) = findings(tmp_path, open_ended)
    assert told.startswith("warning: spend: there is a backend that costs money, and no ceiling")
    assert findings(tmp_path, open_ended + 'mode = "off"\n') == []
    assert findings(tmp_path, open_ended + "[tiers.elite]\nusd_per_day = 3\n") == []


def test_in_a_world(palaver_world: Path) -> None:
    """`palaver check` tells it with file and line, as an error."""
    toml = palaver_world / "palaver.toml"
    toml.write_text('[tiers.t]\nchain = ["local", "static"]\nfirst_text_ms = 20_000\n')
    problems = check_world(load_world(palaver_world, (), trusted=True), load_settings(toml), TYPES)
    told = [one for one in problems if "first_text_ms" in one.message]
    assert [(one.file.name, one.line, one.severity) for one in told] == [(toml.name, 3, "error")]


@pytest.mark.parametrize(
    ("judge", "words"),
    [("fast", ""), ("fats", "there is no backend 'fats'; did you mean"), ("lines", "is no model")],
)
def test_who_may_judge(tmp_path: Path, judge: str, words: str) -> None:
    """`quality.judge` names a backend with a model; anything else is told."""
    lines = '[backends.lines]\ntype = "static"\n'
    found = findings(tmp_path, f'{BACKENDS}\n{lines}[quality]\njudge = "{judge}"\n')
    told = [one for one in found if "quality.judge" in one]
    assert len(told) == bool(words)
    assert all(words in one and one.startswith("error") for one in told)
