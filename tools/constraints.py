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

from workspace import ROOT, members, read_toml

TARGET = ROOT / "constraints.txt"
HEADER = """\
# The exact versions that CI tests. Made by `python tools/constraints.py`; do not edit by hand.
"""
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)\s*(?P<marker>;.*)?$")


def requirements() -> list[str]:
    """Returns all that CI installs: members with their extras, dependency groups, coverage."""
    wanted: list[str] = []
    for member in members():
        project = read_toml(member / "pyproject.toml")["project"]
        wanted += project.get("dependencies", [])
        for extra, items in project.get("optional-dependencies", {}).items():
            # `train` is installed by pip, which finds the CPU build of torch; uv may not.
            if extra != "train":
                wanted += items
    groups = read_toml(ROOT / "pyproject.toml")["dependency-groups"]
    for items in groups.values():
        wanted += [item for item in items if isinstance(item, str)]
    wanted.append("coverage>=7.10")
    return sorted({item for item in wanted if not re.match(r"palaver\b", item)})


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
