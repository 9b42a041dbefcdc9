"""`palaver check`: everything that is wrong with a world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from palaver.cli.options import Command, count, json_option, set_option, world_argument

if TYPE_CHECKING:
    from pathlib import Path

    from palaver.world.check import Problem

__all__ = ["command"]


@click.command(
    "check",
    cls=Command,
    example="""
    palaver check my-game
    palaver check my-game --json
    """,
)
@world_argument
@set_option
@json_option
@click.pass_context
def command(ctx: click.Context, world: str | None, settings: dict[str, Any], as_json: bool) -> None:
    """Find everything that is wrong with a world.

    Reads all personas, templates, lines, adapters and settings and says for each problem the
    file, the line, and what to write instead. Errors end it with exit code 1; warnings do not.
    """
    from palaver.cli.checking import find_problems
    from palaver.cli.output import console, log_to_stderr, print_json, safe

    # What is wrong is listed below; the log would tell it a second time.
    log_to_stderr("critical")
    folder, problems, counts = find_problems(world, settings)
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if as_json:
        print_json(
            {
                "world": str(folder),
                "ok": not errors,
                "errors": errors,
                "warnings": warnings,
                "problems": [
                    {
                        "file": str(problem.file),
                        "line": problem.line,
                        "severity": problem.severity,
                        "message": problem.message,
                    }
                    for problem in problems
                ],
            }
        )
    else:
        out = console()
        for problem in problems:
            colour = "red" if problem.severity == "error" else "yellow"
            out.print(
                f"[bold]{safe(_place(problem, folder))}[/] [{colour}]{problem.severity}:[/] "
                f"{safe(problem.message)}",
                soft_wrap=True,
            )
        if problems:
            out.print()
        summary = f"{count(errors, 'error')}, {count(warnings, 'warning')}"
        style = "red" if errors else "yellow" if warnings else "green"
        out.print(f"[{style}]{summary}[/] in {safe(folder)} [dim]({counts})[/]", soft_wrap=True)
    if errors:
        ctx.exit(1)


def _place(problem: Problem, folder: Path) -> str:
    from palaver.cli.output import short_path

    file = short_path(folder / problem.file)
    return f"{file}:{problem.line}:" if problem.line else f"{file}:"
