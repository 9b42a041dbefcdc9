"""What counts as repeating, and how much is remembered of it."""

from __future__ import annotations

import pytest

from palaver.quality.refusals import is_refusal, refuses
from palaver.quality.repetition import PAIRS, RUNS, Repetition

LINE = "The moon is late tonight, and so is my patience with you."


@pytest.mark.parametrize(
    ("reply", "repeats"),
    [
        (LINE, True),
        (LINE.upper(), True),
        ("The moon is late tonight, and so is my brother.", True),
        ("You are late, and the moon knows it well enough tonight.", False),
        ("Come closer, let me look at you.", False),
    ],
    ids=["same", "louder", "mostly the same", "same words", "other"],
)
def test_what_repeats(reply: str, repeats: bool) -> None:
    """Half of its runs of words were heard before; single words do not count."""
    heard = Repetition()
    assert heard.hear("pair", LINE) is None
    assert heard.hear("pair", reply) is repeats


def test_a_short_reply_repeats_as_a_whole() -> None:
    """A grunt is the same grunt, or another one."""
    heard = Repetition()
    heard.hear("pair", "Nnngh.")
    assert heard.hear("pair", "Nnngh!") is True
    assert heard.hear("pair", "Hrrr.") is False
    assert heard.hear("pair", "...") is None


def test_everybody_hears_for_himself() -> None:
    """What one player heard is new to another."""
    heard = Repetition()
    heard.hear(("shard", "vlad", "ada"), LINE)
    assert heard.hear(("shard", "vlad", "bea"), LINE) is None
    assert heard.hear(("shard", "vlad", "ada"), LINE) is True


def test_little_is_remembered() -> None:
    """Long replies and many players stay within bounds; what is old is forgotten."""
    heard = Repetition(pairs=3)
    heard.hear("first", LINE)
    for number in range(40):
        heard.hear("first", " ".join(f"word{number}x{index}" for index in range(500)))
    assert heard.hear("first", LINE) is False
    (runs,) = heard._heard.values()
    assert len(runs) <= RUNS
    for number in range(10):
        heard.hear(number, LINE)
    assert len(heard) == 3
    assert heard.hear("first", LINE) is None
    assert PAIRS * RUNS * 8 < 10_000_000, "some megabytes"


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        ("Well, as an AI I do not have blood.", True),
        ("I'm just a language model, traveller.", True),
        ("I cannot assist with that request.", True),
        ("I\u2019m unable to help you with this.", True),
        ("Als KI darf ich das nicht sagen.", True),
        ("En tant qu'IA, je ne dors pas.", True),
        ("I cannot help you, the bridge is gone.", False),
        ("As an aide to the king I serve.", False),
        ("I am a vampire. I will not go into the light.", False),
        ("No.", False),
    ],
)
def test_what_is_a_refusal(reply: str, refused: bool) -> None:
    """What only an assistant says is told from what a character says no with."""
    assert is_refusal(reply) is refused


def test_why_a_check_objected() -> None:
    """Only an objection to a refusal counts as one."""
    assert refuses("a refusal instead of a reply")
    assert not refuses("a line this player just heard")
    assert not refuses(None)
