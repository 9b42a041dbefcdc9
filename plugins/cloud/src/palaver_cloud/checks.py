"""What `palaver check` should say of cloud backends before anybody speaks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from palaver_cloud.config import CloudSettings
from palaver_cloud.key import Key
from palaver_cloud.providers import PROVIDERS

__all__ = ["problems"]


def problems(backends: Mapping[str, CloudSettings], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with keys and addresses.

    Args:
        backends: All backends of this type, by name.
        environ: The environment.
    """
    for name, settings in backends.items():
        provider = PROVIDERS[settings.provider](settings)
        key = Key(provider.variable, environ)
        if key.problem is not None:
            yield f"backends.{name}: {key.problem}"
        elif key.env is not None and _is_open(provider.base):
            yield (
                f"backends.{name}: its key would go unencrypted to {provider.base}; write "
                "https:// in `url`"
            )


def _is_open(url: str) -> bool:
    """Return whether what is sent to an address can be read on its way."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True
