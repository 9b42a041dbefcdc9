"""`palaver vllm`: starts and stops a model server for a world."""

from __future__ import annotations

import click

from palaver.cli.options import Command, json_option, world_argument

__all__ = ["vllm"]

READY_S = 600.0


@click.group()
def vllm() -> None:
    """Start and stop a vLLM model server for a world."""


@vllm.command(
    cls=Command,
    example="palaver vllm up my-game --model models/llama\n"
    "palaver vllm up --python /opt/vllm/bin/python --foreground",
)
@world_argument
@click.option("--model", metavar="DIR", help="The model, instead of serve.model in palaver.toml.")
@click.option("--backend", metavar="NAME", help="The backend that will use the server.")
@click.option("--host", help="Address to listen on, instead of the backend's.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--python", metavar="PATH", help="The Python that has vLLM; by default this one.")
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=READY_S,
    show_default=True,
    help="How long it may take to be ready, in seconds.",
)
@click.option("--foreground", is_flag=True, help="Stay, and stop it with Ctrl-C.")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS]...")
def up(
    world: str | None,
    model: str | None,
    backend: str | None,
    host: str | None,
    port: int | None,
    python: str | None,
    timeout: float,
    foreground: bool,
    args: tuple[str, ...],
) -> None:
    """Start a model server for WORLD and wait until it is ready.

    The flags come from the world: its backend, its adapters. ARGS after -- go to vLLM as they are.
    """
    from palaver_vllm.serve.commands import run_up
    from palaver_vllm.serve.plan import make_plan

    plan = make_plan(world, backend=backend, model=model, host=host, port=port, args=args)
    run_up(plan, python=python, limit_s=timeout, foreground=foreground)


@vllm.command(cls=Command, example="palaver vllm down my-game")
@world_argument
@click.option("--backend", metavar="NAME", help="Only the server of this backend.")
def down(world: str | None, backend: str | None) -> None:
    """Stop what `palaver vllm up` started for WORLD."""
    from palaver_vllm.serve.commands import run_down
    from palaver_vllm.serve.plan import state_folder

    run_down(state_folder(world), backend)


@vllm.command(cls=Command, example="palaver vllm status my-game --json")
@world_argument
@json_option
def status(world: str | None, as_json: bool) -> None:
    """Show the model servers that were started for WORLD."""
    from palaver_vllm.serve.commands import run_status
    from palaver_vllm.serve.plan import key_names, state_folder

    run_status(state_folder(world), key_names(world), as_json=as_json)
