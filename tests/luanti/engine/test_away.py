"""Palaver is away, comes back, or is something else: the game goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.game import Game
from harness.gateway import Answer, Gateway, Recorder, Served, forward, village
from harness.waiting import LIMIT_S, end, free_port, wait_for

Play = Callable[..., Game]
STANDIN = Path(__file__).parents[2] / "bench" / "standin.py"
JSON = "application/json"
WRONG: dict[str, Answer | None] = {
    "html": (200, "text/html", b"<html><body>It works!</body></html>"),
    "nothing": None,
    "empty": (200, JSON, b""),
    "half": (200, JSON, b'{"session": "abc", "cursor": 1, "messages": [{"type": "tu'),
    "deep": (200, JSON, b"[" * 2_000 + b"]" * 2_000),
    "deep-message": (
        200,
        JSON,
        b'{"session": "s", "cursor": 1, "messages": ' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    ),
    "null": (200, JSON, b"null"),
    "number": (200, JSON, b"42"),
    "list": (200, JSON, b"[1, 2, 3]"),
    "wrong-types": (
        200,
        JSON,
        b'{"session": 7, "fresh": "yes", "cursor": "x", "messages": {"a": 1}, "more": 3}',
    ),
    "wrong-messages": (
        200,
        JSON,
        (
            b'{"session": "s", "cursor": 1, "messages": [1, null, {}, {"type": 3}, '
            b'{"type": "turn.delta"}, {"type": "turn.done", "turn": {}, "seq": "q"}]}'
        ),
    ),
    "huge": (200, JSON, b'{"messages": [' + b'"x", ' * 400_000 + b'"x"]}'),
    "not-utf8": (200, JSON, b'{"session": "\xff\xfe", "messages": ["\xc3"]}'),
    "server-error": (500, "text/plain", b"Internal Server Error"),
    "not-found": (404, "text/html", b"<h1>404</h1>"),
    "unauthorized": (401, JSON, b'{"error": {"code": "unauthorized", "message": "token"}}'),
    "gone-for-ever": (410, JSON, b'{"error": {"code": "unknown_session", "message": "?"}}'),
}


@pytest.fixture
def model() -> Iterator[int]:
    """Port of a model server with twelve tokens at 20 tokens/s after 300 ms."""
    port = free_port()
    with subprocess.Popen([sys.executable, str(STANDIN), str(port), "12", "50", "300"]) as process:
        yield port
        end(process)


@pytest.fixture
def served(tmp_path: Path, model: int) -> Iterator[Served]:
    """Palaver as a process, with that model server behind the village."""
    world = village(tmp_path)
    with (world / "palaver.toml").open("a", encoding="utf-8") as settings:
        settings.write(
            f'\n[backends.local]\ntype = "vllm"\nurl = "http://127.0.0.1:{model}"\n'
            'model = "base"\n[tiers.elite]\nfirst_text_ms = 20000\nfirst_token_ms = 20000\n'
        )
    with Served(world, free_port(), tmp_path) as palaver:
        yield palaver


def test_nobody_is_there(play: Play, villagers: str) -> None:
    """Where no Palaver runs, NPCs speak their own lines, from the second one on at once."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    game = play(mods={"npcs": villagers}, settings={"llm_agent.url": nowhere})
    first = game.ask("willow", "Hello?")
    assert first["by"] == "canned"
    second = game.ask("brewer", "And you?")
    assert second["by"] == "canned"
    assert second["why"] == "away"
    assert second["text"]
    # No request is waited for: the line is there within the step of the call.
    assert (second["first_us"] - second["asked_us"]) < 1e6
    assert game.alive()


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_another_server_is_there(play: Play, villagers: str, answer: Answer | None) -> None:
    """Trap 4 and more: whatever answers there, NPCs speak, and Lua raises nothing."""
    with Recorder(lambda _: answer) as server:
        game = play(mods={"npcs": villagers}, settings={"llm_agent.url": server.url})
        for npc in ("willow", "brewer"):
            turn = game.ask(npc, "Hello?")
            assert turn["by"] == "canned"
            assert turn["done"] == 1
            assert turn["text"]
        assert server.seen
        assert game.alive()
        assert "stack traceback" not in game.log
        assert "attempt to" not in game.log
        # One bad answer is enough to wait before the next try: no flood of requests.
        assert len(server.seen) < 12


def test_a_server_that_never_answers(play: Play, palaver: Gateway, villagers: str) -> None:
    """A deadline of the turn's own brings a line; requests end by themselves, and then it talks."""
    over = threading.Event()
    onward = forward(palaver.url)

    def answer(request: dict[str, Any]) -> Answer | None:
        if well:
            return onward(request)
        over.wait(LIMIT_S)
        return None

    well: list[bool] = []
    with Recorder(answer) as server:
        # A limit in parts of a second would be none at all before 5.14: then nothing ever ended.
        settings = {"llm_agent.url": server.url, "llm_agent.wait_ms": 1000}
        settings |= {"llm_agent.hold_ms": 500, "curl_parallel_limit": 4}
        game = play(mods={"npcs": villagers}, settings=settings)
        turns = [game.begin(npc, "Hello?") for npc in ("willow", "brewer")]
        for number in turns:
            assert game.turn(number)["by"] == "canned"
        well.append(True)
        wait_for(lambda: game.ask("willow", "Hello?")["by"] == "palaver", "Palaver to be heard")
        over.set()


def test_killed_and_started_again(play: Play, served: Served, villagers: str) -> None:
    """Killed in the middle of a reply, that line ends; once it is back, NPCs talk again."""
    game = play(mods={"npcs": villagers}, settings={"llm_agent.url": served.url})
    assert game.ask("willow", "Are you there?")["by"] == "palaver"
    middle = game.begin("willow", "Tell me a story.")
    game.wait(f"control.turns[{middle}].text and true")
    served.kill()
    broken = game.turn(middle)
    assert broken["done"] == 1
    away = game.ask("brewer", "What was that?")
    assert away["by"] == "canned"
    served.start()
    wait_for(
        lambda: game.ask("willow", "Are you back?")["by"] == "palaver", "Palaver to be heard again"
    )
    assert game.alive()
    assert "stack traceback" not in game.log


def test_started_after_the_game(play: Play, palaver: Gateway, villagers: str) -> None:
    """A game that was there first talks as soon as Palaver is there."""
    palaver.stop()
    game = play(mods={"npcs": villagers}, settings={"llm_agent.url": palaver.url})
    assert game.ask("willow", "Hello?")["by"] == "canned"
    palaver.start()
    wait_for(lambda: game.ask("willow", "Hello?")["by"] == "palaver", "Palaver to be heard")


def test_a_restart_between_two_turns(play: Play, palaver: Gateway, villagers: str) -> None:
    """A server that has forgotten the session gets the NPCs and what is true of them again."""
    game = play(mods={"npcs": villagers}, settings={"llm_agent.url": palaver.url})
    game.lua('llm_agent.set_context("willow", {mood = "worried"})')
    assert game.ask("willow", "Hello?")["by"] == "palaver"
    palaver.stop()
    palaver.start()
    wait_for(lambda: game.ask("willow", "Hello?")["by"] == "palaver", "Palaver to be heard again")
