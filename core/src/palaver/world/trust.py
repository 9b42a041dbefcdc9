"""Trust: what a world may do beyond being data.

A world from a stranger is data until its owner runs `palaver trust WORLD`. Before that its
plugins do not run, and neither addresses off this machine nor variables that hold keys are used.
Trust is bound to a hash of exactly those files that could do harm: `plugins/*.py`,
`moderation/except.txt` and `palaver.toml`. When one of them changes, the world is a stranger's
again; personas, lines and lore may change freely.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from palaver.config.load import load_settings
from palaver.config.models import Settings
from palaver.errors import TrustError
from palaver.world.restrict import is_local, restrict_untrusted

if TYPE_CHECKING:
    from palaver.chain.backend import BackendType
    from palaver.store import StoreType

__all__ = ["TrustStore", "restrict_untrusted", "world_hash", "world_settings"]


_HARMFUL = ("plugins/**/*.py", "moderation/except*.txt")
"""What runs, and what says which words are not to be looked for."""


def trusted_files(folder: Path) -> list[Path]:
    """Return the files that trust is about, in the order they are hashed."""
    # Only real files: a device or a pipe of that name would be read for ever.
    files = sorted(file for kind in _HARMFUL for file in folder.glob(kind) if file.is_file())
    toml = folder / "palaver.toml"
    return [*files, toml] if toml.is_file() else files


def world_hash(folder: Path) -> str:
    """Return the SHA-256 of names and contents of the files that trust is about."""
    digest = hashlib.sha256()
    for file in trusted_files(folder):
        name = file.relative_to(folder).as_posix().encode()
        content = file.read_bytes()
        # Lengths in front, so that no two sets of files look alike.
        digest.update(b"%d %d\n" % (len(name), len(content)) + name + content)
    return digest.hexdigest()


class TrustStore:
    """The user's list of trusted worlds.

    Args:
        file: The list; by default `trusted.json` in the user's configuration folder, which
            `PALAVER_CONFIG_DIR` can name.
    """

    def __init__(self, file: Path | None = None) -> None:
        if file is None:
            folder = os.environ.get("PALAVER_CONFIG_DIR")
            file = Path(folder or platformdirs.user_config_dir("palaver")) / "trusted.json"
        self.file = file

    def is_trusted(self, folder: Path) -> bool:
        """Return whether a world is trusted as it is now."""
        return self._read().get(str(folder.resolve())) == world_hash(folder)

    def has_changed(self, folder: Path) -> bool:
        """Return whether a world was trusted once, but something of it has changed since."""
        known = self._read().get(str(folder.resolve()))
        return known is not None and known != world_hash(folder)

    def trust(self, folder: Path) -> None:
        """Trust a world as it is now.

        Raises:
            TrustError: The list cannot be written.
        """
        self._write({**self._read(), str(folder.resolve()): world_hash(folder)})

    def revoke(self, folder: Path) -> bool:
        """Trust a world no longer; returns whether it was trusted."""
        known = self._read()
        found = known.pop(str(folder.resolve()), None)
        if found is not None:
            self._write(known)
        return found is not None

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self.file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as err:
            raise TrustError(
                f"{self.file} cannot be read: {err}; mend it, or remove it and trust worlds anew"
            ) from err
        if not isinstance(known, dict):
            raise TrustError(f"{self.file} is no list of worlds; remove it and trust worlds anew")
        return {str(key): str(value) for key, value in known.items()}

    def _write(self, known: Mapping[str, str]) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # Written beside and moved, so that a crash leaves the old list.
            beside = self.file.with_suffix(".new")
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                json.dump(dict(known), out, indent=1, sort_keys=True)
            beside.replace(self.file)
        except OSError as err:
            raise TrustError(f"{self.file} cannot be written: {err.strerror}") from err


def world_settings(
    folder: Path,
    *,
    trusted: bool,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    types: Mapping[str, BackendType] | None = None,
    stores: Mapping[str, StoreType] | None = None,
) -> tuple[Settings, list[str]]:
    """Read the settings of a world, as far as it may have them.

    Args:
        folder: The world's folder.
        trusted: Whether its owner trusts it.
        environ: Variables that hold settings, see `load_settings`.
        overrides: Settings by dotted key, from flags.
        types: Backend types by name; see `restrict_untrusted`.
        stores: Store types by name, likewise.

    Returns:
        The settings, and a line for each thing that was left out for want of trust.

    Raises:
        ConfigError: A setting cannot be used.
    """
    file = folder / "palaver.toml"
    given = file if file.is_file() else None
    if trusted:
        return load_settings(given, environ=environ, overrides=overrides), []
    left_out: list[str] = []

    def restrict(table: dict[str, Any]) -> dict[str, Any]:
        table, notes = restrict_untrusted(table, types, stores)
        left_out.extend(notes)
        return table

    def without_tokens(table: dict[str, Any]) -> dict[str, Any]:
        table, _ = restrict_untrusted(table, types, stores)
        if isinstance(table.get("server"), Mapping):
            table["server"] = {k: v for k, v in table["server"].items() if k != "tokens"}
        return table

    settings = load_settings(given, environ=environ, overrides=overrides, restrict=restrict)
    host = settings.server.host
    if settings.server.tokens and not is_local(f"[{host}]" if host.count(":") > 1 else host):
        # Whoever made the world may know its tokens; here they would let them in from anywhere.
        tokens = settings.server.tokens
        settings = load_settings(
            given, environ=environ, overrides=overrides, restrict=without_tokens
        )
        if settings.server.tokens != tokens:
            left_out.append("[server] tokens is left out, as other machines can reach this one")
    return settings, left_out
