"""How `palaver cost --spent` shows what was spent today."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from palaver.cli.output import console, print_json, safe, table
from palaver.config.load import load_settings
from palaver.plugins import make_plugin_manager
from palaver.spend.book import read_book
from palaver.startup import data_folder, locate

__all__ = ["say_spent"]

_KINDS = ("all", "tier", "backend", "player")
MAX_ROWS = 20
"""Of each kind, those that cost most are listed."""


def say_spent(world: str | None, settings: Mapping[str, Any], *, as_json: bool) -> None:
    """Show what was spent today, as the gateway of a world has written it down.

    Raises:
        ConfigError: A setting cannot be used.
        WorldError: There is no such world.
    """
    located = locate(world, make_plugin_manager())
    folder = data_folder(located, os.environ)
    file = located.folder / "palaver.toml"
    spend = load_settings(
        file if file.is_file() else None, environ=os.environ, overrides=settings
    ).spend
    today, known = datetime.now(UTC).date(), read_book(folder)
    sums = known[1] if known is not None and known[0] == today else {}
    spent = {
        kind: {name: entry["spent"] for name, entry in sums.get(kind, {}).items()}  # type: ignore[call-overload]  # kinds are literals
        for kind in _KINDS
    }
    total = spent["all"].get("", 0.0)
    if as_json:
        spent.pop("all")
        print_json(
            {
                "day": today.isoformat(),
                "usd": total,
                "usd_per_day": spend.usd_per_day,
                "by": spent,
                "folder": str(folder),
            }
        )
        return
    out = console()
    of = f" of ${spend.usd_per_day:,.2f}" if spend.usd_per_day is not None else ""
    out.print(f"[bold]${total:,.4f}[/]{of} spent today, {today} (UTC), by {safe(located.folder)}")
    rows = table("", "", "US dollars")
    for kind in ("tier", "backend", "player"):
        names = sorted(spent[kind].items(), key=lambda item: -item[1])
        for name, usd in names[:MAX_ROWS]:
            rows.add_row(kind, safe(name), f"{usd:,.4f}")
        if len(names) > MAX_ROWS:
            rest = sum(usd for _, usd in names[MAX_ROWS:])
            rows.add_row(kind, f"{len(names) - MAX_ROWS} more", f"{rest:,.4f}")
    if world is None and located.shipped:
        out.print(
            f"[dim]That is the example world. Name yours: `palaver cost my-game --spent`, and set "
            f"PALAVER_DATA_DIR where `serve` has it. ({safe(folder)})[/]",
            soft_wrap=True,
        )
    if total:
        out.print()
        out.print(rows)
    elif known is not None and known[0] != today:
        out.print(f"[dim]The last day with any was {known[0]}.[/]")
