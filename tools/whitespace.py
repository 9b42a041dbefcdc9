"""Finds what no reader sees: stray white space, lost newlines, conflict marks, files too large.

    python tools/whitespace.py [FILE ...]    all files that git knows, or these

Exit status 1 and a list of `file:line: what` when something is found. Nothing is changed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

from workspace import ROOT

LARGEST_BYTES = 512 * 1024
# The weights of the tiny model, and pictures.
LARGE_ALLOWED = re.compile(r"\.(safetensors|png|webp|gif)$")
# Lock files carry registry addresses; constraints.txt pins what CI installs.
FORBIDDEN = re.compile(r"(^|/)(uv\.lock|poetry\.lock|Pipfile\.lock|package-lock\.json)$")
# Written by the libraries that save models, hashed, and read by machines.
GENERATED = re.compile(r"^tests/models/tiny/(base|[a-z]+@\d+)/")
CONFLICT = re.compile(r"^(<{7} |={7}$|>{7} )")


def known_files() -> list[str]:
    """Returns the files that git tracks or would track, relative to the root."""
    if not (ROOT / ".git").exists():
        print("not a git checkout: no files checked")
        return []
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name]


def faults(name: str) -> Iterator[str]:
    """Yields `file:line: what` for each fault of one file."""
    path = ROOT / name
    if FORBIDDEN.search(name):
        yield f"{name}: lock files are not committed; run `python tools/constraints.py` instead"
    if not path.is_file() or path.is_symlink():
        return
    data = path.read_bytes()
    if len(data) > LARGEST_BYTES and not LARGE_ALLOWED.search(name):
        yield f"{name}: {len(data) // 1024} KiB; files over {LARGEST_BYTES // 1024} KiB stay out"
    if b"\0" in data[:8192] or not data or GENERATED.search(name):
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        yield f"{name}: not UTF-8 at byte {err.start}; save it as UTF-8"
        return
    if "\r" in text and path.suffix != ".csv":
        yield f"{name}: has carriage returns; save it with Unix line ends"
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield f"{name}: must end with one newline"
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            yield f"{name}:{number}: white space at the end of the line"
        if line.startswith("\t") and path.suffix == ".py":
            yield f"{name}:{number}: tab; indent with spaces"
        if CONFLICT.match(line):
            yield f"{name}:{number}: conflict mark; finish the merge"


def main() -> int:
    """Prints all faults and returns the exit status."""
    names = sys.argv[1:] or known_files()
    found = [fault for name in names for fault in faults(name)]
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
