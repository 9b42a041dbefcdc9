"""`palaver init`: a small world of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from palaver.cli.options import Command, json_option

__all__ = ["command"]

SEED = Path(__file__).parent / "seed"
"""The files of a new world."""


@click.command(
    "init",
    cls=Command,
    example="""
    palaver init my-game
    palaver init my-game --from body-broker
    """,
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--from", "example", metavar="EXAMPLE", help="Begin with a copy of an example world.")
@json_option
def command(folder: Path, example: str | None, as_json: bool) -> None:
    """Make a small world of your own.

    Writes one persona with its authored lines, a palaver.toml with comments and a folder for
    plugins into DIR, which must be new or empty, and trusts it.
    """
    from palaver.cli.output import console, print_json, safe
    from palaver.errors import WorldError
    from palaver.world.trust import TrustStore

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WorldError(f"{str(folder)!r} is not empty; name a folder that is new")
    source = SEED if example is None else _example(example)
    try:
        shutil.copytree(
            source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "data")
        )
        if not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("data/\n", encoding="utf-8")
    except OSError as err:
        raise WorldError(f"{str(folder)!r} cannot be written: {err}; choose another place") from err
    TrustStore().trust(folder)
    personas = sorted(path.stem for path in (folder / "personas").glob("*.md"))
    if as_json:
        print_json({"world": str(folder.resolve()), "trusted": True, "personas": personas})
        return
    out = console()
    if example is None and not _has_base():
        out.print(
            "[yellow]Its persona begins with npc.j2 of palaver-prompts, which is not installed: "
            "install `./prompts` from where Palaver itself came[/]",
            soft_wrap=True,
        )
    out.print(f"[bold]{safe(folder)}[/] is a world now, and you trust it.", soft_wrap=True)
    steps = [
        (f"palaver chat {folder} --npc {personas[0]}", "talk to somebody"),
        (f"personas/{personas[0]}.md", "change who that is; a saved change is live at once"),
        (f"palaver check {folder}", "find what is wrong with it"),
        (f"palaver serve {folder}", "let a game engine connect"),
    ]
    width = max(len(step) for step, _ in steps)
    for step, meaning in steps:
        out.print(f"  [bold]{safe(step.ljust(width))}[/]  [dim]{safe(meaning)}[/]", soft_wrap=True)


def _has_base() -> bool:
    """Return whether a plugin brings the template that the new persona begins with."""
    from palaver.plugins import make_plugin_manager

    folders = make_plugin_manager().template_folders
    return any((folder / "npc.j2").is_file() for folder in folders)


def _example(name: str) -> Path:
    from palaver.cli.output import log_to_stderr
    from palaver.errors import WorldError
    from palaver.hints import did_you_mean
    from palaver.plugins import make_plugin_manager

    log_to_stderr()
    worlds = make_plugin_manager().worlds
    if name not in worlds:
        missing = "; install `./prompts` of Palaver's checkout, which brings two"
        hint = did_you_mean(name, worlds) or missing
        raise WorldError(f"there is no example world {name!r}{hint}")
    return worlds[name]
