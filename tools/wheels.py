"""Builds every member as its users get it, and installs the wheels into the running environment.

    python tools/wheels.py DIR

Each member is built as a source archive and then as a wheel from that archive, so that a file which
the archive lacks is noticed here and not by the first person who installs it. Needs `build`,
`hatchling` and `pip` (the dependency group `build`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from workspace import ROOT, members, read_toml

SKIPPED_SUFFIXES = {".pyc", ".pyo"}


def build(member: Path, target: Path) -> Path:
    """Builds one member into `target` and returns its wheel."""
    before = set(target.glob("*.whl"))
    # Without isolation: what builds it is in the environment, in the tested versions.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target)]
    done = subprocess.run([*command, str(member)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{member.relative_to(ROOT)} does not build:\n{done.stdout}{done.stderr}")
    (wheel,) = set(target.glob("*.whl")) - before
    return wheel


def missing(member: Path, wheel: Path) -> list[str]:
    """Returns the files of the member's `src/` that its wheel lacks, and a missing licence."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = member / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and path.suffix not in SKIPPED_SUFFIXES
    }
    lost = sorted(wanted - names)
    if not any(name.endswith("licenses/LICENSE") for name in names):
        lost.append("LICENSE")
    return lost


def main() -> None:
    """Builds all members, compares them with the source and installs them."""
    target = Path(sys.argv[1]).resolve() if len(sys.argv) == 2 else None
    if target is None:
        sys.exit("usage: python tools/wheels.py DIR")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    wheels = []
    for member in members():
        wheel = build(member, target)
        lost = missing(member, wheel)
        if lost:
            sys.exit(
                f"{wheel.name} lacks of {member.relative_to(ROOT)}: {', '.join(lost[:20])}\n"
                "Is one of them ignored by git? The build leaves out what .gitignore names."
            )
        print(f"built {wheel.name} ({wheel.stat().st_size // 1024} KiB)")
        wheels.append(str(wheel))
    pip = [sys.executable, "-m", "pip"]
    # pip would keep what is there from the last time: it has the same version.
    names = [read_toml(member / "pyproject.toml")["project"]["name"] for member in members()]
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", *names], check=True)
    subprocess.run([*pip, "install", "--quiet", *wheels], check=True)
    print(f"installed {len(wheels)} wheels")


if __name__ == "__main__":
    main()
