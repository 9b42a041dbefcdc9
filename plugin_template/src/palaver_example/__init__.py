"""A Palaver plugin: a backend that answers in rhyme, and a fact for templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from palaver import BackendType, Turn, hookimpl
from palaver_example.backend import ExampleBackend, ExampleSettings

__all__ = ["palaver_build_context", "palaver_register_backends"]


@hookimpl
def palaver_register_backends(register: Callable[[BackendType], None]) -> None:
    """Offers `type = "example"` for `palaver.toml`."""
    register(
        BackendType(
            name="example",
            settings=ExampleSettings,
            create=lambda name, settings, context: ExampleBackend(name, settings),
            summary="answers in rhyme",
            # Names of settings that are addresses; it talks to no other machine.
            addresses=frozenset(),
        )
    )


@hookimpl
def palaver_build_context(turn: Turn) -> Mapping[str, Any]:
    """Lets a persona's template say `{{ context.example_words }}`: the length of the utterance."""
    return {"example_words": len(turn.text.split())}
