"""The engine's programs on this machine: Debian's, or the newest in a root folder of its own.

`PALAVER_TEST_LUANTI_ROOT` names a folder with a Debian in it that has `luanti-server`;
`tests/luanti/newest.py` makes one. Without it the server of this machine is taken.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ROOT_VARIABLE", "WHY_NOT", "Program", "find_client", "find_server", "missing"]

ROOT_VARIABLE = "PALAVER_TEST_LUANTI_ROOT"
WHY_NOT = "why-not.txt"
"""What `tests/luanti/newest.py` writes into the root folder when it could not fill it."""

# The wrapper in /usr/games sets a configuration and a log file of its own.
SERVERS = (
    "/usr/libexec/luanti/luantiserver",
    "/usr/lib/luanti/luantiserver",
    "/usr/lib/minetest/minetestserver",
)


@dataclass(frozen=True)
class Program:
    """A game server that can be started.

    Attributes:
        path: The program, as seen from its root folder.
        version: What it calls itself, such as `5.6.1`.
        root: The root folder that it runs in, or None for this machine's.
    """

    path: str
    version: str
    root: Path | None = None

    def command(self, *arguments: str, home: Path) -> list[str]:
        """Return the command that starts it.

        Args:
            arguments: Its arguments, with paths that went through `inside`.
            home: Its home folder, on this machine.
        """
        start = ["chroot", str(self.root)] if self.root else []
        return [*start, "/usr/bin/env", f"HOME={self.inside(home)}", self.path, *arguments]

    def folder(self, tmp_path: Path) -> Path:
        """Return a new folder that it can reach.

        Args:
            tmp_path: Where, unless it runs in a root folder of its own.
        """
        where = self.root / "tmp" if self.root else tmp_path
        return Path(tempfile.mkdtemp(prefix="game-", dir=where))

    def inside(self, path: Path) -> str:
        """Return how it sees a path of this machine."""
        return "/" + str(path.relative_to(self.root)) if self.root else str(path)


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return found[0] if found else ""


@cache
def find_server() -> Program | str:
    """Return the game server, or a sentence that says why there is none."""
    named = os.environ.get(ROOT_VARIABLE)
    root = Path(named).resolve() if named else None
    if root and (root / WHY_NOT).is_file():
        return (root / WHY_NOT).read_text(encoding="utf-8").strip()
    for path in SERVERS:
        if not (root / path[1:] if root else Path(path)).is_file():
            continue
        version = _version(["chroot", str(root), path] if root else [path])
        if version:
            return Program(path, version, root)
    where = f"in {root}; `python tests/luanti/newest.py {root}` fills it" if root else "here"
    return f"no Luanti server {where}; on Debian: apt-get install minetest-server"


@cache
def find_client() -> str | None:
    """Return the path of the game's client, or None."""
    for name in ("/usr/games/minetest", "/usr/games/luanti", "minetest", "luanti"):
        found = shutil.which(name)
        if found:
            return found
    return None


def missing(*commands: str) -> str | None:
    """Return a sentence that names the first of these commands that is not there, or None."""
    for command in commands:
        if not shutil.which(command):
            return f"{command} is not installed; .ci/run names the packages"
    return None
