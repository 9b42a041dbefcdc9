"""What the settings of an untrusted world may not say, and what is left of them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from palaver.config.tiers import Tier

if TYPE_CHECKING:
    from palaver.chain.backend import BackendType
    from palaver.store import StoreType

__all__ = ["is_local", "restrict_untrusted"]

_ADDRESSES = {"url", "urls", "base_url", "address", "addresses", "endpoint", "host", "hosts"}
"""Settings of backends that name a machine, with or without a scheme."""
_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):[0-9]{1,5}(/.*)?")


def restrict_untrusted(
    table: Mapping[str, Any],
    types: Mapping[str, BackendType] | None = None,
    stores: Mapping[str, StoreType] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Leave out what the file of an untrusted world may not say.

    Tokens are kept: on this machine they only make the world harder to reach.

    Args:
        table: Its `palaver.toml`, parsed but not checked.
        types: Backend types by name, which say which of their settings are addresses; without
            them whatever looks like an address is taken for one.
        stores: Store types by name, likewise.

    Returns:
        What is left of it, and a line for each thing that was left out.
    """
    notes: list[str] = []
    left = dict(table)
    if isinstance(table.get("backends"), Mapping):
        left["backends"] = {}
        for name, backend in table["backends"].items():
            reason = _reason(backend, types or {}) if isinstance(backend, Mapping) else None
            if reason is None:
                left["backends"][name] = _kept(backend, _priced, f"backends.{name}", notes)
            else:
                notes.append(f"the backend {name!r} is left out: {reason}")
    store = table.get("store")
    if isinstance(store, Mapping):
        kept = (stores or {}).get(str(store.get("type")))
        if reason := _reach(store, kept.addresses if kept is not None else None):
            notes.append(f"[store] is left out, so nothing is shared: {reason}")
            del left["store"]
    if isinstance(table.get("tiers"), Mapping):
        left["tiers"] = {
            name: _kept(tier, _careless, f"tiers.{name}", notes)
            for name, tier in table["tiers"].items()
        }
    for section, harmful in _HARMFUL.items():

        def harms(key: str, _: Any, harmful: frozenset[str] | None = harmful) -> bool:
            return harmful is None or key in harmful

        if section in table:
            left[section] = _kept(table[section], harms, section, notes)
    return left, notes


def _kept(table: Any, harms: Callable[[str, Any], bool], title: str, notes: list[str]) -> Any:
    """Return what of a table does no harm, and note the rest; no table is left as it is."""
    if not isinstance(table, Mapping):
        return table
    found = sorted(key for key, value in table.items() if harms(key, value))
    if found:
        notes.append(f"[{title}] {', '.join(found)} is left out")
    return {key: value for key, value in table.items() if key not in found}


def _priced(key: str, _: Any) -> bool:
    """Return whether a backend's key says what it costs: too little goes around ceilings."""
    return key.startswith("usd_")


def _careless(key: str, value: Any) -> bool:
    """Return whether a tier's key makes it less careful than the shipped ones."""
    if key == "checks":
        wanted = Tier.model_fields["checks"].default
        return not isinstance(value, list) or not all(check in value for check in wanted)
    return key == "safety" and value != "strict"


_HARMFUL: dict[str, frozenset[str] | None] = {
    "server": frozenset({"host", "hosts", "origins", "tls_cert", "tls_key"}),
    "memory": frozenset({"path", "keep"}),
    "spend": frozenset({"prices"}),
    "plugins": None,
    "limits": None,
    "quality": None,
}
"""Settings that open doors, write or read where they like, take more than their share, or switch
off what keeps watch; None for all."""


def _reason(table: Mapping[str, Any], types: Mapping[str, BackendType]) -> str | None:
    """Return why a backend's table needs trust, or None."""
    kind = types.get(str(table.get("type")))
    if kind is not None and kind.addresses is None and not kind.instant:
        return f"the type {kind.name!r} does not say which of its settings are addresses"
    return _reach(table, kind.addresses or frozenset() if kind is not None else None)


def _reach(table: Mapping[str, Any], addresses: frozenset[str] | None) -> str | None:
    """Return what of a table reaches beyond this machine, or None.

    Args:
        table: The table.
        addresses: Names of its settings that say which machine, or None where nobody knows.
    """
    for key, value in _flat(table):
        last = key.rsplit(".", 1)[-1]
        if last.endswith("_env"):
            return f"it uses the key in the variable {value!r}"
        if isinstance(value, str) and (
            last in _ADDRESSES
            or key.split(".", 1)[0] in (addresses or ())
            or "://" in value
            # A type that knows its addresses may have `model = "qwen:7"`.
            or (addresses is None and _HOST_AND_PORT.fullmatch(value))
        ):
            if not is_local(value):
                return f"{value!r} is not on this machine"
        if last in ("provider", "command", "python", "serve"):
            return f"it sets `{last}`"
    return None


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield f"{prefix}{key}", value
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            for inner in value:
                if isinstance(inner, Mapping):
                    yield from _flat(inner, f"{prefix}{key}.")
                else:
                    yield f"{prefix}{key}", inner
        else:
            yield f"{prefix}{key}", value


def is_local(url: str) -> bool:
    """Return whether an address is this machine's own."""
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
    except ValueError:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
