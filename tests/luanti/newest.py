"""Puts the newest Luanti server into a folder: a small Debian sid with `luanti-server` in it.

    python tests/luanti/newest.py FOLDER

Takes half a minute and 400 MB, once; needs root and `debootstrap`. Where that cannot be had it
writes the reason into FOLDER/why-not.txt and ends well: the tests are skipped with that reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

WHY_NOT = "why-not.txt"  # as in harness/programs.py
SERVER = "usr/libexec/luanti/luantiserver"
LIMIT_S = 300


class CannotBeHadError(Exception):
    """There is no newest Luanti for this machine; with the reason."""


def run(*command: str) -> None:
    """Run a command.

    Raises:
        CannotBeHadError: It failed.
    """
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as err:
        raise CannotBeHadError(f"{command[0]} took longer than {LIMIT_S} s") from err
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["no word"])[-1]
        raise CannotBeHadError(f"{' '.join(command[:2])} failed: {last}")


def fill(root: Path) -> None:
    """Fill the folder.

    Raises:
        CannotBeHadError: It cannot be filled here.
    """
    if os.geteuid():
        raise CannotBeHadError("changing the root folder needs the user root")
    tool = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not tool:
        raise CannotBeHadError("debootstrap is not installed")
    packages = ("luanti-server", "luanti-data")
    run(tool, "--variant=minbase", "sid", str(root))
    install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends")
    run("chroot", str(root), *install, *packages)
    # All that the server wants of /proc: it looks there for its own path. A link saves the mount,
    # which not everybody may make, and which somebody would have to undo.
    (root / "proc" / "self").mkdir(parents=True, exist_ok=True)
    (root / "proc" / "self" / "exe").symlink_to(f"/{SERVER}")
    for archive in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
        archive.unlink()


def main() -> None:
    """Fill the folder that the command line names, or write down why not."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    root = Path(sys.argv[1]).resolve()
    if (root / SERVER).is_file() and (root / "proc" / "self" / "exe").is_symlink():
        return
    if root.exists() and any(name.name != WHY_NOT for name in root.iterdir()):
        sys.exit(f"{root} holds something else; name an empty folder, or one that is not there")
    fresh = root.with_name(f"{root.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        fill(fresh)
    except CannotBeHadError as err:
        shutil.rmtree(fresh, ignore_errors=True)
        root.mkdir(exist_ok=True)
        reason = f"the newest Luanti cannot be had here: {err}"
        (root / WHY_NOT).write_text(reason + "\n", encoding="utf-8")
        sys.stderr.write(reason + "\n")
        return
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)


if __name__ == "__main__":
    main()
