"""Finding, loading and listing plugins.

A plugin is a package with an entry point in the group `palaver`, or one file in a trusted world's
`plugins` folder. One that cannot be loaded is named with its distribution and version, and
everything goes on without it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from palaver import hookspecs
from palaver._version import __version__
from palaver.errors import PluginError
from palaver.hookcalls import resolve

if TYPE_CHECKING:
    import click

    from palaver.bridge import Bridge
    from palaver.chain.backend import BackendType

__all__ = ["PluginInfo", "Plugins", "WorldRegistry", "make_plugin_manager"]

log = logging.getLogger("palaver.plugins")

GROUP = "palaver"
ONLY = "PALAVER_PLUGINS"
"""Environment variable: a comma-separated list of the only packages to load."""
MAX_FILE_BYTES = 1_000_000


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


class WorldRegistry:
    """What `palaver_register_world` hands templates and example worlds to."""

    def __init__(self) -> None:
        self.template_folders: list[Path] = []
        self.worlds: dict[str, Path] = {}

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
            raise PluginError(name, "is the name of another plugin's world; choose another")
        self.worlds[name] = folder


@dataclass(slots=True)
class Plugins:
    """The plugins of one process.

    Attributes:
        manager: pluggy's manager, for hooks.
        infos: What was found, loaded or not.
        backend_types: Backend types by name.
        bridges: Bridges.
        template_folders: Folders of base templates.
        worlds: Example worlds by name.
    """

    manager: pluggy.PluginManager
    infos: list[PluginInfo] = field(default_factory=list)
    backend_types: dict[str, BackendType] = field(default_factory=dict)
    bridges: list[Bridge] = field(default_factory=list)
    template_folders: list[Path] = field(default_factory=list)
    worlds: dict[str, Path] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What could not be loaded, in words."""
        return [f"plugin {one.source}: {one.problem}" for one in self.infos if one.problem]

    def commands(self) -> list[click.Command]:
        """Return the commands that plugins add to `palaver`."""
        found: dict[str, click.Command] = {}

        def register(command: click.Command) -> None:
            name = command.name or ""
            if name in found:
                raise PluginError(name, "is a command of another plugin")
            found[name] = command

        self._collect("palaver_register_commands", register)
        return list(found.values())

    def collect(self) -> None:
        """Call the register hooks, each plugin by itself."""
        worlds = WorldRegistry()
        self._collect("palaver_register_backends", self._add_backend_type)
        self._collect("palaver_register_bridges", self.bridges.append)
        self._collect("palaver_register_world", worlds)
        self.template_folders = worlds.template_folders
        self.worlds = worlds.worlds

    def _add_backend_type(self, kind: BackendType) -> None:
        if kind.name in self.backend_types:
            raise PluginError(kind.name, "is a backend type of another plugin; choose another name")
        self.backend_types[kind.name] = kind

    def _collect(self, hook: str, register: Any) -> None:
        for call in resolve(self.manager, hook):
            try:
                call(register=register)
            except Exception as err:
                log.exception("plugin %s failed in %s", call.plugin, hook)
                self._mark(call.plugin, f"{hook} failed: {err}")

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
) -> Plugins:
    """Load the plugins.

    Args:
        world_plugins: The `plugins` folder of a trusted world, or None.
        block: Names that are not loaded.
        environ: The environment; the process's by default. `PALAVER_PLUGINS` limits which
            packages load.
    """
    environ = os.environ if environ is None else environ
    manager = pluggy.PluginManager("palaver")
    manager.add_hookspecs(hookspecs)
    for name in block:
        manager.set_blocked(name)
    plugins = Plugins(manager)
    only = environ.get(ONLY)
    wanted = None if only is None else {name.strip() for name in only.split(",") if name.strip()}
    for entry in _entry_points():
        if wanted is None or entry.name in wanted:
            _load(plugins, entry.name, entry.load, *_distribution(entry))
        else:
            plugins.infos.append(
                PluginInfo(entry.name, *_distribution(entry), problem=f"not named by {ONLY}")
            )
    if world_plugins is not None and world_plugins.is_dir():
        for file in sorted(world_plugins.glob("*.py")):
            _load(plugins, file.stem, lambda file=file: _import_file(file), "", str(file))  # type: ignore[misc]  # bound now
    plugins.collect()
    return plugins


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    found = importlib.metadata.entry_points(group=GROUP)
    return sorted(found, key=lambda entry: entry.name)


def _distribution(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    if entry.dist is None:
        return "", entry.value
    return entry.dist.version, entry.dist.name


def _load(
    plugins: Plugins, name: str, load: Callable[[], Any], version: str, source: str
) -> None:
    manager = plugins.manager
    label = f"{source} {version}".strip()
    if manager.is_blocked(name):
        plugins.infos.append(PluginInfo(name, version, source, problem="blocked in palaver.toml"))
        return
    try:
        module = load()
        if manager.has_plugin(name):
            raise PluginError(label, f"another plugin is named {name!r}; rename this one")
        manager.register(module, name)
        unknown = _unknown_hooks(module)
        if unknown:
            manager.unregister(name=name)
            raise PluginError(label, unknown)
        manager.check_pending()
    except Exception as err:
        if manager.get_plugin(name) is not None and not isinstance(err, PluginError):
            manager.unregister(name=name)
        problem = err.problem if isinstance(err, PluginError) else _in_words(err)
        log.error("plugin %s was not loaded: %s", label, problem)
        plugins.infos.append(PluginInfo(name, version, source, problem=problem))
        return
    hooks = tuple(sorted(call.name for call in manager.get_hookcallers(module) or ()))
    plugins.infos.append(PluginInfo(name, version, source, hooks))


def _import_file(file: Path) -> ModuleType:
    """Import one file under a name of its own, so that two worlds do not meet."""
    if file.stat().st_size > MAX_FILE_BYTES:
        raise PluginError(str(file), f"is larger than {MAX_FILE_BYTES} bytes")
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    name = f"_palaver_world_{digest}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(str(file), "cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _unknown_hooks(module: Any) -> str | None:
    """Return what is wrong with functions that look like hooks, or None."""
    known = [name for name in vars(hookspecs) if name.startswith("palaver_")]
    for name, value in vars(module).items():
        if not name.startswith("palaver_") or not callable(value):
            continue
        marked = getattr(value, "palaver_impl", None) is not None
        if name in known and not marked:
            return f"{name} is not marked; put @hookimpl above it (from palaver import hookimpl)"
        if marked and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"there is no hook {name}{hint}"
    return None


def _in_words(err: Exception) -> str:
    """Return an exception with the file and line it came from, for the plugin's author."""
    where = ""
    traceback = err.__traceback__
    while traceback is not None:
        file = Path(traceback.tb_frame.f_code.co_filename)
        if file.suffix == ".py" and "palaver" not in file.parts[-2:-1]:
            where = f" ({file.name}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    if isinstance(err, SyntaxError) and err.filename:
        where = f" ({Path(err.filename).name}:{err.lineno})"
    return f"{type(err).__name__}: {err}{where}"


def core_info() -> PluginInfo:
    """Return the entry for Palaver's own hooks."""
    from palaver import builtin

    hooks = tuple(name for name in builtin.__all__ if name.startswith("palaver_"))
    return PluginInfo("palaver", __version__, "palaver", hooks)
