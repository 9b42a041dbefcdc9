"""The commands that plugins add, found without loading anything else of them.

`palaver --help` has to list them and stay quick, so this calls one hook of the installed packages
and builds no plugin manager: that would ask them for their backends too, and those take time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Container
from importlib.metadata import entry_points

import click

__all__ = ["plugin_commands"]

log = logging.getLogger("palaver.plugins")

# As in palaver.plugins, which takes longer to import than all of this to run.
GROUP = "palaver"
ONLY = "PALAVER_PLUGINS"
HOOK = "palaver_register_commands"


def plugin_commands(taken: Container[str]) -> dict[str, click.Command]:
    """Return the commands of installed plugins by name; a plugin that fails is left out.

    Args:
        taken: Names that plugins cannot have.
    """
    found: dict[str, click.Command] = {}

    def register(command: click.Command) -> None:
        name = command.name or ""
        if not name or name in taken or name in found:
            log.warning("a plugin's command %r is left out: the name is taken", name)
            return
        found[name] = command

    only = os.environ.get(ONLY)
    wanted = None if only is None else {name.strip() for name in only.split(",")}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if wanted is not None and entry.name not in wanted:
            continue
        try:
            function = getattr(entry.load(), HOOK, None)
            if function is not None and hasattr(function, "palaver_impl"):
                function(register)
        except Exception as err:
            log.warning("the commands of plugin %s are left out: %s", entry.name, err)
    return found
