"""The `palaver` command line: one module for each command, imported when it is called."""

from palaver.cli.group import main

__all__ = ["main"]
