"""`palaver render`: the exact prompt of a persona."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Cli = Callable[..., Result]


def test_sections(cli: Cli, trusted: str) -> None:
    """Each section stands with its name, place, source and length, in the order of the prompt."""
    result = cli("render", trusted, "vampire", "--say", "Good evening.", "--fact", "hunger=9")
    assert result.exit_code == 0, result.output
    out = result.stdout
    assert "identity stable · system · npc.j2#identity · priority 100 · 13 char" in out
    assert "\nYou are Vlad.\n" in out
    assert out.index("You are Vlad.") < out.index("\nHunger: 9.\n")
    assert out.index("Hunger: 9.") < out.index("\nPlayer: Good evening.\n")
    assert "3 sections, 44 characters, about 11 tokens" in out
    assert "intent greeting" in out


def test_messages(cli: Cli, trusted: str) -> None:
    """--messages shows what a model server gets."""
    out = cli("render", trusted, "vampire", "--player", "Ada", "--messages").stdout
    assert out == "system\nYou are Vlad.\n\nuser\nHunger: 0.\n\nAda: Hello.\n"


def test_json(cli: Cli, trusted: str, read_json: Callable[[Result], Any]) -> None:
    """With --json a program gets sections and messages."""
    found = read_json(cli("render", trusted, "vampire", "--json", "--cue", "It rains."))
    assert [one["place"] for one in found["sections"]] == ["stable", "moment", "utterance"]
    assert found["sections"][1]["source"] == "personas/vampire.md#situation"
    assert found["messages"][-1] == {"role": "user", "content": "Hunger: 0.\n\n(It rains.)"}
    assert found["characters"] == sum(one["characters"] for one in found["sections"])


def test_a_backend_trims(cli: Cli, trusted: str) -> None:
    """--backend shows the prompt as it is trimmed for that one, and what was left out."""
    persona = Path(trusted) / "personas" / "vampire.md"
    text = persona.read_text().replace("Hunger: ", "Hunger " + "very " * 100)
    persona.write_text(text)
    result = cli(
        "render",
        trusted,
        "vampire",
        "--backend",
        "local",
        "--set",
        "backends.local.context_tokens=160",
        "--set",
        "tiers.elite.max_tokens=60",
    )
    assert result.exit_code == 0, result.output
    assert "left out for local: situation" in result.stdout
    assert "very very" not in result.stdout


def test_plugins_take_part(cli: Cli, trusted: str) -> None:
    """What plugins add to the prompt is shown, and one that fails is named."""
    (Path(trusted) / "plugins" / "weather.py").write_text(
        "from palaver import Place, Section, hookimpl\n"
        "@hookimpl\n"
        "def palaver_prompt(turn, prompt):\n"
        "    prompt.add(Section('weather', 'user', 'It rains.', 20, 'weather', Place.MOMENT))\n"
        "@hookimpl\n"
        "def palaver_build_context(turn):\n"
        "    raise ValueError('no context')\n"
    )
    cli("trust", trusted, "--yes")
    out = cli("render", trusted, "vampire").stdout
    assert "weather moment · user · weather · priority 20" in out
    assert "plugin weather failed in palaver_build_context" in out


def test_markup_of_others_is_text(cli: Cli, trusted: str) -> None:
    """Brackets in a persona are shown as they are, not taken for styles."""
    persona = Path(trusted) / "personas" / "vampire.md"
    persona.write_text(persona.read_text().replace("Hunger: ", "[bold]Hunger[/]: "))
    assert "\n[bold]Hunger[/]: 0.\n" in cli("render", trusted, "vampire").stdout


def test_unknown_names(cli: Cli, trusted: str) -> None:
    """A persona, tier or backend there is not is an error that names the nearest."""
    result = cli("render", trusted, "vampyre")
    assert (result.exit_code, "did you mean `vampire`?" in result.stderr) == (1, True)
    result = cli("render", trusted, "vampire", "--backend", "locl")
    assert (result.exit_code, "did you mean `local`?" in result.stderr) == (1, True)
    result = cli("render", trusted, "vampire", "--tier", "bos")
    assert (result.exit_code, "there is no tier 'bos'" in result.stderr) == (1, True)
