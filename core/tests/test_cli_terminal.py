"""`palaver chat` on a real terminal: choosing, interrupting, being told of broken files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]

pytestmark = pytest.mark.timeout(120)


def test_a_talk(start: Start, trusted: str) -> None:
    """It offers a choice, streams the reply in the character's name, and shows the trail."""
    chat = start("chat", trusted)
    shown = chat.read_until("Whom do you talk to?")
    assert "vampire" in shown
    chat.type("vamp\n")
    chat.read_until("You are talking to", "> ")
    chat.type("Hello.\n")
    shown = chat.read_until("first words", "> ")
    assert "Vlad: Good evening, Player.\n  local (script-1) served" in shown
    assert "\x1b[1;36mVlad\x1b[0m:" in chat.raw
    chat.type("/quit\n")
    assert chat.end() == 0


def test_interrupting_a_reply(start: Start, trusted: str) -> None:
    """Ctrl-C while somebody speaks ends that reply only; what was shown is remembered."""
    chat = start("chat", trusted, "--npc", "vampire")
    chat.read_until("> ")
    chat.type("wait\n")
    chat.read_until("Well, let")
    chat.interrupt()
    shown = chat.read_until("cancelled", "> ")
    assert "(you interrupt)" in shown
    # A turn does not wait for a memory that is slow to read; the next one has it.
    for _ in range(20):
        chat.type("remember\n")
        if "['Well, let me'" in chat.read_until("I remember [", "first words", "> "):
            break
    else:
        pytest.fail("what was shown is not remembered")
    chat.type("\x04")
    assert chat.end() == 0


def test_interrupting_at_the_prompt_ends(start: Start, trusted: str) -> None:
    """Ctrl-C at the prompt ends the talk with exit code 130."""
    chat = start("chat", trusted, "--npc", "vampire")
    chat.read_until("> ")
    chat.type("half a lin")
    chat.read_until("half a lin")
    chat.interrupt()
    assert chat.end() == 130
    assert "Traceback" not in chat.raw


def test_interrupting_a_single_answer(start: Start, trusted: str) -> None:
    """Ctrl-C while --say waits stops the NPC and ends with exit code 130."""
    chat = start("chat", trusted, "--npc", "vampire", "--say", "wait", terminal=False)
    chat.read_until("Well, let")
    chat.interrupt()
    shown = chat.read_until("cancelled")
    assert chat.end() == 130
    assert "Traceback" not in shown


def test_a_broken_file_is_told_at_the_prompt(start: Start, trusted: str) -> None:
    """A persona broken while one chats is told above the prompt, and what was typed stays."""
    chat = start("chat", trusted, "--npc", "vampire")
    chat.read_until("> ")
    chat.type("Hel")
    chat.read_until("Hel")
    persona = Path(trusted) / "personas" / "vampire.md"
    text = persona.read_text()

    def save(text: str) -> None:
        # In one step, or the other process may look when half of it is there.
        beside = persona.with_suffix(".new")
        beside.write_text(text)
        beside.replace(persona)

    save(text.replace("lang: en", "lnag: en"))
    shown = chat.read_until("> Hel")
    assert "vampire.md:3:" in shown
    assert "did you mean `lang`?" in shown
    save(text)
    chat.read_until("is live again", "Hel")
    chat.type("lo.\n")
    chat.read_until("Good evening, Player.", "> ")


def test_no_colour(start: Start, trusted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR nothing is coloured."""
    monkeypatch.setenv("NO_COLOR", "1")
    chat = start("chat", trusted, "--npc", "vampire")
    chat.read_until("> ")
    chat.type("feel\n")
    assert "Vlad: (joy) Come in.\n" in chat.read_until("first words")
    assert "\x1b[1" not in chat.raw
    assert "\x1b[2m" not in chat.raw


def test_history_is_kept(start: Start, trusted: str) -> None:
    """The line before is an arrow key away, also the next time."""
    for keys in ("Hello.\n", "\x1b[A\n"):
        chat = start("chat", trusted, "--npc", "vampire")
        chat.read_until("> ")
        chat.type(keys)
        chat.read_until("Hello.", "Good evening, Player.", "> ")
        chat.type("\x04")
        assert chat.end() == 0
