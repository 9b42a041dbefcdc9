"""Arguments and options that several commands share."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

__all__ = ["Command", "count", "facts", "json_option", "set_option", "world_argument"]

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command with `--debug`, which `palaver` itself looks for, and an example in its help."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.params.append(click.Option(["--debug"], is_flag=True, hidden=True, expose_value=False))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are typed."""
        super().format_epilog(ctx, formatter)
        if self.example:
            with formatter.section("Examples"):
                for line in self.example.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")


def world_argument(function: F) -> F:
    """Add `[WORLD]`: a folder or the name of an example."""
    return click.argument("world", required=False)(function)


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, for programs to read."
    )(function)


def set_option(function: F) -> F:
    """Add `--set KEY=VALUE`, which comes before environment and file."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_settings,
        help="Change a setting of palaver.toml for this run, such as "
        "tiers.elite.first_text_ms=900; may be repeated.",
    )(function)


def _settings(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
    return dict(_pair(text, param) for text in values)


def _pair(text: str, param: click.Parameter | None) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param=param)
    return key, value_of(value)


def value_of(text: str) -> Any:
    """Return what stands behind a `=`: a TOML value, or the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text.strip()


def count(number: int, what: str) -> str:
    """Return `no errors`, `1 error`, `2 errors`."""
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def facts(pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Sort facts by whose they are.

    Args:
        pairs: `hunger=9` of the NPC, `player.reputation=friend`, `game.night=true`.

    Returns:
        Facts under `npc`, `player` and `game`.

    Raises:
        click.BadParameter: One is not `NAME=VALUE`.
    """
    found: dict[str, dict[str, Any]] = {"npc": {}, "player": {}, "game": {}}
    for text in pairs:
        name, value = _pair(text, None)
        owner, dot, rest = name.partition(".")
        if dot and owner in found and rest:
            found[owner][rest] = value
        else:
            found["npc"][name] = value
    return found
