"""`palaver ollama`: downloads models and shows what servers hold in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from palaver.cli.options import Command, json_option, world_argument

__all__ = ["ollama"]

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def ollama() -> None:
    """Download models for Ollama, and show what it holds in memory."""


def _url_option(function: F) -> F:
    return click.option(
        "--url", metavar="URL", help="The server, instead of those in palaver.toml."
    )(function)


@ollama.command(
    cls=Command,
    example="palaver ollama pull llama3.2\n"
    "palaver ollama pull qwen3:4b my-game\n"
    "palaver ollama pull llama3.2 --url http://127.0.0.1:11434 --json",
)
@click.argument("model")
@world_argument
@_url_option
@json_option
def pull(model: str, world: str | None, url: str | None, as_json: bool) -> None:
    """Download MODEL to the Ollama servers of WORLD.

    Without a world, or a backend of this type in it, the server is the one on this machine. A
    download that was interrupted goes on where it was.
    """
    from palaver_ollama.commands import run_pull

    run_pull(model, world, url, as_json=as_json)


@ollama.command(cls=Command, example="palaver ollama status\npalaver ollama status my-game --json")
@world_argument
@_url_option
@json_option
def status(world: str | None, url: str | None, as_json: bool) -> None:
    """Show which models the Ollama servers of WORLD hold in memory, and until when."""
    from palaver_ollama.commands import run_status

    run_status(world, url, as_json=as_json)
