"""Finding, loading and listing plugins.

A plugin is a package with an entry point in the group `palaver`, or one file in a trusted world's
`plugins` folder. One that cannot be loaded is named with its distribution and version, and
everything goes on without it.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from palaver import hookspecs
from palaver._version import __version__
from palaver.errors import ConfigError, PluginError
from palaver.hookcalls import CORE, HookCall, resolve
from palaver.plugin_files import hook_problem, import_file, in_words

if TYPE_CHECKING:
    import click
    from pydantic import BaseModel

    from palaver.bridge import Bridge
    from palaver.chain.backend import BackendType
    from palaver.store import StoreType

__all__ = ["PluginInfo", "PluginSettings", "Plugins", "WorldRegistry", "make_plugin_manager"]

log = logging.getLogger("palaver.plugins")

GROUP = "palaver"
ONLY = "PALAVER_PLUGINS"
"""Environment variable: a comma-separated list of the only packages to load."""
_BLOCKED = "blocked in palaver.toml"
_NOT_NAMED = f"not named by {ONLY}"
_ON_PURPOSE = (_BLOCKED, _NOT_NAMED)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One plugin, for listings.

    Attributes:
        name: Its name.
        version: Its version, or empty for a file of a world.
        source: The distribution, or the file.
        hooks: The hooks it implements, in alphabetical order.
        problem: Why it was not loaded, or None.
    """

    name: str
    version: str
    source: str
    hooks: Sequence[str] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """What may stand in `[plugins.NAME]`, as a plugin registers it.

    Attributes:
        name: NAME, best the plugin's own.
        model: Model of the table, with `extra="forbid"`.
    """

    name: str
    model: type[BaseModel]


class WorldRegistry:
    """What `palaver_register_world` hands templates and example worlds to."""

    def __init__(self, worlds: Mapping[str, Path] | None = None) -> None:
        self.template_folders: list[Path] = []
        self.worlds: dict[str, Path] = dict(worlds or {})

    def templates(self, folder: Path) -> None:
        """Add a folder of Jinja templates.

        Raises:
            PluginError: It is no folder.
        """
        if not folder.is_dir():
            raise PluginError(str(folder), "is no folder of templates")
        self.template_folders.append(folder)

    def world(self, name: str, folder: Path) -> None:
        """Add an example world.

        Raises:
            PluginError: It is no folder, or the name is taken.
        """
        if not folder.is_dir():
            raise PluginError(str(folder), "is no world folder")
        if name in self.worlds:
            raise PluginError(repr(name), "is the name of another plugin's world; choose another")
        self.worlds[name] = folder


@dataclass(slots=True)
class Plugins:
    """The plugins of one process.

    Attributes:
        manager: pluggy's manager, for hooks.
        infos: What was found, loaded or not.
        backend_types: Backend types by name.
        store_types: Store types by name.
        tables: What may stand in `[plugins.NAME]`, by that name.
        bridges: Bridges.
        template_folders: Folders of base templates.
        worlds: Example worlds by name.
        refused: What plugins said of their environment or settings when they registered: nobody
            should serve so.
    """

    manager: pluggy.PluginManager
    infos: list[PluginInfo] = field(default_factory=list)
    backend_types: dict[str, BackendType] = field(default_factory=dict)
    store_types: dict[str, StoreType] = field(default_factory=dict)
    tables: dict[str, PluginSettings] = field(default_factory=dict)
    bridges: list[Bridge] = field(default_factory=list)
    template_folders: list[Path] = field(default_factory=list)
    worlds: dict[str, Path] = field(default_factory=dict)
    refused: list[ConfigError] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What could not be loaded, in words, but for what was left out on purpose."""
        return [
            f"plugin {one.source}: {one.problem}"
            for one in self.infos
            if one.problem and one.problem not in _ON_PURPOSE
        ]

    def commands(self) -> list[click.Command]:
        """Return the commands that plugins add to `palaver`."""
        found: dict[str, click.Command] = {}
        self._named("palaver_register_commands", found, "command")
        return list(found.values())

    def collect(self) -> None:
        """Call the register hooks, each plugin by itself.

        Of a plugin that raises nothing is kept that it had registered with that hook.
        """
        self._named("palaver_register_backends", self.backend_types, "backend type")
        self._named("palaver_register_stores", self.store_types, "store type")
        self._named("palaver_register_settings", self.tables, "settings")
        bridges: dict[str, Bridge] = {}
        self._named("palaver_register_bridges", bridges, "bridge")
        self.bridges.extend(bridges.values())
        for bridge in bridges.values():
            self._listen(bridge)
        for call in resolve(self.manager, "palaver_register_world"):
            worlds = WorldRegistry(self.worlds)
            if self._call(call, worlds):
                self.template_folders.extend(worlds.template_folders)
                self.worlds = worlds.worlds

    def _listen(self, bridge: Bridge) -> None:
        """Let the methods of a bridge that are marked with `hookimpl` be called as a plugin's."""
        if self.manager.is_registered(bridge):
            return
        try:
            self.manager.register(bridge, f"{bridge.name} (bridge)")
        except Exception:
            log.exception("bridge %s has hooks that cannot be called; it goes on", bridge.name)

    def _named(self, hook: str, found: dict[str, Any], noun: str) -> None:
        """Call a hook whose plugins register things with a name each."""
        for call in resolve(self.manager, hook):
            own: dict[str, Any] = {}

            def register(thing: Any, own: dict[str, Any] = own) -> None:
                if thing.name in own or thing.name in found:
                    problem = f"is the name of another plugin's {noun}; choose another"
                    raise PluginError(repr(thing.name), problem)
                own[thing.name] = thing

            if self._call(call, register):
                found.update(own)

    def _call(self, call: HookCall, register: Any) -> bool:
        """Let one plugin register; returns whether it did so without failing."""
        try:
            call(register=register)
        except ConfigError as err:
            # Whoever runs the server has to mend that, not the plugin's author.
            self.refused += (err, *err.others)
            self._mark(call.plugin, str(err))
            return False
        except Exception as err:
            log.exception("plugin %s failed in %s", call.plugin, call.hook)
            if isinstance(err, PluginError):
                problem = f"{err.plugin} {err.problem}"
            else:
                problem = in_words(err)
            self._mark(call.plugin, f"{call.hook}: {problem}")
            return False
        return True

    def _mark(self, name: str, problem: str) -> None:
        for index, info in enumerate(self.infos):
            if info.name == name:
                self.infos[index] = PluginInfo(
                    info.name, info.version, info.source, info.hooks, problem
                )


def make_plugin_manager(
    *,
    world_plugins: Path | None = None,
    block: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> Plugins:
    """Load the plugins, after Palaver's own hooks.

    Args:
        world_plugins: The `plugins` folder of a trusted world, or None.
        block: Names that are not loaded; Palaver's own hooks cannot be left out.
        environ: The environment; the process's by default. `PALAVER_PLUGINS` limits which
            packages load.
        quiet: Whether to log nothing of plugins that fail, because they will be loaded again.
    """
    if quiet:
        disabled, log.disabled = log.disabled, True
        try:
            return make_plugin_manager(world_plugins=world_plugins, block=block, environ=environ)
        finally:
            log.disabled = disabled
    from palaver import builtin  # It needs the turn, and the turn needs what is here.

    environ = os.environ if environ is None else environ
    manager = pluggy.PluginManager("palaver")
    manager.add_hookspecs(hookspecs)
    manager.register(builtin, CORE)
    for name in block:
        if name != CORE:
            manager.set_blocked(name)
    plugins = Plugins(manager)
    only = environ.get(ONLY)
    wanted = None if only is None else {name.strip() for name in only.split(",") if name.strip()}
    for entry in _entry_points():
        if wanted is None or entry.name in wanted:
            _load(plugins, entry.name, entry.load, *_distribution(entry))
        else:
            plugins.infos.append(PluginInfo(entry.name, *_distribution(entry), problem=_NOT_NAMED))
    if world_plugins is not None and world_plugins.is_dir():
        for file in sorted(filter(Path.is_file, world_plugins.glob("[!_.]*.py"))):
            _load(plugins, file.stem, lambda file=file: import_file(file), "", str(file))  # type: ignore[misc]  # bound now
    plugins.collect()
    return plugins


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    found = importlib.metadata.entry_points(group=GROUP)
    return sorted(found, key=lambda entry: entry.name)


def _distribution(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    if entry.dist is None:
        return "", entry.value
    return entry.dist.version, entry.dist.name


def _load(plugins: Plugins, name: str, load: Callable[[], Any], version: str, source: str) -> None:
    manager = plugins.manager
    label = f"{source} {version}".strip()
    if manager.is_blocked(name):
        plugins.infos.append(PluginInfo(name, version, source, problem=_BLOCKED))
        return
    try:
        module = load()
        if manager.has_plugin(name):
            raise PluginError(label, f"another plugin is named {name!r}; rename this one")
        if problem := hook_problem(module):
            raise PluginError(label, problem)
        manager.register(module, name)
    except (Exception, SystemExit) as err:  # a script may end itself when it is imported
        problem = err.problem if isinstance(err, PluginError) else in_words(err)
        log.error("plugin %s was not loaded: %s", label, problem)
        plugins.infos.append(PluginInfo(name, version, source, problem=problem))
        return
    hooks = tuple(sorted(call.name for call in manager.get_hookcallers(module) or ()))
    plugins.infos.append(PluginInfo(name, version, source, hooks))


def core_info() -> PluginInfo:
    """Return the entry for Palaver's own hooks."""
    from palaver import builtin

    hooks = tuple(name for name in builtin.__all__ if name.startswith("palaver_"))
    return PluginInfo("palaver", __version__, "palaver", hooks)
