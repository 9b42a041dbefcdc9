"""Sets off template bombs on Jinja's own sandbox, each in a process of its own with limits.

Reads a JSON object of templates by id from standard input, writes one of outcomes by id:
`memory`, `time`, `done`, or what went wrong.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES = 200 << 20
CPU_S = 0.2


def set_off(template: str) -> int:
    """Render a template with limits in a child process, and return its id."""
    child = os.fork()
    if child:
        return child
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    try:
        ImmutableSandboxedEnvironment().from_string(template).render()
    except MemoryError:
        os._exit(10)
    except BaseException:
        os._exit(11)
    os._exit(0)


def outcome(status: int) -> str:
    """Return an exit status in a word."""
    if os.WIFSIGNALED(status):
        killed = os.WTERMSIG(status)
        return "time" if killed == signal.SIGPROF else f"signal {killed}"
    return {0: "done", 10: "memory"}.get(os.WEXITSTATUS(status), "error")


def main() -> None:
    """Set off all bombs, two at a time."""
    waiting = list(json.load(sys.stdin).items())
    running: dict[int, str] = {}
    outcomes: dict[str, str] = {}
    while waiting or running:
        while waiting and len(running) < 2:
            name, template = waiting.pop()
            running[set_off(template)] = name
        child, status = os.wait()
        outcomes[running.pop(child)] = outcome(status)
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
