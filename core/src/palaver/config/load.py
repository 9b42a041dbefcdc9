"""Reading settings: flags come before the environment, that before the file, that before defaults.

Every error names file, line and key, and the nearest right one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from palaver.config.models import Settings, default_tiers
from palaver.errors import ConfigError
from palaver.hints import nearest

if TYPE_CHECKING:
    from palaver.chain.backend import BackendSettings, BackendType

__all__ = ["load_settings", "parse_backend"]

PREFIX = "PALAVER_"
NESTING = "__"
MAX_FILE_BYTES = 1_000_000


def load_settings(
    file: Path | None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings of a world.

    Args:
        file: Its `palaver.toml`, or None for the defaults.
        environ: Variables such as `PALAVER_SERVER__PORT=9000`; `__` nests, values are TOML
            values, or text where they are none.
        overrides: Settings by dotted key, from flags.

    Raises:
        ConfigError: Something cannot be read or used; with file, line and key.
    """
    text = _read(file) if file is not None else ""
    data = _parse(text, file)
    sources: dict[str, str] = {}
    for name, raw in sorted((environ or {}).items()):
        if _is_setting(name):
            key = name.removeprefix(PREFIX).lower().replace(NESTING, ".")
            sources[key] = name
            _set(data, key, _value(raw), name)
    for key, value in (overrides or {}).items():
        sources[key] = "flag"
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
    try:
        return kind.settings.model_validate(dict(table))
    except ValidationError as err:
        text = file.read_text("utf-8", "replace") if file is not None and file.is_file() else ""
        raise _error(err, kind.settings, file, text, {}, prefix=("backends", name)) from err


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"is larger than {MAX_FILE_BYTES} bytes", file=file)
        return file.read_text("utf-8-sig")
    except OSError as err:
        raise ConfigError(f"cannot be read: {err.strerror}", file=file) from err
    except UnicodeDecodeError as err:
        raise ConfigError("is not UTF-8; save it as UTF-8", file=file) from err


def _parse(text: str, file: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        message = str(err)
        found = re.search(r"\(at line (\d+), column \d+\)", message)
        line = int(found[1]) if found else text.count("\n") + 1
        message = message[: found.start()].strip() if found else message
        hint = "texts stand in quotes, numbers and lists do not"
        raise ConfigError(f"is not TOML: {message}; {hint}", file=file, line=line) from err


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
    """Return the first problem, in words, with the place it stands at."""
    errors = err.errors(include_url=False)
    # Where a value may be of several kinds, the branch that got furthest is the one that was meant.
    same = [one for one in errors if one["loc"][:3] == errors[0]["loc"][:3]]
    first = max(same, key=lambda one: len(one["loc"]))
    # pydantic also names the branch of a union; that is no part of the key.
    location = tuple(
        str(part) for part in first["loc"] if not re.search(r"[\[(]|constrained", str(part))
    )
    path = prefix + location
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        near = nearest(path[-1], _known_keys(model, location[:-1]))
        problem = "no such setting" + (f"; did you mean `{near}`?" if near else "")
    elif first["type"] == "missing":
        problem = "is needed here; add it"
    else:
        given = first["input"]
        problem = first["msg"].removeprefix("Value error, ")
        problem = f"{problem[0].lower()}{problem[1:]}"
        if isinstance(given, str | int | float | bool):
            problem += f", not {given!r}"
    source = next((name for known, name in sources.items() if key.startswith(known)), None)
    if source is not None and source != "flag":
        return ConfigError(f"{problem} (from the variable {source})", key=key)
    if source == "flag":
        return ConfigError(problem, key=key)
    return ConfigError(problem, file=file, key=key, line=_line_of(text, path))


def _known_keys(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    """Return the keys that a table may hold, following the path through the models."""
    current: Any = model
    for part in path:
        fields = getattr(current, "model_fields", None)
        if fields is None or part not in fields:
            # A name the writer chose, such as that of a tier: its model is what it maps to.
            continue
        current = _model_in(fields[part].annotation)
    return list(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    """Return the model in an annotation such as `dict[str, Tier]` or `list[Token]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _line_of(text: str, path: tuple[str, ...]) -> int | None:
    """Return the line of a key, from 1, or of the table it is missing in, or None."""
    best: int | None = None
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if header := re.match(r"^\[\[?\s*([^\[\]]+?)\s*\]\]?", stripped):
            table = tuple(part.strip(" \"'") for part in header[1].split("."))
            if path[: len(table)] == table:
                best = number
        elif pair := re.match(r"^([\w.\"'-]+)\s*=", stripped):
            key = table + tuple(part.strip("\"'") for part in pair[1].split("."))
            if path[: len(key)] == key:
                return number
    return best
