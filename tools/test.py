#!/usr/bin/env python3
"""Runs every test that this machine can run, and says what it left out and why.

    python tools/test.py              all that can run here
    python tools/test.py --fast       the core's tests and the linters, while you work
    python tools/test.py --only e2e   some environments of tox.ini
    python tools/test.py --strict     as CI: what is left out is a failure, unless
                                      .ci/allowed-to-skip.txt names it with a reason

Needs Python 3.11 or newer with pip, and nothing else: tox is installed into .tox/.runner, and tox
makes an environment for each member. Logs and JUnit files are in .tox/reports/. The last line is
`N passed, N failed, N skipped`, counted by pytest over all environments.
"""

import sys

# Before the imports, some of which an older Python lacks: it gets this sentence, no traceback.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("Palaver needs Python 3.11 or newer; this is " + sys.version.split()[0])

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import threading
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import report
from report import FAILED, LEFT_OUT, PASSED, Result
from workspace import ROOT

WORK = ROOT / ".tox"
REPORTS = WORK / "reports"
ALLOWED = ROOT / ".ci" / "allowed-to-skip.txt"
BIN = "Scripts" if os.name == "nt" else "bin"
HERE = f"py3{sys.version_info.minor}"
FAST = [f"{HERE}-core", "lint"]
# Environments that a plain run does not start, and why.
ON_REQUEST = {
    "soak": "fuzzing and soaking, for hours: tox -e soak",
    "train": "trains the whole tiny model again, for minutes: tox -e train",
    "tiny": "writes the tiny model that is in the tree anew: tox -e tiny",
    "bench": "measures, and wants a machine of its own: tox -e bench",
    "coverage": "counts the lines that tests reach: tox -e coverage",
}
# These measure time or use all cores: nothing else runs beside them.
ALONE = ("recipe", "vllm", "bench", "soak", "train")
LIMIT_S = {"vllm": 1200, "train": 1800, "bench": 1800, "soak": 6 * 3600}
DEFAULT_LIMIT_S = 600


def prepare_runner() -> Path:
    """Makes .tox/.runner with tox in it, once for each version of tox, and returns its tox."""
    runner = WORK / ".runner"
    wanted = ["tox>=4.30", "tox-uv>=1.28"]
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    stamp_text = f"{sys.version}\n" + "".join(
        re.findall(r"(?m)^(?:tox|uv|virtualenv).*\n", constraints)
    )
    stamp = runner / "stamp.txt"
    tox = runner / BIN / ("tox.exe" if os.name == "nt" else "tox")
    if tox.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == stamp_text:
        return tox
    print("Installing tox into .tox/.runner ...", flush=True)
    # Without pip inside, filled by the pip outside: Debian's Python has no ensurepip.
    venv.create(runner, clear=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(runner / BIN / "python")]
    pip += ["install", "-qq", "--disable-pip-version-check", "-c", "constraints.txt"]
    if subprocess.run([*pip, *wanted], cwd=ROOT).returncode:
        # tox-uv makes it faster, and that is all; uv is not built for every machine.
        print("Without tox-uv, then ...", flush=True)
        if subprocess.run([*pip, wanted[0]], cwd=ROOT).returncode:
            sys.exit("tox could not be installed; pip says why above. Is this machine online?")
    stamp.write_text(stamp_text, encoding="utf-8")
    return tox


def child_environment() -> dict[str, str]:
    """Returns the environment for tox, in which all of pyenv's Pythons can be found."""
    env = os.environ | {"NO_COLOR": "1"}
    pyenv = shutil.which("pyenv")
    if pyenv:
        # The shim that started this script narrowed PYENV_VERSION to one version already.
        known = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True)
        current = subprocess.run([pyenv, "version-name"], capture_output=True, text=True)
        names = current.stdout.strip().split(":") + re.findall(r"(?m)^3\.1\d\.\d+$", known.stdout)
        env["PYENV_VERSION"] = ":".join(dict.fromkeys(name for name in names if name))
    return env


def has_python(env_name: str, environ: dict[str, str]) -> bool:
    """Tells whether the Python that an environment's name asks for runs on this machine."""
    match = re.match(r"py3(\d+)-", env_name)
    if not match or int(match[1]) == sys.version_info.minor:
        return True
    found = shutil.which(f"python3.{match[1]}", path=environ.get("PATH"))
    if not found:
        return False
    # pyenv's shims stand in the path even where they can start nothing.
    return not subprocess.run([found, "-c", ""], capture_output=True, env=environ).returncode


def why_not(env_name: str, environ: dict[str, str]) -> str | None:
    """Returns why this machine cannot run an environment, or None if it can."""
    if not has_python(env_name, environ):
        return f"Python 3.{env_name[3:5]} is not installed here"
    if env_name == "vllm":
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            return "vLLM's CPU build exists for Linux on x86-64 only"
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        if memory_gib < 7:
            return f"vLLM needs 8 GiB of memory; this machine has {memory_gib:.0f}"
    if env_name == "luanti-newest" and "PALAVER_TEST_LUANTI_ROOT" not in environ:
        path = f"{environ.get('PATH', '')}:/usr/sbin"
        if sys.platform != "linux" or os.geteuid() or not shutil.which("debootstrap", path=path):
            return "the newest Luanti is installed by debootstrap, as root on Debian"
    if env_name in ("recipe", "vllm") and not (WORK / env_name).exists():
        free_gib = shutil.disk_usage(ROOT).free / 2**30
        if free_gib < 8:
            return f"torch and what it needs take up to 8 GiB of disk; {free_gib:.0f} are free"
    return None


def plan(tox: Path, args: argparse.Namespace, environ: dict[str, str]) -> list[Result]:
    """Returns one result for each environment, with those left out marked already."""
    if args.only:
        return [Result(name) for name in args.only]
    listed = subprocess.run(
        [str(tox), "list", "-d", "--no-desc", "-q"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [
        HERE + name[5:] if name.startswith("py311-") else name for name in listed.stdout.split()
    ]
    names = list(dict.fromkeys(names))
    results = []
    for name in FAST if args.fast else names:
        other = re.match(r"py3\d+-(?!core)", name) and not name.startswith(HERE)
        reason = why_not(name, environ)
        if other and not args.all_pythons:
            reason = "on other Pythons only the core is tested; --all-pythons tests all"
        results.append(Result(name, state=LEFT_OUT if reason else PASSED, note=reason or ""))
    skipped = [name for name in names if args.fast and name not in FAST]
    results += [Result(name, state=LEFT_OUT, note="--fast") for name in skipped]
    return results + [Result(name, LEFT_OUT, note=why) for name, why in ON_REQUEST.items()]


class Runner:
    """Runs environments and prints a line as each one ends."""

    def __init__(self, tox: Path, environ: dict[str, str], total: int, *, verbose: bool) -> None:
        self.tox, self.environ, self.total, self.verbose = tox, environ, total, verbose
        self.done = 0
        self.lock = threading.Lock()
        self.running: set[subprocess.Popen[bytes]] = set()
        REPORTS.mkdir(parents=True, exist_ok=True)

    def run(self, result: Result) -> None:
        """Runs one environment and fills in its result."""
        junit, log = REPORTS / f"{result.env}.xml", REPORTS / f"{result.env}.log"
        junit.unlink(missing_ok=True)
        limit_s = LIMIT_S.get(result.env, DEFAULT_LIMIT_S)
        started = time.monotonic()
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [str(self.tox), "run", "-e", result.env],
                cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL,
                stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            with self.lock:
                self.running.add(process)
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                kill(process)
                code = -1
                result.note = f"took longer than {limit_s} s and was ended"
        result.seconds = time.monotonic() - started
        report.read_junit(junit, result)
        text = log.read_text(encoding="utf-8", errors="replace")
        if re.search(rf"(?m)^\s*{re.escape(result.env)}: SKIP", text):
            result.state, result.note = LEFT_OUT, "tox found no Python for it"
        elif code:
            result.state, result.note = FAILED, result.note or f"tox ended with {code}"
        with self.lock:
            self.running.discard(process)
            self.done += 1
            self.say(result, text, log)

    def say(self, result: Result, text: str, log: Path) -> None:
        """Prints how one environment ended, with the end of its log when it failed."""
        counts = f"{result.passed} tests, " if result.passed else ""
        line = f"[{self.done:>2}/{self.total}] {result.env:<16} {result.state:<8} "
        print(f"{line} {counts}{result.seconds:.1f} s", flush=True)
        if result.state == FAILED or self.verbose:
            tail = text.splitlines() if self.verbose else text.splitlines()[-60:]
            print("\n".join(f"    | {row}" for row in tail))
            print(f"    all of it: {log.relative_to(ROOT)}", flush=True)

    def stop(self) -> None:
        """Ends everything that still runs."""
        with self.lock:
            for process in self.running:
                kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends tox and all that it started."""
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_all(runner: Runner, results: list[Result], jobs: int) -> None:
    """Runs what is not left out: most side by side, those of `ALONE` afterwards one by one."""
    wanted = [result for result in results if result.state != LEFT_OUT]
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            list(pool.map(runner.run, [r for r in wanted if r.env not in ALONE]))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop()
            raise
    for result in wanted:
        if result.env in ALONE:
            runner.run(result)


def summarise(results: list[Result], *, strict: bool) -> int:
    """Prints the table, what was left out, and the totals; returns the exit status."""
    print("\n" + report.table(results))
    found = report.left_out(results)
    failed = [result for result in results if result.state == FAILED]
    if found:
        print("\nLeft out:")
        print("\n".join(f"  {sentence}" for _, sentence in found))
    for result in failed:
        print(f"\nFAILED: {result.env}: {result.note}; see .tox/reports/{result.env}.log")
    bad = report.not_allowed(found, report.read_allowed(ALLOWED)) if strict else []
    if bad:
        print(f"\nFAILED: left out, and not named in {ALLOWED.relative_to(ROOT)}:")
        print("\n".join(f"  {sentence}" for sentence in bad))
    ran = sum(result.state == PASSED for result in results)
    out = len(results) - ran - len(failed)
    print(f"\nenvironments: {ran} passed, {len(failed)} failed, {out} left out")
    print(report.totals(results))
    return 1 if failed or bad else 0


def main() -> int:
    """Reads the flags, runs, and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strict", action="store_true", help="anything left out is a failure")
    parser.add_argument("--fast", action="store_true", help="the core and the linters only")
    parser.add_argument("--only", nargs="+", metavar="ENV", help="these environments only")
    parser.add_argument("--all-pythons", action="store_true", help="all members on every Python")
    parser.add_argument("--list", action="store_true", help="say what would run, and end")
    parser.add_argument("--jobs", type=int, default=2, help="environments side by side (2)")
    parser.add_argument("--verbose", action="store_true", help="print the logs of all")
    args = parser.parse_args()
    tox = prepare_runner()
    environ = child_environment()
    results = plan(tox, args, environ)
    if args.list:
        for result in results:
            print(f"{result.env:<16} {'runs' if result.state == PASSED else result.note}")
        return 0
    total = sum(result.state != LEFT_OUT for result in results)
    print(f"Running {total} environments, {args.jobs} at a time.", flush=True)
    run_all(Runner(tox, environ, total, verbose=args.verbose), results, args.jobs)
    return summarise(results, strict=args.strict)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
