"""How `palaver check` looks at a world."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from palaver.cli.options import count
from palaver.config.load import load_settings, parse_plugin
from palaver.config.models import Settings
from palaver.errors import ConfigError
from palaver.plugins import Plugins, make_plugin_manager
from palaver.startup import Located, chosen_store, locate
from palaver.world.check import Problem, check_world
from palaver.world.loader import load_world
from palaver.world.trust import TrustStore, world_settings

__all__ = ["find_problems"]


def find_problems(
    world: str | None, overrides: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> tuple[Path, list[Problem], str]:
    """Look at everything in a world.

    Args:
        world: A folder, the name of an example, or None.
        overrides: Settings by dotted key.
        environ: The environment, which comes before the file here as it does for a server; the
            process's by default.

    Returns:
        The world's folder, its problems, and what was looked at, in words.

    Raises:
        WorldError: There is no such world.
    """
    environ = os.environ if environ is None else environ
    first = make_plugin_manager(environ=environ)
    located = locate(world, first)
    folder = located.folder
    problems: list[Problem] = []
    toml = folder / "palaver.toml"
    try:
        settings = load_settings(
            toml if toml.is_file() else None, environ=environ, overrides=overrides
        )
    except ConfigError as err:
        # The rest of the world is still worth looking at.
        problems += _in_settings(err, folder)
        settings = load_settings(None)
    plugins = _plugins(located, settings, problems, first, environ)
    for refused in plugins.refused:
        problems += _in_settings(refused, folder)
    for table in plugins.tables.values():
        try:
            parse_plugin(settings, table, file=toml)
        except ConfigError as err:
            problems.extend(
                Problem(toml, one.line, "error", f"{one.key}: {one.problem}")
                for one in (err, *err.others)
            )
    for name in sorted(set(settings.plugins.names) - set(plugins.tables)):
        problems.append(
            Problem(toml, None, "warning", f"no plugin reads [plugins.{name}]; is it installed?")
        )
    try:
        chosen_store(settings, plugins.store_types, toml)
    except ConfigError as err:
        problems += _in_settings(err, folder)
    snapshot = load_world(folder, plugins.template_folders, trusted=located.shipped)
    problems += check_world(snapshot, settings, plugins.backend_types)
    lines = sum(len(found) for found in snapshot.lines.values())
    counts = ", ".join(
        [
            count(len(snapshot.personas), "persona"),
            count(lines, "line"),
            count(len(snapshot.adapters), "adapter"),
        ]
    )
    return folder, problems, counts


def _in_settings(err: ConfigError, folder: Path) -> Iterator[Problem]:
    """Yield what is wrong; what stands in no file, but in the environment, is the world's."""
    for one in (err, *err.others):
        key = f"{one.key}: " if one.key else ""
        yield Problem(Path(one.file or folder), one.line, "error", f"{key}{one.problem}")


def _plugins(
    located: Located,
    settings: Settings,
    problems: list[Problem],
    first: Plugins,
    environ: Mapping[str, str],
) -> Plugins:
    """Load the plugins the world would run with, and report those that fail."""
    folder = located.folder
    store = TrustStore()
    trusted = located.shipped or store.is_trusted(folder)
    if not trusted:
        try:
            _, wants = world_settings(
                folder,
                trusted=False,
                environ=environ,
                types=first.backend_types,
                stores=first.store_types,
            )
        except ConfigError:
            wants = []  # It is reported already.
        if any((folder / "plugins").glob("*.py")):
            wants.insert(0, "its plugins do not run and were not looked at")
        if wants:
            changed = store.has_changed(folder)
            state = "has changed since it was trusted" if changed else "is not trusted"
            problems.append(
                Problem(
                    folder,
                    None,
                    "warning",
                    f"this world {state}: {'; '.join(wants)}. Look at what it wants, then run "
                    f"`palaver trust {folder}`",
                )
            )
    plugins = make_plugin_manager(
        world_plugins=folder / "plugins" if trusted else None,
        block=settings.plugins.block if trusted else [],
        environ=environ,
    )
    problems.extend(
        Problem(Path(info.source), None, "error", info.problem)
        for info in plugins.infos
        if info.problem and Path(info.source).is_relative_to(folder)
    )
    return plugins
