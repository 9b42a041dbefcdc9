"""Which servers were started for a world, kept in a folder of the user's.

Never in the world: what is noted here is asked with a key and sent signals, and a world may come
from a stranger.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

__all__ = ["State", "birth", "forget_state", "read_states", "write_state"]

ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class State:
    """A server that was started.

    Attributes:
        backend: The backend that uses it.
        pid: Its process, which leads a process group of its own.
        birth: When that process was born, as the system tells it; tells it from a later process
            with the same number.
        url: Where it listens.
        model: Name under which its base model is served.
        log: Its log file.
    """

    backend: str
    pid: int
    birth: str
    url: str
    model: str
    log: str

    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return bool(self.birth) and birth(self.pid) == self.birth


def birth(pid: int) -> str | None:
    """Return when a process was born, or None if it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _birth_by_ps(pid)
    except OSError:
        return None
    # State is field 3 and start time field 22 of proc(5); a zombie runs no more.
    return None if fields[0] in "ZX" else fields[19]


def _birth_by_ps(pid: int) -> str | None:
    try:
        answer = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    status, _, started = answer.stdout.strip().partition(" ")
    return started.strip() if status and not status.startswith("Z") else None


def _file(folder: Path, backend: str) -> Path:
    return folder / f"vllm-{backend}.json"


def write_state(folder: Path, state: State) -> None:
    """Note a server."""
    file = _file(folder, state.backend)
    # Written beside and moved, so that nobody reads half of it.
    beside = file.with_suffix(f".{os.getpid()}")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(asdict(state))))
    beside.replace(file)


def read_states(folder: Path, backend: str | None = None) -> list[State]:
    """Return the servers that were started for a world, running or not.

    Args:
        folder: The folder of the world's servers.
        backend: Only that of this backend; None returns all.
    """
    found = []
    for file in sorted(folder.glob("vllm-*.json")):
        try:
            state = msgspec.json.decode(file.read_bytes(), type=State)
        except (OSError, msgspec.DecodeError):
            # Somebody else's file, or one that vanished: there is nothing to take down.
            continue
        if backend in (None, state.backend):
            found.append(state)
    return found


def forget_state(folder: Path, state: State) -> None:
    """Remove what was noted."""
    _file(folder, state.backend).unlink(missing_ok=True)
