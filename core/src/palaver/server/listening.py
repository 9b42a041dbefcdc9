"""Opening the port."""

from __future__ import annotations

import ssl

from aiohttp import web

from palaver.errors import ConfigError

__all__ = ["listen"]


async def listen(
    runner: web.AppRunner, host: str, port: int, *, key: str, tls: ssl.SSLContext | None = None
) -> int:
    """Let an application listen on one address, and return its port.

    Args:
        runner: The application, not set up yet; it is cleaned up where it cannot listen.
        host: Name or address, an IPv6 one in brackets or without.
        port: The port; 0 takes a free one.
        key: Setting or flag that the error names.
        tls: For HTTPS, or None.

    Raises:
        ConfigError: The address cannot be had.
    """
    await runner.setup()
    site = web.TCPSite(runner, host.strip("[]"), port, ssl_context=tls)
    try:
        await site.start()
    except OSError as err:
        await runner.cleanup()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {err.strerror}; stop what uses the port, or choose "
            "another with --port",
            key=key,
        ) from err
    bound: int = runner.addresses[0][1]
    return bound
