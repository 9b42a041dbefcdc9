"""`palaver luanti`: the bridge beside the game, for a gateway elsewhere."""

from __future__ import annotations

import os

import click

from palaver.cli.options import Command, json_option

__all__ = ["luanti"]


@click.command(
    "luanti",
    cls=Command,
    example="""
    palaver luanti --gateway ws://127.0.0.1:8765
    palaver luanti --gateway wss://palaver.example.org --token-env PALAVER_TOKEN --port 9000
    """,
)
@click.option("--gateway", required=True, metavar="URL", help="Where `palaver serve` listens.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8766,
    show_default=True,
    help="Port; 0 takes a free one.",
)
@click.option(
    "--token-env",
    metavar="NAME",
    help="Environment variable with the gateway's token of the role `engine`. Mods then have to "
    "send the same; beyond this machine one is needed.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A further name by which mods address this bridge; may be repeated.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="How much is logged.",
)
@json_option
def luanti(
    gateway: str,
    host: str,
    port: int,
    token_env: str | None,
    allow_host: tuple[str, ...],
    log_level: str,
    as_json: bool,
) -> None:
    """Run the endpoints of the Luanti mod beside the game.

    They talk to a gateway over WebSocket. Where `palaver serve` runs on the same machine as the
    game this is not needed: it has the endpoints on its own port.
    """
    from palaver.cli.loops import run
    from palaver.errors import ConfigError
    from palaver_luanti.alone import Alone, run_alone
    from palaver_luanti.bridge import limit_of
    from palaver_luanti.dial import gateway_at

    token = os.environ.get(token_env) if token_env else None
    if token_env and not token:
        raise ConfigError(
            f"the environment variable {token_env} is not set; set it to the gateway's token",
            key="--token-env",
        )
    found = gateway_at(gateway, token)
    infer_s = limit_of(os.environ) / 1000

    async def main() -> None:
        alone = Alone(found, host=host, port=port, hosts=allow_host, infer_s=infer_s)
        await run_alone(alone, found, log_level=log_level, as_json=as_json)

    run(main())
