"""The C++ core by itself: warnings, unit tests, fuzzing, the example of the README."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from unreal_harness import build

WIRE = Path(__file__).resolve().parents[1] / "wire"
HEADERS = sorted(path.name for path in build.CORE.glob("*.h"))


def compilers() -> list[str]:
    """The compilers of this machine."""
    return [path for name in ("g++", "clang++") if (path := shutil.which(name))]


@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_the_core_is_clean(standard: str) -> None:
    """The whole core compiles without a warning, also of those that Unreal does not turn on."""
    more = ["-Wconversion", "-Wpedantic", "-fsyntax-only"]
    for compiler in compilers():
        source = str(build.SOURCES / "replay.cpp")
        build.run([compiler, f"-std={standard}", *build.FLAGS, *more, source])


def test_every_header_stands_alone(tmp_path: Path, compiler: str) -> None:
    """Each header compiles by itself, and may be included twice."""
    sources = [tmp_path / f"{name}.cpp" for name in HEADERS]
    for name, source in zip(HEADERS, sources, strict=True):
        source.write_text(f'#include "palaver_core/{name}"\n' * 2, encoding="utf-8")
    build.run([compiler, "-std=c++17", "-fsyntax-only", *build.FLAGS, *map(str, sources)])


def test_headers_are_small_and_plain() -> None:
    """One idea for each header; no exceptions, RTTI or iostream; only the standard library."""
    for name in HEADERS:
        text = (build.CORE / name).read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 250, name
        assert text.startswith("// ")
        assert "#pragma once" in text
        code = re.sub(r"//.*", "", text)
        assert not re.search(r"\b(throw|try|catch|dynamic_cast|typeid|using namespace)\b", code)
        assert "stream>" not in code
        for include in re.findall(r'#include "(.*)"', text):
            assert include in HEADERS


def test_units(units: Path) -> None:
    """The unit tests pass, with sanitizers."""
    assert "Status: SUCCESS" in build.run([str(units)])


def seeds(folder: Path) -> Path:
    """What servers say in the transcripts, as inputs for the fuzzers."""
    folder.mkdir()
    for path in WIRE.glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
        spoken = [line["msg"] for line in lines if line["dir"] == "s" and "msg" in line]
        numbered, seq = [], 0
        for message in spoken:
            seq += message["type"].startswith("turn.")
            turn = {"turn": "t1", "seq": seq} if message["type"].startswith("turn.") else {}
            numbered.append(json.dumps({**message, **turn}))
        (folder / f"{path.stem}.session").write_text("1" + "\n".join(numbered), encoding="utf-8")
        (folder / f"{path.stem}.reader").write_text("0" + (numbered or ["{}"])[-1], "utf-8")
    return folder


def test_fuzz(programs: Path, tmp_path: Path) -> None:
    """Thousands of damaged messages neither break the core nor leave a turn without an end."""
    program = build.compile_program(
        build.SOURCES / "fuzz_plain.cpp", programs / "fuzz_plain", "-O1"
    )
    files = [str(path) for path in sorted(seeds(tmp_path / "seeds").iterdir())]
    done = build.run([str(program), "40000", "8", *files])
    assert int(done.split()[0]) > 0


def test_libfuzzer(programs: Path, tmp_path: Path) -> None:
    """Nor does what libFuzzer finds in ten seconds."""
    clang = shutil.which("clang++")
    if clang is None:
        pytest.skip("no clang++ here; on Debian: apt-get install clang")
    program = programs / "fuzz_clang"
    options = ["-std=c++17", "-O1", "-g", "-fsanitize=fuzzer,address,undefined"]
    source = str(build.SOURCES / "fuzz_clang.cpp")
    made = subprocess.run(
        [clang, *options, "-fno-sanitize-recover=all", *build.FLAGS, "-o", program, source],
        capture_output=True,
        text=True,
        timeout=build.LIMIT_S,
        check=False,
    )
    if made.returncode and "fuzzer" in made.stderr:
        pytest.skip("clang++ here has no libFuzzer; on Debian: apt-get install libclang-rt-dev")
    assert made.returncode == 0, made.stderr
    limits = ["-max_total_time=10", "-seed=1", "-max_len=20000", "-rss_limit_mb=1024"]
    where = f"-artifact_prefix={tmp_path}/"
    corpus = str(seeds(tmp_path / "seeds"))
    assert "Done" in build.run([str(program), *limits, "-timeout=20", where, corpus])


def test_the_example_of_the_readme(programs: Path) -> None:
    """The README's example compiles as it stands, and says what it is to say."""
    text = (build.BRIDGE / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"(?s)```cpp\n(.*?)```", text)
    source = programs / "example.cpp"
    source.write_text(example, encoding="utf-8")
    program = build.compile_program(source, programs / "example")
    assert "vlad: Good evening." in build.run([str(program)])
