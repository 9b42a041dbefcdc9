"""`palaver cost`: the figures of the analysis, a world's own, and what was spent today."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from palaver.spend.book import FILE
from palaver.spend.estimate import Load, Scenario, estimate, scenarios, share_saved

Cli = Callable[..., Result]
ReadJson = Callable[[Result], Any]

PLUGIN = """\
from palaver import BackendSettings, BackendType, hookimpl


class Settings(BackendSettings):
    model: str = ""


def make(*_):
    raise AssertionError("nothing is made to estimate its cost")


@hookimpl
def palaver_register_backends(register):
    register(BackendType("dear", Settings, make, addresses=frozenset(), paid=True))
    register(BackendType("own", Settings, make, addresses=frozenset()))
"""
TOML = """
[backends.local]
type = "own"
[backends.premium]
type = "dear"
model = "{model}"
"""


def test_the_figures_of_the_analysis() -> None:
    """32,400 dollars a month in the cloud; 6,480 and 833, 7,313 in all, hybrid: 77 % less."""
    only, _, hybrid, _ = [estimate(Load(), one) for one in scenarios(BASE)]
    assert only.dialogues == 240_000 * 30
    assert round(only.total_usd) == 32_400
    assert (hybrid.local / 30, hybrid.cloud / 30) == pytest.approx((192_000, 48_000))
    assert round(hybrid.cloud_usd) == 6_480
    assert round(hybrid.hardware_usd) == 833
    assert round(hybrid.total_usd) == 7_313
    assert round(only.total_usd - hybrid.total_usd) == 25_087
    assert round(100 * share_saved(hybrid, only)) == 77


BASE = Scenario("", cache=0.8, local=0.8, hardware_usd=30_000)


def test_the_command(cli: Cli, read_json: ReadJson) -> None:
    """They are what it says without options, side by side, for people and for programs."""
    result = cli("cost")
    assert result.exit_code == 0, result.output
    for figure in ("32,400", "6,480", "833", "7,313", "77 %", "7,200,000"):
        assert figure in result.stdout
    found = read_json(cli("cost", "--json"))
    totals = {one["name"]: round(one["total_usd"]) for one in found["scenarios"]}
    assert totals == {
        "cloud only": 32_400,
        "cloud and cache": 6_480,
        "hybrid": 7_313,
        "hybrid and cache": 2_129,
    }
    assert found["load"]["dialogues_per_month"] == 7_200_000


def test_other_figures(cli: Cli, read_json: ReadJson) -> None:
    """Every figure of the model is an option."""
    options = (
        "--players 10 --dialogues 6 --hours 5 --days 20 --prompt-tokens 900 --reply-tokens 100 "
        "--price 0.01 --cache 50 --local 25 --hardware 1200 --lifetime 12 --running 40"
    )
    found = read_json(cli("cost", "--json", *options.split()))
    only, cached, hybrid, both = [one["total_usd"] for one in found["scenarios"]]
    assert found["load"]["dialogues_per_month"] == 6_000
    assert (only, cached) == pytest.approx((60, 30))
    assert (hybrid, both) == pytest.approx((45 + 140, 22.5 + 140))


def test_the_price_of_a_model(cli: Cli, read_json: ReadJson) -> None:
    """Prompt and reply have prices of their own, and the provider's cache helps."""
    asked = ("cost", "--json", "--model", "claude-sonnet-5-5", "--prompt-tokens", "1000")
    found = read_json(cli(*asked))
    one = 7_200_000 * (1_000 * 2 + 50 * 10) / 1e6
    assert found["scenarios"][0]["cloud_usd"] == pytest.approx(one)
    assert found["price"]["as_of"] == "2026-10-24"
    found = read_json(cli(*asked, "--prompt-cached", "90"))
    one = 7_200_000 * (100 * 2 + 900 * 0.1 + 50 * 10) / 1e6
    assert found["scenarios"][0]["cloud_usd"] == pytest.approx(one)
    result = cli("cost", "--model", "claude-sonet-5-5")
    assert result.exit_code == 1
    assert "did you mean `claude-sonnet-5-5`" in result.output


def test_a_world(cli: Cli, palaver_world: Path, read_json: ReadJson) -> None:
    """Each tier costs what the first model of its chain costs, and the world is their mix."""
    (palaver_world / "plugins").mkdir()
    (palaver_world / "plugins" / "dear.py").write_text(PLUGIN, encoding="utf-8")
    toml = palaver_world / "palaver.toml"
    toml.write_text(TOML.format(model="claude-sonnet-5-5"), encoding="utf-8")
    assert cli("trust", str(palaver_world), "--yes").exit_code == 0
    vampire = palaver_world / "personas" / "vampire.md"
    vampire.write_text(vampire.read_text().replace("lang: en", "lang: en\ntier: story"))
    result = cli("cost", "--world", str(palaver_world), "--json")
    assert result.exit_code == 0, result.output
    found = {one["name"]: one for one in read_json(result)["scenarios"]}
    dear = 7_200_000 * (100 * 2 + 50 * 10) / 1e6
    assert found["story: premium"]["cloud_usd"] == pytest.approx(dear)
    assert found["elite: local"]["cloud_usd"] == 0
    assert found["elite: local"]["hardware_usd"] == pytest.approx(30_000 / 36)
    assert found["this world"]["total_usd"] == pytest.approx(dear / 2 + 30_000 / 36)
    toml.write_text(TOML.format(model="unheard-of"), encoding="utf-8")
    cli("trust", str(palaver_world), "--yes")
    result = cli("cost", "--world", str(palaver_world))
    assert result.exit_code == 1
    assert "usd_per_m_prompt" in result.output


def test_what_was_spent(
    cli: Cli, palaver_world: Path, cli_environ: dict[str, str], read_json: ReadJson
) -> None:
    """Today's sums by tier, backend and player; those of another day do not count."""
    asked = ("cost", "--spent", "--world", str(palaver_world), "--set", "spend.usd_per_day=5")
    assert "$0.0000 of $5.00 spent today" in cli(*asked).stdout
    sums = {
        "all": {"": entry(1.25)},
        "tier": {"elite": entry(1.0), "story": entry(0.25)},
        "backend": {"fast": entry(1.25)},
        "player": {f"default/p{number}": entry(0.05) for number in range(25)},
    }
    folder = Path(cli_environ["PALAVER_DATA_DIR"])
    today = datetime.now(UTC).date().isoformat()
    (folder / FILE).write_text(json.dumps({"day": today, "sums": sums}), encoding="utf-8")
    shown = cli(*asked).stdout
    for part in ("$1.2500 of $5.00", "elite", "1.0000", "fast", "default/p0", "5 more"):
        assert part in shown
    found = read_json(cli(*asked, "--json"))
    assert (found["usd"], found["by"]["tier"]) == (1.25, {"elite": 1.0, "story": 0.25})
    (folder / FILE).write_text(json.dumps({"day": "2026-01-01", "sums": sums}), encoding="utf-8")
    assert "The last day with any was 2026-01-01." in cli(*asked).stdout


def test_the_world_is_an_argument(cli: Cli, palaver_world: Path, read_json: ReadJson) -> None:
    """As with other commands; said twice it is a mistake."""
    world = str(palaver_world)
    assert read_json(cli("cost", world, "--spent", "--json"))["usd"] == 0
    assert cli("cost", world, "--world", world).exit_code == 2


def test_what_is_assumed_is_said(cli: Cli, palaver_world: Path, read_json: ReadJson) -> None:
    """Below the table stands what a cache was measured to answer; authored lines are not cached."""
    shown = " ".join(cli("cost").stdout.split())
    assert "80 % from the cache (--cache) is assumed." in shown
    assert "0.1 to 2.5 %" in shown
    (palaver_world / "palaver.toml").write_text("")
    found = read_json(cli("cost", str(palaver_world), "--json"))
    assert {one["cached"] for one in found["scenarios"]} == {0}
    assert "1 % of them by the cache" in " ".join(cli("cost", str(palaver_world)).stdout.split())


def entry(usd: float) -> dict[str, float]:
    """Return a sum as it is written down."""
    return {"spent": usd, "unpushed": 0.0}


def test_help_is_quick() -> None:
    """Nothing heavy is imported to say what it can do."""
    code = "import sys; from palaver.cli.cost import command; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"pydantic", "rich", "aiohttp"}.isdisjoint(out.stdout.split())
