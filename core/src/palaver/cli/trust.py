"""`palaver trust`: let a world do more than being data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palaver.cli.options import Command, json_option

if TYPE_CHECKING:
    from palaver.world.trust import TrustStore

__all__ = ["command"]


@dataclass(frozen=True, slots=True)
class Wants:
    """What a world wants that needs trust.

    Attributes:
        world: Its folder.
        trusted: Whether it is trusted, as it is now.
        changed: Whether it was trusted once and has changed since.
        plugins: Files that would run.
        settings: Addresses, keys and other settings that would be used, in words.
    """

    world: str
    trusted: bool
    changed: bool
    plugins: list[str]
    settings: list[str]


@click.command(
    "trust",
    cls=Command,
    example="""
    palaver trust my-game --show
    palaver trust my-game
    palaver trust my-game --revoke
    """,
)
@click.argument("world", type=click.Path(path_type=Path))
@click.option("--show", is_flag=True, help="Only show what it wants.")
@click.option("--revoke", is_flag=True, help="Trust it no longer.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def command(world: Path, show: bool, revoke: bool, yes: bool, as_json: bool) -> None:
    """Let a world run its plugins and use its addresses and keys.

    A world from somebody else is only text until you trust it. Read what this shows first: a
    plugin can do whatever you can. When its plugins or its palaver.toml change, you are asked
    again.
    """
    from palaver.cli.output import console, print_json
    from palaver.errors import WorldError
    from palaver.world.trust import TrustStore

    if show and revoke:
        raise click.UsageError("Give either --show or --revoke.")
    if not world.is_dir():
        raise WorldError(f"there is no folder {str(world)!r}; give the folder of a world")
    store = TrustStore()
    if revoke:
        was = store.revoke(world)
        if as_json:
            print_json({"world": str(world.resolve()), "trusted": False, "was_trusted": was})
        else:
            console().print("It is not trusted any more." if was else "It was not trusted.")
        return
    wants = _wants(world, store)
    if as_json and (show or not yes):
        # A program that has not said --yes is only told.
        print_json(asdict(wants))
        return
    if not as_json:
        _print(wants)
    if show or (wants.trusted and not as_json):
        return
    if not yes:
        click.confirm("Trust it?", abort=True)
    store.trust(world)
    if as_json:
        print_json({**asdict(wants), "trusted": True, "changed": False})
    else:
        console().print(f"Trusted. `palaver trust {world} --revoke` takes it back.", markup=False)


def _wants(world: Path, store: TrustStore) -> Wants:
    from palaver.plugins import make_plugin_manager
    from palaver.world.trust import world_settings

    plugins = make_plugin_manager(quiet=True)
    _, wanted = world_settings(
        world, trusted=False, types=plugins.backend_types, stores=plugins.store_types
    )
    return Wants(
        world=str(world.resolve()),
        trusted=store.is_trusted(world),
        changed=store.has_changed(world),
        plugins=[
            path.relative_to(world).as_posix()
            for path in sorted((world / "plugins").glob("**/*.py"))
        ],
        settings=[note.replace(" is left out", "") for note in wanted],
    )


def _print(wants: Wants) -> None:
    from palaver.cli.output import console, safe

    out = console()
    state = "[green]trusted[/]" if wants.trusted else "not trusted"
    if wants.changed:
        state = "[yellow]not trusted any more: it has changed[/]"
    out.print(f"[bold]{safe(wants.world)}[/] is {state}.", soft_wrap=True)
    if not (wants.plugins or wants.settings):
        out.print("It wants nothing that needs trust.")
        return
    if wants.plugins:
        out.print("It runs these plugins:")
        for plugin in wants.plugins:
            out.print(f"  {safe(plugin)}", soft_wrap=True)
    if wants.settings:
        out.print("It uses:")
        for setting in wants.settings:
            out.print(f"  {safe(setting)}", soft_wrap=True)
