"""Refreshes constraints.txt: the exact versions that CI tests, names and versions only.

    python tools/constraints.py              change only what has to change
    python tools/constraints.py --upgrade    the newest versions of everything

Needs `uv` (in requirements-dev.txt, through tox-uv). The resolution is universal: one version of a
package for every Python and system we support, with a marker only where that is impossible.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints.txt"
HEADER = """\
# The exact versions that CI tests. Made by `python tools/constraints.py`; do not edit by hand.
"""
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)\s*(?P<marker>;.*)?$")


def requirements() -> list[str]:
    """Returns all that CI installs: members with their extras, dependency groups, tox."""
    wanted: list[str] = []
    for path in member_files():
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        wanted += project.get("dependencies", [])
        for extra, items in project.get("optional-dependencies", {}).items():
            # Installed by pip from the index that has the CPU build; see tests/vllm/install.py.
            if extra != "train":
                wanted += items
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "dependency-groups"
    ]
    for items in groups.values():
        wanted += [item for item in items if isinstance(item, str)]
    wanted.append("coverage>=7.10")
    return sorted({item for item in wanted if not re.match(r"palaver\b", item)})


def member_files() -> list[Path]:
    """Returns the pyproject.toml of every workspace member."""
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = workspace["tool"]["uv"]["workspace"]["members"]
    found = [path for pattern in patterns for path in ROOT.glob(f"{pattern}/pyproject.toml")]
    return sorted(found)


def resolve(*, upgrade: bool) -> list[str]:
    """Resolves with uv and returns `name==version` lines, with a marker only where needed."""
    command = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--quiet"]
    # uv prefers the versions that stand in the output file already.
    command += ["--no-header", "--no-annotate", "--output-file", str(TARGET), "-"]
    if upgrade:
        command.append("--upgrade")
    done = subprocess.run(
        command, input="\n".join(requirements()), text=True, capture_output=True, cwd=ROOT
    )
    if done.returncode:
        sys.exit(f"uv could not resolve the requirements:\n{done.stderr}")
    resolved = TARGET.read_text(encoding="utf-8").splitlines()
    pins = [match for line in resolved if (match := PIN.match(line.strip()))]
    names = [pin["name"] for pin in pins]
    return [
        f"{pin['name']}=={pin['version']}"
        + (f" {pin['marker']}" if pin["marker"] and names.count(pin["name"]) > 1 else "")
        for pin in pins
    ]


def main() -> None:
    """Writes constraints.txt and says what changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="the newest versions of everything")
    args = parser.parse_args()
    before = set(TARGET.read_text(encoding="utf-8").splitlines()) if TARGET.exists() else set()
    lines = resolve(upgrade=args.upgrade)
    TARGET.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    for line in sorted(set(lines) - before):
        print(f"  {line}")
    print(f"{len(lines)} packages in {TARGET.name}")


if __name__ == "__main__":
    main()
