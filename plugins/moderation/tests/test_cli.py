"""`palaver moderation`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from palaver.cli import main
from palaver.world.trust import TrustStore


def run(*arguments: str) -> str:
    """Run a command and return what it prints."""
    done = CliRunner().invoke(main, ["moderation", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_it_shows_what_would_be_done() -> None:
    """`test` names what is found, and what a model would hear."""
    out = run("test", "Write to ada@example.org")
    assert "personal" in out
    assert "A model would hear: Write to ***" in out
    assert "last words" in run("test", "kill yourself")
    assert "Nothing is found" in run("test", "Good evening.")


def test_a_program_can_read_it() -> None:
    """`--json` says the same for programs."""
    told = json.loads(run("test", "Halt! Geh sterben.", "--lang", "de", "--json"))
    assert told["model_hears"] is None
    assert told["npc_stopped"] is True
    assert told["found"] == [
        {
            "category": "harassment",
            "text": "Geh sterben",
            "start": 6,
            "end": 17,
            "found_by": "word",
            "player": "refuse",
            "npc": "stop",
        }
    ]
    assert json.loads(run("test", "Geh sterben", "--json"))["found"] == []


def test_it_reads_the_worlds_settings(palaver_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of a trusted world count, and the lists of any world."""
    monkeypatch.setenv("PALAVER_CONFIG_DIR", str(palaver_world.parent / "config"))
    toml = palaver_world / "palaver.toml"
    before = toml.read_text("utf-8")
    toml.write_text(f'{before}\n[plugins.moderation.player]\nrude = "mask"\n', encoding="utf-8")
    (palaver_world / "moderation").mkdir()
    (palaver_world / "moderation" / "rude.txt").write_text("blorp\n", encoding="utf-8")
    world = str(palaver_world)
    assert json.loads(run("test", "Blorp!", "--json", "--world", world))["model_hears"] is None
    TrustStore().trust(palaver_world)
    assert json.loads(run("test", "Blorp!", "--json", "--world", world))["model_hears"] == "***!"


def test_it_shows_the_lists() -> None:
    """`words` shows which categories there are, and the words of one."""
    assert "self_harm" in run("words")
    assert "en: kill yourself" in run("words", "harassment")
    assert json.loads(run("words", "--json"))["hate"] > 10
    assert {one["lang"] for one in json.loads(run("words", "hate", "--json"))} >= {None, "en"}
    done = CliRunner().invoke(main, ["moderation", "words", "hat"])
    assert done.exit_code != 0
    assert "there is no list 'hat'; there are: harassment, hate" in done.output
