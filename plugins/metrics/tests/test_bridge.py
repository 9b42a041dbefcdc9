"""`GET /metrics` of a real server: what it tells, and to whom."""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from palaver.chain.backend import Finish
from palaver.chain.readings import Reading
from palaver.cli.checking import find_problems
from palaver.errors import BackendUnavailable, ConfigError
from palaver.hookspecs import hookimpl
from palaver.plugins import make_plugin_manager
from palaver.startup import prepare
from palaver.testing.scripted import ScriptedBackend, scripted_type
from palaver.testing.server import RunningServer, running_server
from palaver_metrics.bridge import VARIABLE, MetricsBridge
from palaver_metrics.turns import SECONDS

WAIT_S = 40
TOKEN = "a-token-of-the-scraper"


@asynccontextmanager
async def serving(world: Path, **options: Any) -> AsyncIterator[RunningServer]:
    """Run a server with this plugin, as it is installed."""
    async with running_server(world, environ={"PALAVER_PLUGINS": "metrics"}, **options) as palaver:
        yield palaver


async def get(palaver: RunningServer, token: str | None = None, **headers: str) -> tuple[int, str]:
    """Ask for the page."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{palaver.http_url}/metrics", headers=headers) as response,
    ):
        return response.status, await response.text()


async def numbers(palaver: RunningServer) -> dict[str, float]:
    """Return all series of the page by name and labels, as `name{a=b,c=d}`."""
    status, text = await get(palaver)
    assert status == 200
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith("."), family.name
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found, "a series stands there once"
            found[name] = sample.value
    return found


async def ask(palaver: RunningServer, times: int = 1, **fields: Any) -> None:
    """Run turns, and let the plugins see them."""
    for _ in range(times):
        await palaver.gateway.ask("Hi.", persona="vampire", player="ada", **fields)
    await asyncio.sleep(0)


async def test_turns_are_counted(palaver_world: Path) -> None:
    """By tier, status and who spoke, with how long the player waited."""
    reply = ["Good evening.", Finish(prompt_tokens=40, completion_tokens=4)]
    backend = ScriptedBackend("local", reply)
    overrides = {
        "backends.local.usd_per_m_prompt": 1000.0,
        "backends.local.usd_per_m_completion": 5000.0,
        "tiers.elite.checks": [],
    }
    async with serving(palaver_world, backend=backend, overrides=overrides) as palaver:
        await ask(palaver, 3)
        await ask(palaver, tier="boss")
        found = await numbers(palaver)
    assert found["palaver_turns_total{backend=local,status=completed,tier=elite}"] == 3
    assert found["palaver_turns_total{backend=local,status=completed,tier=boss}"] == 1
    assert found["palaver_first_text_seconds_count{tier=elite}"] == 3
    assert found["palaver_turn_seconds_bucket{le=+Inf,tier=elite}"] == 3
    assert found["palaver_link_outcomes_total{backend=local,outcome=served,reason=none}"] == 4
    assert found["palaver_tokens_total{backend=local,kind=prompt}"] == 160
    assert found["palaver_tokens_total{backend=local,kind=completion}"] == 16
    assert found["palaver_cost_usd_total{backend=local,tier=elite}"] == pytest.approx(0.18)
    assert found["palaver_spend_today_usd{tier=all}"] == pytest.approx(0.24)


async def test_what_the_background_costs_is_counted(palaver_world: Path) -> None:
    """The judge's calls are in the same sum as those of turns, under its own backend."""
    critic = ScriptedBackend(
        "critic", ['{"score": 4}', Finish(prompt_tokens=100, completion_tokens=10)]
    )
    overrides: dict[str, Any] = {
        "backends.critic.type": "critics",
        "backends.critic.usd_per_m_prompt": 1000.0,
        "backends.critic.usd_per_m_completion": 1000.0,
        "quality.judge": "critic",
        "quality.judge_share": 1.0,
        "quality.judge_ms": 600_000,
    }
    types = [scripted_type([critic], name="critics")]
    async with serving(palaver_world, overrides=overrides, backend_types=types) as palaver:
        await ask(palaver)
        found: dict[str, float] = {}
        async with asyncio.timeout(WAIT_S):
            while found.get("palaver_quality_judged_total{result=scored}") != 1:
                found = await numbers(palaver)
    assert found["palaver_cost_usd_total{backend=critic,tier=elite}"] == pytest.approx(0.11)
    assert found["palaver_spend_today_usd{tier=all}"] == pytest.approx(0.11)


async def test_failures_are_counted_by_category(palaver_world: Path) -> None:
    """What a backend says of its failure never becomes a label."""
    failures = [[BackendUnavailable("local", f"secret number {n}: is down")] for n in range(5)]
    backend = ScriptedBackend("local", *failures, "Good evening.")
    overrides = {"backends.local.breaker_failures": 100}
    async with serving(palaver_world, backend=backend, overrides=overrides) as palaver:
        await ask(palaver, 5)
        _, text = await get(palaver)
        found = await numbers(palaver)
    failed = "palaver_link_outcomes_total{backend=local,outcome=failed,reason=unavailable}"
    assert found[failed] == 5
    assert found["palaver_turns_total{backend=last_words,status=completed,tier=elite}"] == 5
    last = "palaver_link_outcomes_total{backend=last_words,outcome=served,reason=chain_failed}"
    assert found[last] == 5, "the alert PalaverLastWords reads it"
    assert found["palaver_quality_recent{name=elite,scope=tier,signal=error}"] == 1
    assert "secret" not in text


async def test_breakers_and_queues_are_shown(palaver_world: Path) -> None:
    """The state of each server's breaker, what it works on, and how long its queue is."""
    held = asyncio.Event()
    backend = ScriptedBackend("local", [held, "Well."])
    overrides = {"backends.local.concurrency": 1, "backends.local.breaker_failures": 1}
    async with serving(palaver_world, backend=backend, overrides=overrides) as palaver:
        turns = [
            asyncio.create_task(ask(palaver, npc=f"npc{number}", seed=number))
            for number in range(3)
        ]
        await backend.called()
        labels = "{backend=local,server=local}"
        found: dict[str, float] = {}
        async with asyncio.timeout(WAIT_S):
            while found.get(f"palaver_server_waiting_requests{labels}") != 2:
                found = await numbers(palaver)
        assert found[f"palaver_server_active_requests{labels}"] == 1
        state = "palaver_server_breaker_state{{backend=local,server=local,state={}}}"
        assert found[state.format("closed")] == 1
        held.set()
        await asyncio.gather(*turns)
        backend.replies = [[BackendUnavailable("local", "is down")]]
        await ask(palaver)
        found = await numbers(palaver)
        assert found[state.format("closed")] == 0
        assert found[f"palaver_server_breaker_opened_total{labels}"] == 1


async def test_sessions_games_and_feedback(palaver_world: Path) -> None:
    """Who is connected, in how many games, and what players thought."""
    async with serving(palaver_world) as palaver:
        one = await palaver.ready(game="one")
        await palaver.ready(game="two")
        await one.send({"type": "turn.feedback", "turn": "t", "kind": "report", "note": "secret"})
        await one.ping()
        found = await numbers(palaver)
        assert found["palaver_sessions{role=engine}"] == 2
        assert found["palaver_games"] == 2
        assert found["palaver_feedback_total{kind=report}"] == 1
        await one.send({"type": "session.end"})
        async with asyncio.timeout(WAIT_S):
            while found["palaver_sessions{role=engine}"] != 1:
                found = await numbers(palaver)


async def test_labels_are_bounded(palaver_world: Path) -> None:
    """A plugin that invents tiers, backends and reasons makes no series of them."""

    class Inventor:
        @hookimpl
        def palaver_build_context(self, turn: Any) -> None:
            turn.tier_name = f"tier-{turn.id}"

        @hookimpl(tryfirst=True)
        def palaver_turn_finished(self, turn: Any, result: Any) -> None:
            turn.tier_name = f"tier-{turn.id}"
            result.served_by.backend = f"backend-{turn.id}"
            for link in result.trail:
                link.backend, link.reason = f"link-{turn.id}", f"reason {turn.id}"

    plugins = {"inventor": Inventor()}
    cached = {"tiers.elite.cache": {"variants": 1}}
    async with serving(palaver_world, plugins=plugins, overrides=cached) as palaver:
        await ask(palaver)
        before = len(await numbers(palaver))
        await ask(palaver, 30)
        found = await numbers(palaver)
        assert found["palaver_turns_total{backend=other,status=completed,tier=other}"] == 31
        assert found["palaver_link_outcomes_total{backend=other,outcome=served,reason=other}"] == 31
        # Of the repetitions the second turn makes the first series.
        assert len(found) <= before + 8


async def test_cards_and_servers_are_shown(
    palaver_world: Path, nvml: Any, talkative: ScriptedBackend
) -> None:
    """Graphics cards by NVML, and what backends tell of their servers."""
    async with serving(palaver_world, backend=talkative) as palaver:
        found: dict[str, float] = {}
        async with asyncio.timeout(WAIT_S):
            while "palaver_gpu_memory_used_bytes{gpu=0,model=NVIDIA Test}" not in found:
                found = await numbers(palaver)
    assert found["palaver_gpu_utilization_ratio{gpu=0,model=NVIDIA Test}"] == 0.4
    server = "backend=local,server=http://two:8000"
    assert found[f"palaver_model_server_running_requests{{{server}}}"] == 2
    assert found[f"palaver_adapter_load_seconds_sum{{{server}}}"] == 0.5
    assert found[f"palaver_adapter_load_seconds_count{{{server}}}"] == 2
    failed = "palaver_adapter_loads_total{backend=local,result=failed,server=http://two:8000}"
    assert found[failed] == 1


@pytest.mark.parametrize("trouble", ["hangs", "raises", "repeats", "mixes"])
async def test_a_backend_that_tells_nonsense(palaver_world: Path, trouble: str) -> None:
    """Everything else is shown all the same, soon, and the page stays one that can be read."""

    class Odd(ScriptedBackend):
        async def readings(self) -> list[Reading]:
            if trouble == "hangs":
                await asyncio.Event().wait()
            if trouble == "raises":
                raise RuntimeError("no")
            one = Reading("odd", 1, "Odd.")
            if trouble == "repeats":
                return [one, one]
            return [
                one,
                Reading("odd", 2, "Even.", "counter"),
                Reading("odd", 3, "x", labels={"a": "b"}),
            ]

    async with serving(palaver_world, backend=Odd("local", "Hm.")) as palaver:
        found = await numbers(palaver)
    assert found["palaver_games"] == 0
    if trouble in ("repeats", "mixes"):
        assert sum(name.startswith("palaver_odd") for name in found) == 1 + (trouble == "mixes")


async def test_several_ask_at_once(palaver_world: Path, talkative: ScriptedBackend) -> None:
    """Scrapers side by side all get the page; one that leaves takes it from nobody."""
    async with serving(palaver_world, backend=talkative) as palaver:
        leaving = asyncio.create_task(get(palaver))
        others = [asyncio.create_task(get(palaver)) for _ in range(5)]
        await asyncio.sleep(0)
        leaving.cancel()
        for status, text in await asyncio.gather(*others):
            assert status == 200
            assert "palaver_build_info" in text


async def test_openmetrics_where_it_is_wanted(palaver_world: Path) -> None:
    """A scraper that prefers OpenMetrics gets it, with its end."""
    async with serving(palaver_world) as palaver:
        _, text = await get(palaver, Accept="application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


# --- who may read it ----------------------------------------------------------------------------


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings with a token for engines and one for a player."""
    monkeypatch.setenv("TEST_ENGINE_TOKEN", "engine-token")
    monkeypatch.setenv("TEST_PLAYER_TOKEN", "player-token")
    return {
        "server.tokens": [
            {"role": "engine", "env": "TEST_ENGINE_TOKEN"},
            {"role": "player", "player": "ada", "env": "TEST_PLAYER_TOKEN"},
        ]
    }


@pytest.mark.parametrize(
    ("own", "shown", "status"),
    [
        (False, None, 401),
        (False, "wrong", 401),
        (False, "player-token", 401),
        (False, "engine-token", 200),
        (True, TOKEN, 200),
        (True, "engine-token", 200),
        (True, "player-token", 401),
        (True, None, 401),
        (True, "\xe4" * 20, 401),
    ],
)
async def test_with_tokens(
    own: bool,
    shown: str | None,
    status: int,
    tokens: dict[str, Any],
    palaver_world: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Engines may read it, and scrapers with a token of their own; players may not."""
    if own:
        monkeypatch.setenv(VARIABLE, TOKEN)
    async with serving(palaver_world, overrides=tokens) as palaver:
        got, text = await get(palaver, shown)
    assert got == status
    assert ("palaver_games" in text) == (status == 200)
    assert TOKEN not in text


@pytest.mark.parametrize(("shown", "status"), [(None, 401), ("wrong", 401), (TOKEN, 200)])
async def test_with_the_scrapers_token_alone(
    shown: str | None, status: int, palaver_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the scrapers have a token, nobody reads the page without it."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    async with serving(palaver_world) as palaver:
        assert (await get(palaver, shown))[0] == status


async def test_without_tokens(palaver_world: Path) -> None:
    """On this machine, without tokens, everybody reads it, but no web page does."""
    async with serving(palaver_world) as palaver:
        assert (await get(palaver))[0] == 200
        assert (await get(palaver, "any"))[0] == 200
        assert (await get(palaver, Origin="https://evil.example"))[0] == 403
        assert (await get(palaver, Host="evil.example"))[0] == 403


def test_a_token_that_is_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused on start, in words, without being told."""
    with pytest.raises(ConfigError, match=f"{VARIABLE}: is shorter than 16") as caught:
        MetricsBridge(environ={VARIABLE: "secret"})
    assert "secret" not in str(caught.value)
    monkeypatch.setenv(VARIABLE, "secret")
    plugins = make_plugin_manager(environ={"PALAVER_PLUGINS": "metrics"}, quiet=True)
    (info,) = [one for one in plugins.infos if one.name == "metrics"]
    assert "is shorter than" in (info.problem or "")


async def test_nobody_serves_with_such_a_token(
    palaver_world: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Start fails with one line that names the variable, and `palaver check` says the same."""
    monkeypatch.setenv(VARIABLE, "secret")
    with pytest.raises(ConfigError, match=f"{VARIABLE}: is shorter than 16"):
        await prepare(str(palaver_world))
    assert not caplog.records
    _, problems, _ = find_problems(str(palaver_world), {})
    (problem,) = [one for one in problems if VARIABLE in one.message]
    assert problem.severity == "error"


class Finder:
    """A bridge that counts as moderation does, and something else besides."""

    name = "finder"
    counts: Any = {("player", "hate", "refuse"): 3, "other": 1}  # noqa: RUF012 - nobody changes it

    def routes(self, gateway: Any) -> list[Any]:
        """Add no route."""
        return []

    async def start(self, gateway: Any) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


async def test_what_bridges_find(palaver_world: Path) -> None:
    """What moderation and its like count is shown by who spoke, category and action."""
    async with serving(palaver_world) as palaver:
        palaver.gateway.plugins.bridges.append(Finder())
        _, text = await get(palaver)
    wanted = 'palaver_finds_total{action="refuse",bridge="finder",category="hate",who="player"} 3.0'
    assert wanted in text
    assert text.count("\npalaver_finds_total{") == 1


# --- what it is made of -------------------------------------------------------------------------


def test_buckets_can_be_read() -> None:
    """From 20 ms to 30 s each step is at most a half, and the shipped tiers' limits are bounds."""
    from palaver.config.models import default_tiers

    steps = [bound for bound in SECONDS if 0.02 <= bound <= 30]
    assert (steps[0], steps[-1]) == (0.02, 30.0)
    assert all(after / before <= 1.67 for before, after in itertools.pairwise(steps))
    limits = {tier["first_text_ms"] / 1000 for tier in default_tiers().values()}
    assert limits <= set(SECONDS)


async def test_names_say_their_units(
    palaver_world: Path, nvml: Any, talkative: ScriptedBackend
) -> None:
    """Times are in seconds, sizes in bytes, money in dollars, and counters end with _total."""
    async with serving(palaver_world, backend=talkative) as palaver:
        await ask(palaver)
        _, text = await get(palaver)
    kinds = dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text))
    for name, kind in kinds.items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert name.startswith(("palaver_", "process_"))
        assert not re.search(r"_(ms|milliseconds|mb|kb|percent|perc)(_|$)", name)
        if kind == "histogram":
            assert name.endswith("_seconds")


@pytest.mark.parametrize("times", [1, 2])
async def test_it_closes(palaver_world: Path, times: int) -> None:
    """Closing leaves no task behind, and is safe twice."""
    async with serving(palaver_world) as palaver:
        (bridge,) = [one for one in palaver.gateway.plugins.bridges if one.name == "metrics"]
        await get(palaver)
        for _ in range(times):
            await bridge.close()
        names: Callable[[], set[str]] = lambda: {task.get_name() for task in asyncio.all_tasks()}  # noqa: E731  # read twice
        assert not names() & {"event loop lag", "read backends"}


def test_commands_do_not_pay_for_it() -> None:
    """Loading the plugin, as every command does, imports nothing of Prometheus."""
    code = (
        "import sys\n"
        "from palaver.plugins import make_plugin_manager\n"
        "plugins = make_plugin_manager(environ={'PALAVER_PLUGINS': 'metrics'})\n"
        "assert [one.name for one in plugins.bridges] == ['metrics']\n"
        "assert 'prometheus_client' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
