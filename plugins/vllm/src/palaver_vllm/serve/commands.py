"""What the commands do and print."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from palaver.cli.output import console, print_json, safe
from palaver.errors import ConfigError
from palaver_vllm.serve.log import last_words
from palaver_vllm.serve.plan import Plan
from palaver_vllm.serve.process import call, load_adapter, start, stop, wait_ready
from palaver_vllm.serve.state import State, forget_state, read_states

__all__ = ["run_down", "run_status", "run_up"]

MAX_WORDS = 100


def run_up(plan: Plan, *, python: str | None, limit_s: float, foreground: bool) -> None:
    """Start a server, wait for it, load its adapters; stay with it if wanted.

    Raises:
        ConfigError: It cannot be started.
        BackendUnavailable: It did not become ready.
    """
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)
    for state in read_states(plan.state_dir, plan.backend):
        if state.is_alive():
            raise ConfigError(
                f"the server of backend {plan.backend!r} runs already at {state.url}; "
                "`palaver vllm down` stops it"
            )
    process, state = start(plan, python or sys.executable)
    began = time.monotonic()
    try:
        with _progress(Path(state.log)) as tick:
            wait_ready(process, state, limit_s, tick)
            problems = _load_all(plan, tick)
        took_s = time.monotonic() - began
        click.echo(f"{plan.served} is ready at {plan.url} after {took_s:.0f} s (log: {state.log})")
        _tell(plan, problems)
        if foreground:
            click.echo("Stop it with Ctrl-C.")
            code = process.wait()
            raise ConfigError(f"the server ended with code {code}; its log: {state.log}")
    except BaseException as err:
        # Also on Ctrl-C while it starts: nothing is left behind.
        stop(state)
        process.wait()
        forget_state(plan.state_dir, state)
        if foreground and isinstance(err, KeyboardInterrupt):
            click.echo("Stopped.")
            return
        raise


def _load_all(plan: Plan, tick: Callable[[], None]) -> list[str]:
    problems = []
    if "--enable-lora" in plan.command:
        for manifest in plan.adapters:
            tick()
            failed = load_adapter(plan.url, manifest, plan.environ.get("VLLM_API_KEY"))
            if failed is not None:
                problems.append(f"adapter {manifest.id} could not be loaded: {failed}")
    return problems


def _tell(plan: Plan, problems: list[str]) -> None:
    if plan.adapters and not problems:
        click.echo(f"adapters: {', '.join(manifest.id for manifest in plan.adapters)}")
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
    for manifest in plan.left_out:
        click.echo(
            f"warning: adapter {manifest.id} is for {manifest.base!r}, not for {plan.served!r}",
            err=True,
        )


@contextmanager
def _progress(log: Path) -> Iterator[Callable[[], None]]:
    """Show what the server says and how long it has taken, where there is a terminal."""
    screen = console(err=True)
    if not screen.is_terminal:
        click.echo(f"starting vLLM (log: {log})", err=True)
        yield lambda: None
        return
    began = time.monotonic()
    with screen.status("starting vLLM") as status:

        def tick() -> None:
            words = last_words(log)[:MAX_WORDS] or "starting vLLM"
            status.update(f"[bold]{time.monotonic() - began:4.0f} s[/] {safe(words)}")

        yield tick


def run_down(folder: Path, backend: str | None) -> None:
    """Stop the servers that were started for a world."""
    states = read_states(folder, backend)
    if not states:
        click.echo("No server was started for this world.")
    for state in states:
        running = stop(state)
        forget_state(folder, state)
        if running:
            click.echo(f"Stopped the server of backend {state.backend} at {state.url}.")
        else:
            click.echo(f"The server of backend {state.backend} was not running any more.")


def run_status(folder: Path, key_names: Mapping[str, str], *, as_json: bool) -> None:
    """Show the servers that were started for a world, asking those that need a key with theirs."""
    rows = [_look(state, key_names.get(state.backend)) for state in read_states(folder)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("No server was started for this world.")
    for row in rows:
        models = ", ".join(map(str, row["models"])) or row["model"]
        click.echo(
            f"{row['backend']}: {row['state']} at {row['url']}, {models} (log: {row['log']})"
        )


def _look(state: State, key_name: str | None) -> dict[str, Any]:
    condition = "gone"
    models: list[str] = []
    if state.is_alive():
        condition = "ready" if call(state.url, "/health")[0] == 200 else "starting"
        key = os.environ.get(key_name) if key_name else None
        status, answer = call(state.url, "/v1/models", key=key)
        if status == 200 and isinstance(answer, dict):
            models = [str(card.get("id")) for card in answer.get("data", [])]
    return {
        "backend": state.backend,
        "state": condition,
        "pid": state.pid,
        "url": state.url,
        "model": state.model,
        "models": models,
        "log": state.log,
    }
