"""How tests wait: for a thing to happen, with a limit that only ends what hangs."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["LIMIT_S", "end", "free_port", "wait_for"]

LIMIT_S = 60.0
"""Longest wait for anything, in seconds; a test that gets there has failed."""
LOOK_S = 0.02
PATIENCE_S = 10.0

T = TypeVar("T")


def wait_for(
    look: Callable[[], T],
    what: str | Callable[[], str],
    *,
    limit_s: float = LIMIT_S,
    every_s: float = LOOK_S,
) -> T:
    """Look until something is there, and return it.

    Args:
        look: Returns it, or something false as long as it is not there.
        what: What is waited for, for the message of the failure.
        limit_s: How long, in seconds.
        every_s: Time between two looks, in seconds.

    Raises:
        AssertionError: It did not come.
    """
    until = time.monotonic() + limit_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {limit_s:.0f} s for {said}")
        time.sleep(every_s)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of this machine that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[Any], first: signal.Signals = signal.SIGTERM) -> int:
    """End a process, politely and then not, and return its exit code; safe to call twice."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait(PATIENCE_S)
