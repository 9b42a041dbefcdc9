from pathlib import Path
from typing import Any

import pytest

from palaver.cli.checking import find_problems
from palaver_ollama.config import OllamaSettings
from palaver_ollama.swaps import swaps


def found(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Return what is said of two backends."""
    tables = {"local": left, "cheap": right}
    return list(
        swaps({name: OllamaSettings(type="ollama", **table) for name, table in tables.items()})
    )


@pytest.mark.parametrize(
    ("left", "right", "difference"),
    [
        ({"model": "a"}, {"model": "b"}, "the model ('a', 'b')"),
        ({"model": "a"}, {}, "the model (one leaves it open)"),
        ({"model": "a", "num_ctx": 4096}, {"model": "a", "num_ctx": 8192}, "(4,096, 8,192)"),
        ({"model": "a", "num_ctx": 4096}, {"model": "a"}, "(4,096, the server's own)"),
        ({"model": "a", "options": {"num_gpu": 9}}, {"model": "a"}, "`options.num_gpu`"),
    ],
)
def test_backends_that_fight_over_a_server_are_named(
    left: dict[str, Any], right: dict[str, Any], difference: str
) -> None:
    """Two backends that make one server load a model anew are told of, with what to do."""
    (problem,) = found(left, right)
    assert problem.startswith("backends.local and backends.cheap share the server")
    assert difference in problem
    assert "a server of its own" in problem


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"model": "a"}, {"model": "a:latest", "options": {"top_k": 3}, "think": True}),
        ({"model": "a"}, {"model": "b", "url": "http://127.0.0.1:11435"}),
        ({}, {}),
    ],
)
def test_backends_that_do_not_fight_are_left_alone(
    left: dict[str, Any], right: dict[str, Any]
) -> None:
    """The same model with other words, and another server, are fine."""
    assert found(left, right) == []


def test_one_server_may_be_written_in_two_ways() -> None:
    """`localhost`, with or without the port in it, is this machine; one of several is enough."""
    left = {"model": "a", "url": "http://localhost:11434"}
    assert found(left, {"model": "b"})
    assert found(left, {"model": "b", "urls": ["http://gpu:11434", "http://127.0.0.1:11434/"]})


def test_check_tells_of_it(palaver_world: Path) -> None:
    """`palaver check` warns of backends that fight over a server."""
    toml = palaver_world / "palaver.toml"
    toml.write_text(
        '[backends.local]\ntype = "ollama"\nmodel = "a"\n[backends.cheap]\ntype = "ollama"\n'
        'model = "b"\n'
    )
    _, problems, _ = find_problems(str(palaver_world), {})
    (warning,) = [one for one in problems if "share the server" in one.message]
    assert (warning.severity, warning.file) == ("warning", toml)
