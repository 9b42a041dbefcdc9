"""What the commands do and print."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from palaver.cli.loops import run
from palaver.cli.output import console, plain, print_json, safe, table
from palaver.errors import BackendError
from palaver_ollama.api import Api, make_http
from palaver_ollama.pulling import pull
from palaver_ollama.targets import Target, targets
from palaver_ollama.wire import Loaded, Progress

__all__ = ["run_pull", "run_status"]

GIB = 2**30


def run_pull(model: str, world: str | None, url: str | None, *, as_json: bool) -> None:
    """Download a model to every server.

    Args:
        model: The model.
        world: Folder or name of the world, or None.
        url: The only server, or None.
        as_json: Whether a program reads what is printed, a line of JSON for each step.

    Raises:
        BackendError: It cannot be downloaded.
    """
    for target in targets(world, url):
        with _telling(model, target, as_json=as_json) as tell:
            run(_pull(model, target, tell))
        if as_json:
            print_json({"event": "done", "model": model, "url": target.url}, indent=None)
        else:
            click.echo(f"{plain(model)} is ready at {target.url}.")


async def _pull(model: str, target: Target, tell: Callable[[Progress], None]) -> None:
    http = make_http(target.backend, target.settings)
    try:
        async with aclosing(pull(http, target.backend, target.url, model)) as lines:
            async for progress in lines:
                tell(progress)
    finally:
        await http.close()


@contextmanager
def _telling(model: str, target: Target, *, as_json: bool) -> Iterator[Callable[[Progress], None]]:
    """Show progress: as JSON, as bars where there is a terminal, or a line for each new step."""
    screen = console(err=True)
    if as_json:
        yield lambda progress: print_json(_event(progress), indent=None)
    elif screen.is_terminal:
        with _bars(screen) as tell:
            yield tell
    else:
        click.echo(f"downloading {plain(model)} to {target.url}", err=True)
        said: set[str] = set()

        def tell(progress: Progress) -> None:
            if progress.status not in said:
                said.add(progress.status)
                size = f" ({_size(progress.total)})" if progress.total else ""
                click.echo(f"{plain(progress.status)}{size}", err=True)

        yield tell


@contextmanager
def _bars(screen: Any) -> Iterator[Callable[[Progress], None]]:
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=screen) as bars:
        tasks: dict[str, Any] = {}

        def tell(progress: Progress) -> None:
            # A layer has a bar of its own; steps without one have no length to show.
            name = progress.digest or progress.status
            if not progress.total:
                bars.console.print(safe(progress.status), style="dim")
                return
            if name not in tasks:
                tasks[name] = bars.add_task(safe(progress.status), total=progress.total)
            bars.update(tasks[name], completed=progress.completed, total=progress.total)

        yield tell


def _event(progress: Progress) -> dict[str, Any]:
    event: dict[str, Any] = {"event": "progress", "status": progress.status}
    if progress.total:
        event |= {
            "digest": progress.digest,
            "total": progress.total,
            "completed": progress.completed,
        }
    return event


def run_status(world: str | None, url: str | None, *, as_json: bool) -> None:
    """Show what every server holds in memory; exit code 1 where one does not answer.

    Args:
        world: Folder or name of the world, or None.
        url: The only server, or None.
        as_json: Whether a program reads what is printed.
    """
    rows = run(_look_all(targets(world, url)))
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            _show(row)
    if not all(row["ok"] for row in rows):
        raise click.exceptions.Exit(1)


async def _look_all(servers: Sequence[Target]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*map(_look, servers)))


async def _look(target: Target) -> dict[str, Any]:
    http = make_http(target.backend, target.settings)
    api = Api(target.backend, target.url, http)
    row: dict[str, Any] = {"backend": target.backend, "url": target.url, "ok": True}
    try:
        row["version"] = await api.version()
        row["models"] = [_model(one) for one in await api.ps()]
        row["on_disk"] = [tag.name for tag in await api.tags()]
    except BackendError as err:
        row |= {"ok": False, "problem": err.reason, "models": [], "on_disk": []}
    finally:
        await http.close()
    return row


def _model(one: Loaded) -> dict[str, Any]:
    return {
        "name": one.name,
        "size_bytes": one.size,
        "vram_bytes": one.size_vram,
        "context_tokens": one.context_length,
        "expires_in_s": _left_s(one.expires_at),
    }


def _left_s(expires_at: str) -> float | None:
    """Return the seconds until a time such as `2024-06-04T14:38:31.83753-07:00`."""
    try:
        return round((datetime.fromisoformat(expires_at) - datetime.now(UTC)).total_seconds(), 1)
    except (ValueError, TypeError):
        return None


def _show(row: dict[str, Any]) -> None:
    out = console()
    if not row["ok"]:
        out.print(f"[yellow]{safe(row['url'])}: {safe(row['problem'])}[/]", soft_wrap=True)
        return
    out.print(f"[bold]{safe(row['url'])}[/] [dim]Ollama {safe(row['version'])}[/]")
    if not row["models"]:
        names = ", ".join(map(safe, row["on_disk"])) or "none; `palaver ollama pull` gets one"
        out.print(f"no model in memory [dim](on disk: {names})[/]", soft_wrap=True)
        return
    rows = table("model", "size", "on the graphics card", "context", "kept for")
    for one in row["models"]:
        share = one["vram_bytes"] / one["size_bytes"] if one["size_bytes"] else 0
        rows.add_row(
            safe(one["name"]),
            _size(one["size_bytes"]),
            f"{_size(one['vram_bytes'])} ({share:.0%})",
            f"{one['context_tokens']:,}" if one["context_tokens"] else "",
            _kept(one["expires_in_s"]),
        )
    out.print(rows)


def _size(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"


def _kept(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds > 10 * 365 * 86_400:
        return "ever"  # A `keep_alive` below zero.
    minutes = max(0.0, seconds) / 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"
