"""What the commands do and print."""

from __future__ import annotations

import os

import click

from palaver.cli.output import console, print_json, safe, table
from palaver.config.load import parse_plugin
from palaver.errors import PalaverError
from palaver.plugins import PluginSettings, make_plugin_manager
from palaver.startup import locate
from palaver.world.trust import TrustStore, world_settings
from palaver_moderation.config import ModerationSettings
from palaver_moderation.lists import Words, load_words
from palaver_moderation.rules import RuleBook
from palaver_moderation.said import masked

__all__ = ["run_test", "run_words"]


def run_test(text: str, lang: str, world: str | None, *, as_json: bool) -> None:
    """Show what of a text would be found, and what would be done about it.

    Args:
        text: The text.
        lang: The language it is said in.
        world: Folder or name of a world, or None for the defaults.
        as_json: Whether a program reads what is printed.

    Raises:
        PalaverError: There is no such world, or its settings cannot be used.
    """
    settings, words = _load(world)
    hits = RuleBook(settings, words).of(lang).find(text)
    rows = [
        {
            "category": hit.category,
            "text": hit.text,
            "start": hit.start,
            "end": hit.end,
            "found_by": hit.how,
            "player": settings.player_action(hit.category),
            "npc": settings.npc_action(hit.category),
        }
        for hit in hits
    ]
    refused = any(row["player"] == "refuse" for row in rows)
    hidden = [hit for hit in hits if settings.player_action(hit.category) == "mask"]
    heard = None if refused else masked(text, hidden, settings.mask)
    stopped = any(row["npc"] == "stop" for row in rows)
    if as_json:
        print_json({"found": rows, "model_hears": heard, "npc_stopped": stopped})
        return
    if not rows:
        click.echo("Nothing is found; a model would hear it as it is.")
        return
    shown = table("category", "found", "by", "said by a player", "said by an NPC")
    for row in rows:
        shown.add_row(
            *(safe(row[key]) for key in ("category", "text", "found_by", "player", "npc"))
        )
    screen = console()
    screen.print(shown)
    if heard is None:
        screen.print("A player who says this hears the persona's last words; no model is asked.")
    elif heard != text:
        screen.print(f"A model would hear: {safe(heard)}")
    else:
        screen.print("A model would hear it as it is.")


def run_words(category: str | None, world: str | None, *, as_json: bool) -> None:
    """Show the words of a category, or which categories there are.

    Args:
        category: The category, or None.
        world: Folder or name of a world, or None for the defaults.
        as_json: Whether a program reads what is printed.

    Raises:
        PalaverError: There is no such world or category.
    """
    settings, words = _load(world)
    if category is None:
        counts: dict[str, int] = {}
        for one in words.lists:
            counts[one.category] = counts.get(one.category, 0) + len(one.words)
        if as_json:
            print_json(counts)
            return
        shown = table("category", "words", "said by a player", "said by an NPC")
        for name, count in sorted(counts.items()):
            actions = settings.player_action(name), settings.npc_action(name)
            shown.add_row(safe(name), str(count), *actions)
        console().print(shown)
        return
    found = [one for one in words.lists if one.category == category]
    if not found:
        known = ", ".join(sorted({one.category for one in words.lists}))
        raise PalaverError(f"there is no list {category!r}; there are: {known}")
    if as_json:
        print_json([{"lang": one.lang, "words": list(one.words)} for one in found])
        return
    for one in found:
        for word in one.words:
            click.echo(f"{one.lang or 'all'}: {word}")


def _load(world: str | None) -> tuple[ModerationSettings, Words]:
    """Read settings and lists as a server would."""
    if world is None:
        settings = ModerationSettings()
        return settings, load_words(settings, None)
    plugins = make_plugin_manager(world_plugins=None, quiet=True)
    located = locate(world, plugins)
    trusted = located.shipped or TrustStore().is_trusted(located.folder)
    whole, _ = world_settings(
        located.folder,
        trusted=trusted,
        environ=os.environ,
        types=plugins.backend_types,
        stores=plugins.store_types,
    )
    kind = PluginSettings("moderation", ModerationSettings)
    settings = parse_plugin(whole, kind, file=located.folder / "palaver.toml")
    words = load_words(settings, located.folder, trusted=trusted)
    for problem in words.problems:
        click.echo(f"note: {problem}", err=True)
    return settings, words
