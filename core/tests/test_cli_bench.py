"""`palaver bench`: real turns over real sockets, measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

Cli = Callable[..., Result]
Start = Callable[..., Any]

pytestmark = pytest.mark.timeout(120)


def test_the_figures(cli: Cli, trusted: str, read_json: Callable[[Result], Any]) -> None:
    """It measures a server of its own, with the backend that is named, and remembers nothing."""
    result = cli(
        "bench", trusted, "--backend", "local", "--turns", "30", "--at-once", "4", "--json"
    )
    assert result.exit_code == 0, result.output
    found = read_json(result)
    assert found["served_by"] == {"local": 30}
    first = found["first_text_ms"]
    assert 0 < first["p50"] <= first["p90"] <= first["p99"] <= first["max"]
    assert first["p50"] <= found["whole_ms"]["p50"]
    assert found["turns_per_s"] > 0
    more = ["--npc", "vampire", "--say", "remember"]
    assert cli("chat", trusted, *more).stdout == "I remember [].\n"


def test_the_table(cli: Cli, trusted: str) -> None:
    """The figures are a table for people."""
    out = cli("bench", trusted, "--backend", "local", "--turns", "5").stdout
    assert "first words" in out
    assert "turns/s" in out
    assert "who spoke: local 5" in out


def test_a_backend_that_fails_is_no_result(cli: Cli, trusted: str) -> None:
    """Where something else spoke than what was to be measured, the exit code is 1."""
    result = cli("bench", trusted, "--backend", "local", "--turns", "2", "--say", "fail")
    assert result.exit_code == 1
    assert "last_words 2" in result.stdout


def test_a_running_server(start: Start, cli: Cli, trusted: str) -> None:
    """--url measures a server that runs, within the rate it allows."""
    server = start("serve", trusted, "--port", "0", "--log-level", "warning", terminal=False)
    url = "ws://" + server.read_until("Ctrl-C").partition("ws://")[2].partition(".  ")[0].split()[0]
    result = cli("bench", "--url", url.rstrip("."), "--turns", "10")
    assert result.exit_code == 0, result.output
    assert "who spoke: local 10" in result.stdout


def test_what_cannot_be_measured(cli: Cli, trusted: str) -> None:
    """A backend, world or address there is not is one line."""
    assert "there is no backend 'nope'" in cli("bench", trusted, "--backend", "nope").stderr
    assert "there is no folder 'nowhere'" in cli("bench", "nowhere").stderr
    assert "no server answers" in cli("bench", "--url", "ws://127.0.0.1:1").stderr
    assert cli("bench", trusted, "--url", "ws://127.0.0.1:1").exit_code == 2
