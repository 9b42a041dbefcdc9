"""Makes what comes from the code in docs/reference: pages, and descriptions for machines.

    python tools/docs.py            write them
    python tools/docs.py --check    fail if one is out of date

Needs every member installed (requirements-dev.txt): the pages tell of all their settings and
commands.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from docs_asyncapi import asyncapi_page
from docs_docstrings import signature, to_markdown
from docs_fields import field_table, nested_models
from docs_openapi import openapi_page
from docs_schema import schema_page
from pydantic import BaseModel
from workspace import ROOT

from palaver import hookspecs, messages
from palaver.config import models

if TYPE_CHECKING:
    from palaver.plugins import Plugins

REFERENCE = ROOT / "docs" / "reference"
VARIABLES = {
    "PALAVER_SERVER__PORT=9000": "Any setting: its key in capitals, with `__` for each dot. The "
    "value is written as in TOML, or is text.",
    "PALAVER_PLUGINS": "The only packages to load, by their names, with commas between them.",
    "PALAVER_TRACE_HOOKS=1": "Logs every call of a hook.",
    "PALAVER_TOKEN": "The token with which `palaver chat --url`, `palaver bench --url` and "
    "`palaver explain` connect.",
    "PALAVER_DATA_DIR": "Folder for what the server writes, instead of `data` in the world.",
    "PALAVER_CONFIG_DIR": "Folder of the list of trusted worlds, and of notes about worlds.",
    "PALAVER_METRICS_TOKEN": "The token with which Prometheus reads `/metrics`.",
    "PALAVER_DEBUG=1": "Shows tracebacks, as `--debug` does.",
    "PALAVER_TEST_UNIT_MS": "Time unit of the tests, 10 by default; more on a slow machine.",
    "NO_COLOR": "Leaves colours out.",
}
"""Environment variables; tests/test_docs.py looks for others in the code."""
MADE = "<!-- Made by `python tools/docs.py`; do not edit by hand. -->"


def messages_page() -> str:
    """Returns the page of wire messages."""
    parts = [
        MADE,
        "# Messages of the wire protocol, version 1",
        (
            "Every field of every message. What they mean together, in which order they come and "
            "what happens when something goes wrong stands in [the specification](protocol.md)."
        ),
        (
            "A message is one JSON object. Unknown fields are ignored on both sides. An empty "
            "default means that the field may be left out."
        ),
        "## From client to server",
        (
            "Every one of these may also have `id`, a string of 1 to 128 characters: an `error` "
            "about the message carries it as `re`."
        ),
    ]
    for name, model in messages.CLIENT_MESSAGES.items():
        parts += _message(name, model, ("type", "id"))
    parts += [
        "## The body of `POST /v1/turns`",
        to_markdown(messages.TurnRequest.__doc__ or ""),
        field_table(messages.TurnRequest),
        "## From server to client",
    ]
    for name, model in messages.SERVER_MESSAGES.items():
        parts += _message(name, model, ("type",))
    parts.append("## Objects in messages")
    for model in _inner_models():
        parts += [f"### {model.__name__}", to_markdown(model.__doc__ or ""), field_table(model)]
    return _page(parts)


def _message(name: str, model: type[BaseModel], skip: tuple[str, ...]) -> list[str]:
    return [f"### `{name}`", to_markdown(model.__doc__ or ""), field_table(model, skip=skip)]


def _inner_models() -> Iterator[type[BaseModel]]:
    known = {*messages.CLIENT_MESSAGES.values(), *messages.SERVER_MESSAGES.values()}
    for name, model in vars(messages).items():
        is_model = inspect.isclass(model) and issubclass(model, BaseModel)
        if not is_model or model is BaseModel or name.startswith("_") or model in known:
            continue
        if model is not messages.TurnRequest:
            yield model


def hooks_page() -> str:
    """Returns the page of hooks."""
    parts = [MADE, "# Hooks", to_markdown(hookspecs.__doc__ or "")]
    hooks = [
        function
        for name, function in vars(hookspecs).items()
        if name.startswith("palaver_") and inspect.isfunction(function)
    ]
    parts.append("\n".join(f"- [`{one.__name__}`](#{one.__name__})" for one in hooks))
    for hook in hooks:
        first = getattr(hook, "palaver_spec", {}).get("firstresult")
        parts += [
            f"## {hook.__name__}",
            f"```python\n{signature(hook)}\n```",
            "*Stops at the first result that is not `None`.*" if first else "",
            to_markdown(hook.__doc__ or ""),
        ]
    return _page(parts)


TABLES = ("server", "limits", "memory", "spend", "store", "quality", "plugins", "backends", "tiers")
"""Settings that have a section of their own."""


def settings_page() -> str:
    """Returns the page of settings."""
    parts = [
        MADE,
        "# Settings",
        (
            "All of `palaver.toml` in a world's folder. Every setting has a default: a world needs "
            "no such file. An unknown key is an error that names the nearest right one. A flag "
            "comes before the environment, the environment before the file."
        ),
        "## Top level",
        field_table(models.Settings, skip=TABLES),
    ]
    for model in (
        models.Server,
        models.Token,
        models.Limits,
        models.MemorySettings,
        models.SpendSettings,
        models.StoreTable,
        models.QualitySettings,
        models.PluginsTable,
        models.Tier,
        models.CacheRule,
    ):
        parts += _settings(model)
    parts += ["### Shipped tiers", _tiers_table()]
    parts += ["## `[backends.NAME]`", *_backends()]
    for name, table in sorted(_plugins().tables.items()):
        parts += [f"## `[plugins.{name}]`", to_markdown(table.model.__doc__ or "")]
        parts.append(field_table(table.model))
        for key, inner in nested_models(table.model):
            parts += [f"### `[plugins.{name}.{key}]`", to_markdown(inner.__doc__ or "")]
            parts.append(field_table(inner))
    parts += ["## Environment variables", _variables_table()]
    return _page(parts)


def _settings(model: type[BaseModel]) -> list[str]:
    title, _, text = (model.__doc__ or "").partition(": ")
    return [f"## {title}", text[:1].upper() + text[1:], field_table(model)]


def _tiers_table() -> str:
    tiers = models.default_tiers()
    keys = list(dict.fromkeys(key for tier in tiers.values() for key in tier))
    rows = [f"| tier | {' | '.join(keys)} |", f"| --- {'| --- ' * len(keys)}|"]
    for name, tier in tiers.items():
        whole = models.Tier.model_validate(tier).model_dump()
        cells = " | ".join(f"`{json.dumps(whole[key])}`" for key in keys)
        rows.append(f"| `{name}` | {cells} |")
    return "\n".join(rows)


def _variables_table() -> str:
    rows = ["| variable | meaning |", "| --- | --- |"]
    rows += [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]
    return "\n".join(rows)


def _backends() -> Iterator[str]:
    from palaver.chain.backend import BackendSettings

    yield (
        "`type` names what a plugin registers; the other keys depend on it. These are the types "
        "of the plugins in this repository."
    )
    for kind in _backend_types():
        common = tuple(BackendSettings.model_fields)
        yield f'### `type = "{kind.name}"`'
        yield kind.summary
        yield field_table(kind.settings, skip=common)
        for name, model in nested_models(kind.settings):
            yield f"#### `[backends.NAME.{name}]`"
            yield to_markdown(model.__doc__ or "")
            yield field_table(model)
    yield "### Every type"
    yield field_table(BackendSettings)


def _backend_types() -> list[Any]:
    return sorted(_plugins().backend_types.values(), key=lambda kind: str(kind.name))


def _plugins() -> Plugins:
    from palaver.plugins import make_plugin_manager

    # All packages, whatever the environment of whoever makes the pages says.
    return make_plugin_manager(environ={})


def persona_page() -> str:
    """Returns the page of a persona's front matter."""
    from palaver.world.persona import FrontMatter, PersonaSampling

    tiers = ", ".join(f"`{name}`" for name in models.default_tiers())
    return _page(
        [
            MADE,
            "# A persona's front matter",
            (
                "What may stand between the two `---` lines of `personas/NAME.md`, as YAML. "
                "[Write a persona](../tutorial/persona.md) shows most of it at work. A key that "
                "is not here is an error that names the nearest right one."
            ),
            (
                "```yaml\n---\nname: Tam\ntier: elite          # how he is treated\nlang: en\n"
                "mood: sleepy\nfaction: watch\nlines: guard         # lines/guard.csv\n"
                "facts:\n  lamp_oil: 3\n  player:\n    reputation: neutral\n"
                'last_words: "Move along."\n---\n```'
            ),
            field_table(FrontMatter),
            (
                f"`tier` is one of {tiers}, or one of `[tiers.NAME]` in `palaver.toml`; without "
                "it `default_tier` counts. What the shipped ones are is [in a table]"
                "(settings.md#shipped-tiers), and for whom, [in the tutorial]"
                "(../tutorial/persona.md#how-much-he-may-cost). An engine may choose another one "
                "for an NPC."
            ),
            "## `sampling`",
            field_table(PersonaSampling),
        ]
    )


def cli_page() -> str:
    """Returns the page of commands."""
    from palaver.cli import main

    parts = [
        MADE,
        "# The command line",
        "What `palaver` can do. `palaver COMMAND --help` says the same on the spot.",
    ]
    parts += _command(main, "palaver", None)
    return _page(parts)


def _command(command: click.Command, path: str, parent: click.Context | None) -> list[str]:
    # A fixed width: the pages must not depend on the terminal they are made in.
    context = click.Context(
        command,
        info_name=path if parent is None else command.name,
        parent=parent,
        terminal_width=80,
        max_content_width=80,
    )
    parts = [f"## `{path}`", f"```text\n{command.get_help(context).rstrip()}\n```"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                parts += _command(inner, f"{path} {name}", context)
    return parts


def _page(parts: Sequence[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "messages.md": messages_page,
    "hooks.md": hooks_page,
    "settings.md": settings_page,
    "persona.md": persona_page,
    "cli.md": cli_page,
    "messages.schema.json": schema_page,
    "asyncapi.json": asyncapi_page,
    "openapi.json": openapi_page,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Writes or checks the pages; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if stale")
    parser.add_argument("pages", nargs="*", default=list(PAGES), help="only these")
    args = parser.parse_args(argv)
    stale = 0
    for name in args.pages:
        path = REFERENCE / name
        text = PAGES[name]()
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if text == before:
            continue
        if args.check:
            stale += 1
            diff = difflib.unified_diff(
                before.splitlines(),
                text.splitlines(),
                f"{name} (there)",
                f"{name} (now)",
                n=1,
                lineterm="",
            )
            print("\n".join(list(diff)[:40]))
            print(f"{path.relative_to(ROOT)} is out of date; run `python tools/docs.py`")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
