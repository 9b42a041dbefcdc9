"""Compiles the programs of engine_bridges/unreal/tests, once for a run of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BRIDGE = ROOT / "engine_bridges" / "unreal"
SOURCES = BRIDGE / "tests"
INCLUDE = BRIDGE / "Palaver" / "Source" / "Palaver" / "ThirdParty"
CORE = INCLUDE / "palaver_core"
# Unreal builds with these warnings, and without exceptions and RTTI.
FLAGS = [
    *("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wundef", "-fno-exceptions", "-fno-rtti"),
    f"-I{INCLUDE}",
]
SANITIZERS = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
LIMIT_S = 100


def compiler() -> str | None:
    """A C++ compiler of this machine."""
    return shutil.which("g++") or shutil.which("clang++")


def environment() -> dict[str, str]:
    """The environment of the programs: what a sanitizer finds ends them."""
    return {**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}


def compile_program(source: Path, program: Path, *more: str) -> Path:
    """Compile one source file to a program with sanitizers.

    Args:
        source: The source.
        program: The program to make.
        more: Further arguments, such as libraries.
    """
    # Not optimised: to compile takes far longer here than to run.
    command = [str(compiler()), "-std=c++17", *SANITIZERS, *FLAGS]
    run([*command, "-o", str(program), str(source), *more])
    return program


def run(command: list[str], limit_s: float = LIMIT_S) -> str:
    """Run a command to its end and return what it wrote."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=limit_s, check=False, env=environment()
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{output}"
    return output
