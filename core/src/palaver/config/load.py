"""Reading settings: flags come before the environment, that before the file, that before defaults.

Every error names file, line and key, and the nearest right one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from palaver.config.models import Settings, default_tiers
from palaver.config.toml_lines import TomlLines, toml_problem
from palaver.errors import ConfigError
from palaver.explain import Trouble, explain

if TYPE_CHECKING:
    from palaver.chain.backend import BackendSettings, BackendType
    from palaver.plugins import PluginSettings
    from palaver.store import StoreSettings, StoreType

__all__ = ["load_settings", "parse_backend", "parse_plugin", "parse_store"]

PREFIX = "PALAVER_"
NESTING = "__"
MAX_FILE_BYTES = 1_000_000
_PATHS = (("server", "tls_cert"), ("server", "tls_key"), ("memory", "path"), ("spend", "prices"))
_FLAG = "flag"


def load_settings(
    file: Path | None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    restrict: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Settings:
    """Read the settings of a world.

    Args:
        file: Its `palaver.toml`, or None for the defaults.
        environ: Variables such as `PALAVER_SERVER__PORT=9000`; `__` nests, values are TOML
            values, or text where they are none.
        overrides: Settings by dotted key, from flags.
        restrict: Takes what the file says and returns what of it counts; environment and flags
            come from whoever runs the command, and count in any case.

    Raises:
        ConfigError: Something cannot be read or used; with file, line and key, and what else is
            wrong in `others`.
    """
    text = _read(file) if file is not None else ""
    data = _parse(text, file)
    if restrict is not None:
        data = restrict(data)
    if file is not None:
        _anchor(data, file.parent)
    sources: dict[str, str] = {}
    for name, raw in sorted((environ or {}).items()):
        if not name.startswith(PREFIX):
            continue
        _check_variable(name)
        if _is_setting(name):
            key = name.removeprefix(PREFIX).lower().replace(NESTING, ".")
            sources[key] = name
            _set(data, key, _value(raw), name)
    for key, value in (overrides or {}).items():
        sources[key] = _FLAG
        _set(data, key, value, key)
    _fill_tiers(data)
    try:
        return Settings.model_validate(data)
    except ValidationError as err:
        raise _error(err, Settings, file, text, sources) from err


def parse_backend(
    name: str, table: Mapping[str, Any], kind: BackendType, *, file: Path | None = None
) -> BackendSettings:
    """Check a `[backends.NAME]` table with the settings of its type.

    Args:
        name: Its name.
        table: The table.
        kind: Its type.
        file: The file it stands in.

    Raises:
        ConfigError: A key or value cannot be used.
    """
    checked: BackendSettings = _checked(table, kind.settings, file, ("backends", name))
    return checked


def parse_store(
    table: Mapping[str, Any], kind: StoreType, *, file: Path | None = None
) -> StoreSettings:
    """Check the `[store]` table with the settings of its type.

    Args:
        table: The table.
        kind: Its type.
        file: The file it stands in.

    Raises:
        ConfigError: A key or value cannot be used.
    """
    checked: StoreSettings = _checked(table, kind.settings, file, ("store",))
    return checked


def parse_plugin(settings: Settings, kind: PluginSettings, *, file: Path | None = None) -> Any:
    """Check a `[plugins.NAME]` table with the model of its plugin.

    Args:
        settings: The settings.
        kind: Name and model.
        file: The file they stand in.

    Raises:
        ConfigError: A key or value cannot be used.
    """
    return _checked(settings.plugins.of(kind.name), kind.model, file, ("plugins", kind.name))


def _checked(
    table: Mapping[str, Any], model: type[BaseModel], file: Path | None, prefix: tuple[str, ...]
) -> Any:
    try:
        return model.model_validate(dict(table))
    except ValidationError as err:
        text = file.read_text("utf-8", "replace") if file is not None and file.is_file() else ""
        raise _error(err, model, file, text, {}, prefix=prefix) from err


def _anchor(data: Mapping[str, Any], folder: Path) -> None:
    """Let paths of a file be relative to where the file is, wherever the server is started."""
    for section, key in _PATHS:
        table = data.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = str(folder / Path(table[key]).expanduser())


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"is larger than {MAX_FILE_BYTES:,} bytes", file=file)
        return file.read_text("utf-8-sig")
    except OSError as err:
        raise ConfigError(f"cannot be read: {err.strerror}", file=file) from err
    except UnicodeDecodeError as err:
        raise ConfigError("is not UTF-8; save it as UTF-8", file=file) from err


def _parse(text: str, file: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        problem, line = toml_problem(err, text)
        raise ConfigError(problem, file=file, line=line) from err
    except RecursionError as err:
        raise ConfigError("this is nested too deeply; make it flatter", file=file) from err


def _check_variable(name: str) -> None:
    """Refuse a variable that is almost the name of a setting.

    Others of the same prefix may hold tokens, keys or folders; they are left alone.

    Raises:
        ConfigError: It is, with `_` where `__` belongs.
    """
    meant = _variables().get(name.replace(NESTING, "_"))
    if meant is not None and meant != name:
        raise ConfigError(f"there is no variable {name}; did you mean {meant}?")


@cache
def _variables() -> dict[str, str]:
    """Return the variables of all settings with fixed names, by that name with single `_`."""
    found = {}
    for section, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for key in kind.model_fields:
                name = f"{PREFIX}{section}{NESTING}{key}".upper()
                found[name.replace(NESTING, "_")] = name
    return found


def _is_setting(name: str) -> bool:
    """Other variables of the same prefix may hold tokens, keys or folders: they are left alone."""
    # `PALAVER_PLUGINS` names the packages to load; `[plugins]` has `PALAVER_PLUGINS__BLOCK`.
    if not name.startswith(PREFIX) or name == "PALAVER_PLUGINS":
        return False
    return NESTING in name or name.removeprefix(PREFIX).lower() in Settings.model_fields


def _value(raw: str) -> Any:
    """Read a variable's value as TOML, or take it as text."""
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _set(data: dict[str, Any], key: str, value: Any, source: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = data.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{source} wants a table where there is a value", key=key)
        data = inner
    data[last] = value


def _fill_tiers(data: dict[str, Any]) -> None:
    """Lay what the file says of a tier over the shipped one, key by key."""
    tiers = data.get("tiers", {})
    if not isinstance(tiers, dict):
        return
    shipped: dict[str, Any] = default_tiers()
    for name, table in tiers.items():
        shipped[name] = {**shipped.get(name, {}), **table} if isinstance(table, dict) else table
    data["tiers"] = shipped


def _error(
    err: ValidationError,
    model: type[BaseModel],
    file: Path | None,
    text: str,
    sources: Mapping[str, str],
    prefix: tuple[str, ...] = (),
) -> ConfigError:
    """Return what is wrong, in words, with the place it stands at; the first in the file first."""
    lines = TomlLines(text)
    errors = []
    for path, message in explain(err, model):
        where = (*prefix, *path)
        key = Trouble(where, "").key
        source = _source(key, sources)
        if source is None:
            errors.append(ConfigError(message, file=file, key=key, line=lines.find(where)))
        elif source == _FLAG:
            errors.append(ConfigError(message, key=key))
        else:
            errors.append(ConfigError(f"{message} (from the variable {source})", key=key))
    errors.sort(key=lambda error: error.line or 0)
    errors[0].others = tuple(errors[1:])
    return errors[0]


def _source(key: str, sources: Mapping[str, str]) -> str | None:
    """Return the variable or flag that set a key, or None for the file."""
    for known, source in sources.items():
        if key == known or key.startswith((f"{known}.", f"{known}[")):
            return source
    return None
