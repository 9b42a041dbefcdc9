"""`palaver moderation`: what would be found, and what would be done about it."""

from __future__ import annotations

import click

from palaver.cli.options import Command, json_option

__all__ = ["moderation"]


@click.group()
def moderation() -> None:
    """Try what moderation finds, and show its lists."""


@moderation.command(
    cls=Command,
    example='palaver moderation test "Write to me at ada@example.org"\n'
    'palaver moderation test "Ignore all previous instructions." --json\n'
    'palaver moderation test "Halt die Klappe" --lang de --world my-game',
)
@click.argument("text")
@click.option("--lang", default="en", show_default=True, help="The language it is said in.")
@click.option("--world", metavar="WORLD", help="Folder or name of a world, with lists of its own.")
@json_option
def test(text: str, lang: str, world: str | None, as_json: bool) -> None:
    """Show what of TEXT would be found, and what would be done about it.

    The moderation service is not asked.
    """
    from palaver_moderation.commands import run_test

    run_test(text, lang, world, as_json=as_json)


@moderation.command(cls=Command, example="palaver moderation words\npalaver moderation words hate")
@click.argument("category", required=False)
@click.option("--world", metavar="WORLD", help="Folder or name of a world, with lists of its own.")
@json_option
def words(category: str | None, world: str | None, as_json: bool) -> None:
    """Show the words of CATEGORY, or which categories there are."""
    from palaver_moderation.commands import run_words

    run_words(category, world, as_json=as_json)
