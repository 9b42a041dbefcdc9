"""`palaver plugins`: what is loaded, and what is not."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palaver.cli.options import Command, json_option, world_argument

if TYPE_CHECKING:
    from palaver.plugins import Plugins

__all__ = ["command"]


@click.command(
    "plugins",
    cls=Command,
    example="""
    palaver plugins
    palaver plugins my-game
    palaver plugins --json
    """,
)
@world_argument
@json_option
def command(world: str | None, as_json: bool) -> None:
    """List the plugins that are loaded.

    Shows the installed ones and those of WORLD, with their version, where they come from, and their
    hooks, or why they do not run. PALAVER_PLUGINS=name,name limits which installed ones load;
    PALAVER_TRACE_HOOKS=1 logs every hook call.
    """
    from palaver.cli.output import console, log_to_stderr, print_json, safe, short_path, table
    from palaver.plugins import core_info

    # Problems are part of the list; the log would tell them a second time.
    log_to_stderr("critical")
    plugins = _load(world)
    infos = [core_info(), *plugins.infos]
    if as_json:
        print_json(
            {
                "plugins": [asdict(info) for info in infos],
                "backend_types": {
                    name: kind.summary for name, kind in plugins.backend_types.items()
                },
                "worlds": {name: str(folder) for name, folder in plugins.worlds.items()},
            }
        )
        return
    out = console()
    rows = table("plugin", "version", "source", "hooks")
    for info in infos:
        hooks = "\n".join(hook.removeprefix("palaver_") for hook in info.hooks)
        rows.add_row(
            f"[bold]{safe(info.name)}[/]",
            safe(info.version),
            safe(short_path(Path(info.source)) if info.source.endswith(".py") else info.source),
            f"[red]{safe(info.problem)}[/]" if info.problem else safe(hooks),
        )
    out.print(rows)
    if plugins.backend_types:
        kinds = table("backend type", "")
        for name, kind in sorted(plugins.backend_types.items()):
            kinds.add_row(safe(name), safe(kind.summary))
        out.print()
        out.print(kinds)
    if plugins.worlds:
        out.print()
        out.print(f"Example worlds: {safe(', '.join(sorted(plugins.worlds)))}", soft_wrap=True)


def _load(world: str | None) -> Plugins:
    from palaver.config.load import load_settings
    from palaver.plugins import PluginInfo, make_plugin_manager
    from palaver.startup import locate
    from palaver.world.trust import TrustStore

    first = make_plugin_manager()
    try:
        located = locate(world, first)
    except Exception:
        if world is not None:
            raise
        return first
    file = located.folder / "palaver.toml"
    settings = load_settings(file if file.is_file() else None)
    trust = TrustStore()
    trusted = located.shipped or trust.is_trusted(located.folder)
    folder = located.folder / "plugins"
    plugins = make_plugin_manager(
        world_plugins=folder if trusted else None,
        block=settings.plugins.block if trusted else [],
    )
    if not trusted:
        # Whoever has just written one wonders where it is.
        changed = trust.has_changed(located.folder)
        state = "has changed since you trusted it" if changed else "is not trusted"
        problem = f"does not run: the world {state}; see `palaver trust {world or '.'}`"
        plugins.infos += [
            PluginInfo(file.stem, "", str(file), problem=problem)
            for file in sorted(folder.glob("*.py"))
        ]
    return plugins
