"""Third step: the prompt, from what never changes to what was just said."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from palaver.hookcalls import HookCall, call_sync
from palaver.prompt.neutralize import neutralize
from palaver.prompt.sections import Place, Prompt, Section
from palaver.turn.given import given_sections

if TYPE_CHECKING:
    from palaver.memory import Exchange
    from palaver.turn.model import Turn

__all__ = ["build_prompt"]

MOMENT_BLOCKS = frozenset({"relationships", "situation"})
"""Blocks that hold facts of the moment; they stand right before the last utterance."""

PRIORITIES = {
    "identity": 100,
    "rules": 95,
    "actions": 90,
    "situation": 80,
    "voice": 75,
    "relationships": 70,
    "knowledge": 50,
    "background": 45,
    "examples": 40,
}
"""What is dropped first when a prompt is too long: the lowest; 100 is never dropped."""
OTHER_PRIORITY = 60
HISTORY_PRIORITY = 55
HISTORY_BLOCK = 2
"""Exchanges of the conversation that are dropped together."""


def build_prompt(turn: Turn, calls: Sequence[HookCall]) -> Prompt:
    """Build the prompt of a turn.

    Args:
        turn: The turn, with its context.
        calls: Implementations of `palaver_prompt`.

    Returns:
        The prompt, which is also `turn.prompt`.

    Raises:
        TemplateError: The persona's template failed.
    """
    prompt = Prompt(
        _sections(turn) if turn.given_prompt is None else given_sections(turn.given_prompt)
    )
    turn.prompt = prompt
    if calls:
        before = [(one.name, one.text) for one in prompt.sections]
        call_sync(calls, turn.note, turn=turn, prompt=prompt)
        # What a plugin adds may belong to this player alone.
        turn.extended = before != [(one.name, one.text) for one in prompt.sections]
    return prompt


def _sections(turn: Turn) -> list[Section]:
    sections: list[Section] = []
    moment: list[Section] = []
    file = turn.persona.file.as_posix()
    inherited = turn.persona.template.inherited
    for name, text in turn.persona.template.render(turn.variables):
        place = Place.MOMENT if name in MOMENT_BLOCKS else Place.STABLE
        section = Section(
            name=name,
            role="user" if place is Place.MOMENT else "system",
            text=text,
            priority=PRIORITIES.get(name, OTHER_PRIORITY),
            source=f"{inherited.get(name, file)}#{name}",
            place=place,
        )
        (moment if place is Place.MOMENT else sections).append(section)
    history = _history(turn.npc.id, turn.history)
    if history and _is_said_again(turn, turn.history[-1]):
        # Where two NPCs talk, what one answers is the other's last reply: once is enough.
        history.pop()
    sections.extend(history)
    sections.extend(moment)
    sections.append(
        Section(
            name="utterance",
            role="user",
            # Once more as a whole: a name before a colon may be that of a role.
            text=neutralize(
                _spoken(turn.text, turn.cue, str(turn.variables["player"].get("name") or ""))
            ),
            priority=100,
            source="turn",
            place=Place.UTTERANCE,
        )
    )
    return sections


def _is_said_again(turn: Turn, past: Exchange) -> bool:
    return past.npc == turn.speaker and past.reply.split() == turn.text.split()


def _answers(past: Exchange, before: Exchange) -> bool:
    said_by_npc = past.counterpart == before.npc and not past.cue
    return said_by_npc and past.said.split() == before.reply.split()


# Remembered: a conversation's exchanges are in one prompt after the other.
_harmless = lru_cache(maxsize=4_096)(neutralize)


def _history(npc: str, history: Sequence[Exchange]) -> list[Section]:
    sections = []
    for index, past in enumerate(history):
        block = index // HISTORY_BLOCK
        said, reply = _as_heard(npc, past)
        # Where two NPCs talk, each line is a reply and then what the next one answers: it is read
        # once. A block begins with a user's line all the same, for it may come to be the first.
        if index % HISTORY_BLOCK == 0 or not _answers(past, history[index - 1]):
            sections.append(
                Section(
                    name=f"history.{index}.said",
                    role="user",
                    # Nobody knows who wrote what an older version, or another program, remembered.
                    text=_harmless(said),
                    priority=HISTORY_PRIORITY,
                    source="memory",
                    place=Place.HISTORY,
                    block=block,
                )
            )
        sections.append(
            Section(
                name=f"history.{index}.reply",
                role="assistant" if past.npc == npc else "user",
                text=_harmless(reply),
                priority=HISTORY_PRIORITY,
                source="memory",
                place=Place.HISTORY,
                block=block,
            )
        )
    return sections


def _as_heard(npc: str, past: Exchange) -> tuple[str, str]:
    """Return both sides of an exchange as this NPC reads them; only its replies are bare.

    Of an exchange in which it did not reply, both are the user's: a model takes every assistant's
    line for its own, and many chat templates want a user's line first.
    """
    if past.npc == npc:
        return _spoken(past.said, past.said if past.cue else None, past.speaker_name), past.reply
    reply = f"{past.npc_name or past.npc}: {past.reply}"
    if past.counterpart == npc and not past.cue:
        return f"(You said: {past.said})", reply
    return _spoken(past.said, past.said if past.cue else None, past.speaker_name), reply


def _spoken(text: str, cue: str | None, name: str) -> str:
    """Write an utterance as the model reads it; brackets mark what was not said."""
    if cue is not None:
        return f"({cue})"
    if not text.strip():
        return f"({name or 'The other'} says nothing.)"
    return f"{name}: {text}" if name else text
