"""How `palaver render` shows a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from palaver.chain.backend import BackendSettings
from palaver.cli.output import console, plain, print_json, safe
from palaver.cli.preview import Asked, NoMemory, make_turn
from palaver.errors import ConfigError
from palaver.gateway import Gateway
from palaver.hints import did_you_mean
from palaver.prompt.sections import Prompt
from palaver.prompt.trim import budget_chars, trim
from palaver.startup import prepare
from palaver.turn.model import Turn

__all__ = ["Asked", "show"]

COLOURS = {"STABLE": "cyan", "HISTORY": "magenta", "MOMENT": "yellow", "UTTERANCE": "green"}
"""Colour of each place in the prompt."""


async def show(
    world: str, settings: Mapping[str, Any], asked: Asked, *, messages: bool, as_json: bool
) -> None:
    """Print the prompt of one turn.

    Args:
        world: A folder or the name of an example.
        settings: Settings by dotted key.
        asked: What the turn is made of.
        messages: Whether to show messages instead of sections.
        as_json: Whether a program reads it.

    Raises:
        PalaverError: The world, the persona or a setting cannot be used.
    """
    # No model is asked, so none needs to be looked for.
    parts = await prepare(world, overrides={"server.detect": False, **settings})
    parts.memory = NoMemory()
    gateway = Gateway(parts)
    turn = await make_turn(gateway, asked)
    assert turn.prompt is not None
    name, backend = _backend(gateway, turn, asked.backend)
    prompt: Prompt = turn.prompt
    dropped: Sequence[str] = ()
    if asked.backend is not None and backend.context_tokens is not None:
        budget = budget_chars(backend.context_tokens, turn.tier.max_tokens, backend.chars_per_token)
        prompt, dropped = trim(prompt, budget)
    ratio = backend.chars_per_token
    notes = list(turn.trace)
    if dropped:
        notes.append(f"left out for {name}: {', '.join(dropped)}")
    if as_json:
        print_json(_data(turn, prompt, ratio, notes))
    elif messages:
        _print_messages(prompt)
    else:
        _print_sections(turn, prompt, ratio, notes)


def _backend(gateway: Gateway, turn: Turn, wanted: str | None) -> tuple[str, BackendSettings]:
    """Return the backend whose estimate of tokens is used: the first that has a model."""
    if wanted is not None and wanted not in gateway.backends:
        hint = did_you_mean(wanted, gateway.backends)
        raise ConfigError(f"there is no backend {wanted!r}{hint}")
    names = [wanted] if wanted is not None else turn.tier.chain
    for name in names:
        entry = gateway.backends.get(name)
        if entry is not None and (wanted is not None or not entry.type.instant):
            return name, entry.backend.settings
    return "", BackendSettings(type="none")


def _tokens(characters: int, ratio: float) -> int:
    return round(characters / ratio)


def _data(turn: Turn, prompt: Prompt, ratio: float, notes: list[str]) -> dict[str, Any]:
    return {
        "persona": turn.persona.id,
        "tier": turn.tier_name,
        "intent": turn.intent,
        "mood": turn.mood,
        "lang": turn.lang,
        "characters": prompt.length(),
        "tokens_estimated": _tokens(prompt.length(), ratio),
        "sections": [
            {
                "name": section.name,
                "place": section.place.name.lower(),
                "role": section.role,
                "source": section.source,
                "priority": section.priority,
                "characters": len(section.text),
                "tokens_estimated": _tokens(len(section.text), ratio),
                "text": section.text,
            }
            for section in prompt.sections
        ],
        "messages": [message._asdict() for message in prompt.messages()],
        "notes": notes,
    }


def _print_messages(prompt: Prompt) -> None:
    out = console()
    for index, message in enumerate(prompt.messages()):
        if index:
            out.print()
        out.print(f"[bold cyan]{message.role}[/]")
        out.print(plain(message.content), markup=False, soft_wrap=not out.is_terminal)


def _print_sections(turn: Turn, prompt: Prompt, ratio: float, notes: list[str]) -> None:
    out = console()
    for section in prompt.sections:
        colour = COLOURS[section.place.name]
        size = len(section.text)
        out.print(
            f"[bold {colour}]{safe(section.name)}[/] [dim]{section.place.name.lower()} · "
            f"{section.role} · {safe(section.source)} · priority {section.priority} · "
            f"{size} characters, about {_tokens(size, ratio)} tokens[/]",
            soft_wrap=True,
        )
        out.print(plain(section.text), markup=False, soft_wrap=not out.is_terminal)
        out.print()
    total = prompt.length()
    out.print(
        f"[bold]{len(prompt.sections)} sections, {total} characters, about "
        f"{_tokens(total, ratio)} tokens[/] [dim]· tier {turn.tier_name} · intent "
        f"{safe(turn.intent)} · mood {safe(turn.mood)} · {safe(turn.lang)}[/]",
        soft_wrap=True,
    )
    for note in notes:
        out.print(f"[yellow]{safe(note)}[/]", soft_wrap=True)
