"""A real Prometheus scrapes a real Palaver, loads the rules and answers the dashboard's queries."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from palaver.chain.backend import Finish
from palaver.errors import BackendUnavailable
from palaver.testing.scripted import ScriptedBackend, scripted_type
from palaver.testing.server import RunningServer, running_server
from palaver_metrics.bridge import VARIABLE

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
RULES = DEPLOY / "prometheus"
DASHBOARD = json.loads((DEPLOY / "grafana" / "palaver.json").read_text(encoding="utf-8"))
TOKEN = "a-token-of-the-scraper"
LIMIT_S = 90
"""Longest wait for something to be seen; on a busy machine it takes a few seconds."""
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus is not installed",
)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str, client: aiohttp.ClientSession) -> None:
        self._url, self._client = url, client

    async def get(self, path: str, **params: str) -> Any:
        """Ask its API."""
        async with self._client.get(f"{self._url}/api/v1/{path}", params=params) as response:
            answer = await response.json()
        assert answer["status"] == "success", (params, answer)
        return answer["data"]

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an expression that have a number."""
        found = (await self.get("query", query=expr))["result"]
        return [one for one in found if not math.isnan(float(one["value"][1]))]

    async def until(self, expr: str) -> list[dict[str, Any]]:
        """Wait until an expression has a number."""
        found = await self.query(expr)
        # Prometheus tells nobody when it has scraped.
        while not found:
            await asyncio.sleep(0.1)
            found = await self.query(expr)
        return found


def free_port() -> int:
    """Return a port that is free just now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@asynccontextmanager
async def prometheus(folder: Path, palaver: RunningServer) -> AsyncIterator[Prometheus]:
    """Run Prometheus with the shipped configuration, only more often, on this server."""
    shutil.copytree(RULES, folder)
    (folder / "palaver.token").write_text(TOKEN)
    config = (folder / "prometheus.yml").read_text(encoding="utf-8")
    config = re.sub(r"(?m)^    #(authorization:|  credentials_file:)", r"    \1", config)
    config = re.sub(r"(scrape|evaluation)_interval: 15s", r"\1_interval: 250ms", config)
    config = config.replace("127.0.0.1:8765", palaver.http_url.removeprefix("http://"))
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as client:
            await ready(f"http://127.0.0.1:{port}", client, process, folder / "log")
            yield Prometheus(f"http://127.0.0.1:{port}", client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ready(
    url: str, client: aiohttp.ClientSession, process: asyncio.subprocess.Process, log: Path
) -> None:
    """Wait until it answers."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            if process.returncode is not None:
                pytest.fail(await asyncio.to_thread(log.read_text))
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(f"{url}/-/ready") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    """The scrapers' own token, set."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    return TOKEN


# --- files --------------------------------------------------------------------------------------


@needs_prometheus
@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", "palaver.rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "palaver.rules.test.yml"],
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(command: list[str]) -> None:
    """The rules and the configuration are valid, and each alert fires when it should."""
    done = subprocess.run(["promtool", *command], cwd=RULES, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    """Each alert is named in the file that tests the rules."""
    rules = (RULES / "palaver.rules.yml").read_text(encoding="utf-8")
    tests = (RULES / "palaver.rules.test.yml").read_text(encoding="utf-8")
    alerts = re.findall(r"(?m)^ +- alert: (\w+)$", rules)
    assert len(alerts) >= 10
    assert [name for name in alerts if name not in tests] == []


def panels() -> Iterator[dict[str, Any]]:
    """Yield the panels of the dashboard that show something."""
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            yield panel


def test_the_dashboard_is_one() -> None:
    """Every panel has a place of its own, a title, words that explain it, and queries."""
    seen: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & seen, panel["title"]
        assert all(x < 24 for x, _ in cells)
        seen |= cells
    for panel in panels():
        assert panel["description"].endswith(".")
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'instance=~"$instance"' in target["expr"]
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert names == {"datasource", "instance"}


# --- for real -----------------------------------------------------------------------------------


@asynccontextmanager
async def busy_server(world: Path, talkative: ScriptedBackend) -> AsyncIterator[RunningServer]:
    """Run a server on which everything happens that there are metrics of."""
    talkative.replies = [lambda _: ["Good evening.", Finish(prompt_tokens=40, completion_tokens=4)]]
    slow = ScriptedBackend("slow", [asyncio.Event()])
    broken = ScriptedBackend("broken", [BackendUnavailable("broken", "is down")])
    critic = ScriptedBackend("critic", '{"score": 4}')
    overrides = {
        "backends.slow.type": "others",
        "backends.broken.type": "others",
        "backends.critic.type": "others",
        "backends.local.usd_per_m_prompt": 10.0,
        "backends.local.usd_per_m_completion": 10.0,
        "spend.usd_per_day": 1000.0,
        "tiers.elite.chain": ["broken", "slow", "local"],
        "tiers.elite.first_token_ms": {"slow": 20, "local": 20_000, "broken": 20_000},
        "tiers.elite.checks": [],
        "tiers.boss.cache": {"facts": ["intent"]},
        "tiers.boss.checks": [],
        "limits.hedge_share": 1.0,
        "backends.slow.breaker_failures": 1_000_000,
        "quality.least_samples": 50,
        "quality.replies_per_s": 1e6,
        "quality.judge": "critic",
        "quality.judge_share": 1.0,
    }
    async with running_server(
        world,
        backend=talkative,
        backend_types=[scripted_type([slow, broken, critic], name="others")],
        overrides=overrides,
        environ={"PALAVER_PLUGINS": "metrics"},
    ) as palaver:
        engine = await palaver.ready()
        await engine.send({"type": "player.upsert", "player": "ada"})

        async def play() -> None:
            number = 0
            while True:
                number += 1
                turn = {"turn": f"t{number}", "npc": "vlad", "player": "ada", "text": "Hi."}
                await engine.send({"type": "turn.start", **turn})
                await engine.until("turn.done")
                await engine.send({"type": "turn.feedback", "turn": f"t{number}", "kind": "skip"})
                await palaver.gateway.ask("Hi.", persona="zombie", tier="boss", player="bea")
                await asyncio.sleep(0.01)

        playing = asyncio.create_task(play())
        try:
            yield palaver
            assert not playing.done(), playing
        finally:
            playing.cancel()
            await asyncio.wait({playing})


@needs_prometheus
@pytest.mark.timeout(2 * LIMIT_S + 20)
async def test_every_panel_shows_something(
    palaver_world: Path, tmp_path: Path, talkative: ScriptedBackend, nvml: Any, token: str
) -> None:
    """Each query of the dashboard is understood by Prometheus, and has numbers."""
    async with (
        busy_server(palaver_world, talkative) as palaver,
        prometheus(tmp_path / "prometheus", palaver) as watcher,
    ):
        empty = ""
        try:
            async with asyncio.timeout(LIMIT_S):
                for panel in panels():
                    for target in panel["targets"]:
                        expr = target["expr"].replace("$__rate_interval", "1m")
                        empty = f"{panel['title']}: {expr}"
                        await watcher.until(expr.replace("$instance", ".*"))
        except TimeoutError:
            pytest.fail(f"shows nothing: {empty}")
        (up,) = await watcher.query('up{job="palaver"}')
        assert up["value"][1] == "1"
        # A quantile is a number of seconds that a reader believes.
        rate = 'sum by (le) (rate(palaver_turn_seconds_bucket{tier="elite"}[1m]))'
        (p95,) = await watcher.until(f"histogram_quantile(0.95, {rate})")
        assert 0 < float(p95["value"][1]) <= 30
        for variable in DASHBOARD["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.findall(r"[a-z_]+", variable["query"]["query"])[-2:]
                values = await watcher.get(f"label/{label}/values", **{"match[]": metric})
                assert values == [palaver.http_url.removeprefix("http://")]


@needs_prometheus
@pytest.mark.timeout(2 * LIMIT_S + 20)
async def test_rules_are_loaded_and_an_alert_fires(
    palaver_world: Path, tmp_path: Path, token: str
) -> None:
    """All rules are evaluated without an error, and replies that become worse are told."""
    backend = ScriptedBackend("local", "Good evening.")
    overrides = {
        "quality.least_samples": 50,
        "quality.replies_per_s": 1e6,
        "tiers.elite.checks": [],
        "backends.local.breaker_failures": 10_000,
    }
    async with (
        running_server(
            palaver_world,
            backend=backend,
            overrides=overrides,
            environ={"PALAVER_PLUGINS": "metrics"},
        ) as palaver,
        prometheus(tmp_path / "prometheus", palaver) as watcher,
        asyncio.timeout(2 * LIMIT_S),
    ):
        for _ in range(250):
            await palaver.gateway.ask("Hi.", persona="vampire")
        rules: list[dict[str, Any]] = []
        while not rules or any(rule["health"] == "unknown" for rule in rules):
            await asyncio.sleep(0.1)
            rules = [
                rule for group in (await watcher.get("rules"))["groups"] for rule in group["rules"]
            ]
        assert [rule for rule in rules if rule["health"] != "ok"] == []
        text = (RULES / "palaver.rules.yml").read_text(encoding="utf-8")
        assert len(rules) == len(re.findall(r"(?m)^ +- (alert|record):", text))
        firing = 'ALERTS{alertstate="firing", alertname="PalaverQualityWorse"}'
        assert await watcher.query(firing) == []
        backend.replies = [[BackendUnavailable("local", "is down")]]
        for _ in range(100):
            await palaver.gateway.ask("Hi.", persona="vampire")
        assert palaver.gateway.quality.alerts
        found = await watcher.until(firing)
        assert ("error", "tier", "elite") in {
            (one["metric"]["signal"], one["metric"]["scope"], one["metric"]["name"])
            for one in found
        }


@needs_prometheus
@pytest.mark.timeout(LIMIT_S + 20)
async def test_the_wrong_token_is_seen(
    palaver_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scraper that is not let in shows Palaver as down, and says why."""
    monkeypatch.setenv(VARIABLE, "another-token-than-that")
    async with (
        running_server(palaver_world, environ={"PALAVER_PLUGINS": "metrics"}) as palaver,
        prometheus(tmp_path / "prometheus", palaver) as watcher,
        asyncio.timeout(LIMIT_S),
    ):
        await watcher.until('up{job="palaver"} == 0')
        (target,) = (await watcher.get("targets"))["activeTargets"]
        assert "401" in target["lastError"]
