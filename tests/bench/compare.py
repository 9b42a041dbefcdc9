"""Palaver beside a relay that does nothing else, against the same stand-in model server.

    python tests/bench/compare.py [--streams 500] [--rounds 20] [--repeat 3] [--json]

Four processes: the stand-in (`standin.py`), one of relay (`relay.py`) and `palaver serve`, and a
client that only counts (`streams.py`). What is compared is the CPU time of the server's process
for each token that went through it, read from the operating system before and after: machines
are noisy, and seconds say little. Relay and Palaver take turns, so that both meet the same noise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Figures:
    """What one run came to.

    Attributes:
        cpu_us: CPU microseconds of the server's process per token.
        tokens_per_frame: Tokens in one message, on average.
        first_p50_ms: Time to the first text, median.
        first_p99_ms: Time to the first text, 99th percentile.
        gap_max_ms: Longest pause within any stream.
        seconds: How long it took.
    """

    cpu_us: float
    tokens_per_frame: float
    first_p50_ms: float
    first_p99_ms: float
    gap_max_ms: float
    seconds: float


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process so far, user and system, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process, in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    """Wait until a process listens."""
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


@contextmanager
def running(*command: str, port: int, **environ: str) -> Iterator[subprocess.Popen[Any]]:
    """Run a server until the block ends."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, **environ}, cwd=HERE
    )
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def make_world(folder: Path, standin: int) -> Path:
    """Write a world whose one backend is the stand-in."""
    (folder / "personas").mkdir(parents=True)
    (folder / "templates").mkdir()
    (folder / "templates" / "npc.j2").write_text("{% block identity %}{% endblock %}")
    (folder / "personas" / "bench.md").write_text(
        "---\nname: Bench\nlast_words: Hm.\ntier: bench\n---\n"
        '{% extends "npc.j2" %}{% block identity %}You are a vampire.{% endblock %}\n'
    )
    (folder / "palaver.toml").write_text(
        f'[backends.local]\ntype = "vllm"\nurl = "http://127.0.0.1:{standin}"\nmodel = "base"\n'
        '[tiers.bench]\nchain = ["local"]\nfirst_text_ms = 60000\nfirst_token_ms = 60000\n'
        "total_ms = 600000\nstall_ms = 60000\nmemory = 0\n"
        "[limits]\nmessages_per_s = 100000\nsessions = 10000\n"
    )
    return folder


def one_run(kind: str, url: str, pid: int, streams: int, rounds: int, tokens: int) -> Figures:
    """Run the counting client against a server and return the figures."""
    client = subprocess.Popen(
        [sys.executable, str(HERE / "streams.py"), kind, url, *map(str, (streams, rounds, tokens))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        if client.stdout.readline().strip() != "ready":
            raise SystemExit("the client could not connect")
        before = cpu_s(pid)
        client.stdin.write("go\n")
        client.stdin.flush()
        seen = json.loads(client.stdout.readline())
        used = cpu_s(pid) - before
        client.wait(10)
    finally:
        client.kill()
        client.wait()
    firsts = seen["firsts"]
    return Figures(
        cpu_us=used / seen["tokens"] * 1e6,
        tokens_per_frame=seen["tokens"] / seen["frames"],
        first_p50_ms=firsts[len(firsts) // 2] * 1e3,
        first_p99_ms=firsts[int(len(firsts) * 0.99)] * 1e3,
        gap_max_ms=seen["gaps"][-1] * 1e3,
        seconds=seen["seconds"],
    )


@dataclass
class Case:
    """One thing to measure: streams, rounds of each, tokens of a reply, and their pace."""

    name: str
    streams: int
    rounds: int
    tokens: int
    gap_ms: float


def compare(case: Case, repeat: int) -> dict[str, list[Figures]]:
    """Measure relay and Palaver in turns."""
    found: dict[str, list[Figures]] = {"relay": [], "palaver": []}
    folder = Path(tempfile.mkdtemp(prefix="palaver-bench-"))
    try:
        with ExitStack() as stack:
            standin, relay, port = free_port(), free_port(), free_port()
            stack.enter_context(
                running(
                    *(sys.executable, "standin.py", str(standin)),
                    *(str(case.tokens), str(case.gap_ms)),
                    port=standin,
                )
            )
            the_relay = stack.enter_context(
                running(
                    *(sys.executable, "relay.py", str(relay), f"http://127.0.0.1:{standin}"),
                    port=relay,
                )
            )
            world = make_world(folder / "world", standin)
            palaver = stack.enter_context(serve(world, port))
            for _ in range(repeat):
                for kind, pid, url in (
                    ("relay", the_relay.pid, f"ws://127.0.0.1:{relay}/"),
                    ("palaver", palaver.pid, f"ws://127.0.0.1:{port}/v1"),
                ):
                    found[kind].append(
                        one_run(kind, url, pid, case.streams, case.rounds, case.tokens)
                    )
    finally:
        shutil.rmtree(folder)
    return found


@contextmanager
def serve(world: Path, port: int) -> Iterator[subprocess.Popen[Any]]:
    """Run `palaver serve`."""
    with running(
        *(sys.executable, "-m", "palaver", "serve", str(world), "--port", str(port)),
        *("--log-level", "warning"),
        port=port,
        PALAVER_CONFIG_DIR=str(world.parent / "config"),
    ) as process:
        for _ in range(100):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    break
        yield process


def main() -> None:
    """Run all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=500, help="paced streams at once")
    parser.add_argument("--rounds", type=int, default=8, help="replies of each stream")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--only", choices=["paced", "long", "burst", "one"], help="one case alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    cases = [
        Case("paced", chosen.streams, chosen.rounds, 40, 20),
        # The longest reply of the tier `elite`: what a turn costs besides its tokens weighs less.
        Case("long", chosen.streams, max(1, chosen.rounds // 3), 120, 20),
        Case("burst", 16, 250, 40, 0),
        Case("one", 1, 300, 40, 0),
    ]
    results = {}
    for case in cases:
        if chosen.only in (None, case.name):
            results[case.name] = compare(case, chosen.repeat)
            if not chosen.json:
                show(case, results[case.name])
    if chosen.json:
        runs = {
            name: {kind: [asdict(one) for one in figures] for kind, figures in found.items()}
            for name, found in results.items()
        }
        print(json.dumps({"machine": machine(), "runs": runs}))


def show(case: Case, found: dict[str, list[Figures]]) -> None:
    """Print one case as a table, with the median of each figure."""
    pace = f"{1000 / case.gap_ms:.0f} tokens/s each" if case.gap_ms else "as fast as they come"
    print(f"\n{case.name}: {case.streams} streams, {case.tokens} tokens a reply, {pace}")
    print(f"{'':10}{'CPU us/token':>14}{'tokens/frame':>14}{'first p50 ms':>14}", end="")
    print(f"{'first p99 ms':>14}{'longest gap ms':>16}")
    for kind, figures in found.items():
        values = [statistics.median(vars(one)[name] for one in figures) for name in FIELDS]
        print(f"{kind:10}{values[0]:14.1f}{values[1]:14.2f}{values[2]:14.2f}", end="")
        print(f"{values[3]:14.2f}{values[4]:16.1f}")
    pairs = zip(found["palaver"], found["relay"], strict=True)
    ratios = [ours.cpu_us / theirs.cpu_us for ours, theirs in pairs]
    print(f"CPU ratio, run by run: {', '.join(f'{ratio:.2f}' for ratio in ratios)}", end="")
    print(f"; median {statistics.median(ratios):.2f}")


FIELDS = ("cpu_us", "tokens_per_frame", "first_p50_ms", "first_p99_ms", "gap_max_ms")


def machine() -> str:
    """Describe this machine in a line."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
