"""Addresses of servers in settings."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["server_url"]


def server_url(value: str, example: str, *routes: str) -> str:
    """Return the address of a server, without a slash at its end.

    Args:
        value: What the settings say.
        example: An address that would do, for the error.
        routes: Ends of the path that people copy from other settings; they are taken off.

    Raises:
        ValueError: It is no address, or holds more than one.
    """
    value = value.rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"write an address such as {example!r} instead of {value!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("write only scheme, host, port and path; a key goes into `api_key_env`")
    for route in routes:
        value = value.removesuffix(route)
    return value
