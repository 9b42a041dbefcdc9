"""From a world folder to the parts of a gateway: settings, trust, plugins, backends, memory."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from palaver.chain.backend import Backend, BackendContext, BackendSettings, BackendType
from palaver.config.load import parse_backend, parse_plugin, parse_store
from palaver.config.models import Settings
from palaver.errors import ConfigError, WorldError
from palaver.hints import did_you_mean
from palaver.memory.sqlite import SqliteMemory
from palaver.parts import Parts
from palaver.plugins import Plugins, make_plugin_manager
from palaver.spend.off import SwitchedOff, costs_money
from palaver.store import MemoryStore, Store, StoreSettings, StoreType
from palaver.world.loader import load_world
from palaver.world.trust import TrustStore, world_settings
from palaver.world.watch import WorldStore

__all__ = [
    "DEFAULT_WORLD",
    "Located",
    "chosen_store",
    "data_folder",
    "locate",
    "prepare",
    "state_folder",
]

log = logging.getLogger("palaver.startup")

DEFAULT_WORLD = "body-broker"
"""The example world that is served where no world is named and the folder is none."""
DETECT_S = 1.0
"""Time to look for a model server on this machine, in seconds, for each type."""
DETECTED = "local"
"""Name of a backend that was found; the shipped tiers ask for it."""
TOML = "palaver.toml"
MEMORY = StoreType("memory", StoreSettings, lambda settings: MemoryStore())
"""The store of this process alone."""


@dataclass(frozen=True, slots=True)
class Located:
    """A world that was found.

    Attributes:
        folder: Its folder.
        shipped: Whether it came with an installed plugin, which is trusted like the plugin.
    """

    folder: Path
    shipped: bool


def locate(world: str | Path | None, plugins: Plugins) -> Located:
    """Find a world by folder or by the name of an example.

    Args:
        world: A folder, the name of an example world, or None for the current folder if it is a
            world, else the default example.
        plugins: The plugins, which bring the examples.

    Raises:
        WorldError: There is no such world; the message names those there are.
    """
    if world is None:
        here = Path.cwd()
        if (here / TOML).is_file() or (here / "personas").is_dir():
            return Located(here, shipped=False)
        world = DEFAULT_WORLD
    folder = Path(world)
    if folder.is_dir():
        shipped = folder.resolve() in {known.resolve() for known in plugins.worlds.values()}
        return Located(folder.resolve(), shipped)
    found = plugins.worlds.get(str(world))
    if found is not None:
        return Located(found, shipped=True)
    known = ", ".join(sorted(plugins.worlds)) or "none are installed"
    raise WorldError(
        f"there is no folder {str(world)!r}, and no example world of that name ({known}); "
        "give a folder, or make one with `palaver init DIR`"
    )


def data_folder(located: Located, environ: Mapping[str, str]) -> Path:
    """Return the folder for what the server writes, and make it.

    It is `data` in a world of one's own; for a shipped world, or one that cannot be written to,
    a folder of the user's. `PALAVER_DATA_DIR` names another one.
    """
    named = environ.get("PALAVER_DATA_DIR")
    own = Path(platformdirs.user_data_dir("palaver")) / "worlds"
    if named:
        folder = Path(named)
    elif located.shipped:
        folder = own / located.folder.name
    elif not os.access(located.folder, os.W_OK):
        folder = own / _label(located.folder)
    else:
        folder = located.folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def state_folder(located: Located, environ: Mapping[str, str]) -> Path:
    """Return a folder of the user's for what is noted about a world, and make it.

    Unlike `data_folder` it is never in the world, so nothing in it came with a stranger's world.
    """
    named = environ.get("PALAVER_CONFIG_DIR")
    base = Path(named) if named else Path(platformdirs.user_state_dir("palaver"))
    folder = base / "worlds" / _label(located.folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _label(folder: Path) -> str:
    """Return a name for a world's folder that no other folder has."""
    digest = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{folder.name}-{digest[:12]}"


async def prepare(
    world: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    backend_types: Iterable[BackendType] = (),
    store_types: Iterable[StoreType] = (),
    trust: TrustStore | None = None,
) -> Parts:
    """Read a world and everything around it.

    Args:
        world: A folder or the name of an example world; see `locate`.
        overrides: Settings by dotted key that come before file and environment, such as
            `{"server.port": 0}`.
        environ: The environment; the process's by default.
        backend_types: Types besides those of plugins, for tests and programs.
        store_types: Types of stores, likewise.
        trust: Which worlds are trusted; the user's list by default.

    Raises:
        ConfigError: A setting, or a variable that a plugin reads, cannot be used.
        WorldError: The world is not there.
    """
    environ = os.environ if environ is None else environ
    trust = trust or TrustStore()
    backend_types, store_types = tuple(backend_types), tuple(store_types)
    # Only to find example worlds by their names: the world says which plugins it blocks.
    first = make_plugin_manager(environ=environ, quiet=True)
    located = locate(world, first)
    trusted = located.shipped or trust.is_trusted(located.folder)
    file = located.folder / TOML
    settings, left_out = world_settings(
        located.folder,
        trusted=trusted,
        environ=environ,
        overrides=overrides,
        types={**first.backend_types, **{kind.name: kind for kind in backend_types}},
        stores={**first.store_types, **{kind.name: kind for kind in store_types}},
    )
    notes: list[str] = []
    if not trusted:
        if any((located.folder / "plugins").glob("*.py")):
            left_out.insert(0, "its plugins do not run")
        if left_out:
            changed = trust.has_changed(located.folder)
            state = "has changed since it was trusted" if changed else "is not trusted"
            notes.append(
                f"{located.folder.name} {state}: {'; '.join(left_out)}. Look at what it wants, "
                f"then run `palaver trust {located.folder}`"
            )
    plugins = make_plugin_manager(
        world_plugins=located.folder / "plugins" if trusted else None,
        block=settings.plugins.block,
        environ=environ,
    )
    if plugins.refused:
        raise plugins.refused[0]
    for table in plugins.tables.values():
        parse_plugin(settings, table, file=file)
    unread = set(settings.plugins.names) - set(plugins.tables)
    notes.extend(f"no plugin reads [plugins.{name}]; is it installed?" for name in sorted(unread))
    types = {kind.name: kind for kind in (*plugins.backend_types.values(), *backend_types)}
    snapshot = await asyncio.to_thread(
        load_world, located.folder, plugins.template_folders, trusted=trusted
    )
    worlds = WorldStore(snapshot, plugins.template_folders)
    folder = data_folder(located, environ)
    context = BackendContext(
        folder, lambda: worlds.current.adapters, log.info, lambda: worlds.current
    )
    backends = _backends(settings, types, context, file, notes)
    if settings.server.detect and all(kind.instant for _, kind in backends.values()):
        backends.update(await _detect(types, context, notes))
    memory = SqliteMemory(
        settings.memory.path or folder / "memory.sqlite3", keep=settings.memory.keep
    )
    stores = {**plugins.store_types, **{kind.name: kind for kind in store_types}}
    return Parts(
        settings=settings,
        worlds=worlds,
        plugins=plugins,
        backends=backends,
        memory=memory,
        data_dir=folder,
        notes=notes,
        store=_store(settings, stores, file, notes),
    )


def chosen_store(
    settings: Settings, types: Mapping[str, StoreType], file: Path
) -> tuple[StoreType, StoreSettings]:
    """Return the type of store that the settings name, and its settings.

    Args:
        settings: The settings.
        types: Types of stores by name, those of plugins.
        file: The file the settings stand in.

    Raises:
        ConfigError: There is no such type, or a setting cannot be used.
    """
    known = {MEMORY.name: MEMORY, **types}
    kind = known.get(settings.store.type)
    if kind is None:
        hint = did_you_mean(settings.store.type, known)
        raise ConfigError(
            f"there is no store type {settings.store.type!r}{hint}. Plugins bring others than "
            "`memory`: `redis` is in palaver-redis",
            file=file,
            key="store.type",
        )
    return kind, parse_store(settings.store.model_dump(), kind, file=file)


def _store(
    settings: Settings, types: Mapping[str, StoreType], file: Path, notes: list[str]
) -> Store:
    """Make the store; one whose type breaks is noted, and nothing is shared.

    Raises:
        ConfigError: A setting cannot be used.
    """
    kind, parsed = chosen_store(settings, types, file)
    try:
        return kind.create(parsed)
    except ConfigError:
        raise
    except Exception as err:
        log.exception("the store type %s could not make a store", kind.name)
        notes.append(
            f"nothing is shared with other gateways: the store type {kind.name!r} failed with "
            f"{err!r:.200}; tell the plugin's author, or take [store] away"
        )
        return MemoryStore()


def _backends(
    settings: Settings,
    types: Mapping[str, BackendType],
    context: BackendContext,
    file: Path,
    notes: list[str],
) -> dict[str, tuple[Backend, BackendType]]:
    """Make the configured backends; the instant ones are there without being configured.

    One whose type breaks is noted, and everything goes on without it.

    Raises:
        ConfigError: A setting cannot be used.
    """
    backends: dict[str, tuple[Backend, BackendType]] = {}
    for name, table in settings.backends.items():
        wanted = table.get("type")
        kind = types.get(str(wanted))
        if kind is None:
            known = ", ".join(sorted(types)) or "none; install a plugin such as palaver-static"
            missing = f"there is no backend type {wanted!r}; there are" if wanted else "add it, as"
            raise ConfigError(
                f"{missing}: {known}",
                file=file,
                key=f"backends.{name}.type",
            )
        with _guarded(name, kind, notes):
            parsed = parse_backend(name, table, kind, file=file)
            if settings.spend.mode == "off" and costs_money(parsed, kind):
                backends[name] = (SwitchedOff(name, parsed), kind)
            else:
                backends[name] = (kind.create(name, parsed, context), kind)
    for kind in types.values():
        own = {name: one.settings for name, (one, its) in backends.items() if its is kind}
        notes.extend(kind.problems(own))
        if kind.instant and kind.name not in settings.backends:
            with _guarded(kind.name, kind, notes):
                # Not `parse_backend`: nobody wrote a table that could be at fault.
                parsed = kind.settings(type=kind.name)
                backends[kind.name] = (kind.create(kind.name, parsed, context), kind)
    return backends


@contextmanager
def _guarded(name: str, kind: BackendType, notes: list[str]) -> Iterator[None]:
    """Go on without a backend that a plugin's code fails to make."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as err:
        log.exception("the backend type %s could not make the backend %s", kind.name, name)
        notes.append(
            f"the backend {name!r} is left out: its type {kind.name!r} failed with {err!r:.200}; "
            "tell the plugin's author, or block the plugin"
        )


async def _detect(
    types: Mapping[str, BackendType], context: BackendContext, notes: list[str]
) -> dict[str, tuple[Backend, BackendType]]:
    """Look for a model server on this machine; the first type that finds one is used."""
    for kind in types.values():
        if kind.detect is None:
            continue
        try:
            async with asyncio.timeout(DETECT_S):
                found: BackendSettings | None = await kind.detect()
        except Exception as err:
            log.debug("looking for %s: %r", kind.name, err)
            continue
        if found is None:
            continue
        made: dict[str, tuple[Backend, BackendType]] = {}
        with _guarded(DETECTED, kind, notes):
            made[DETECTED] = (kind.create(DETECTED, found, context), kind)
        if made:
            notes.append(f"found {kind.name} on this machine; it is used as {DETECTED!r}")
            return made
    return {}
