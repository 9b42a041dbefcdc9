"""Reading the server's log for people: what it does now, and why it failed."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["advice", "failure", "last_words", "tail"]

TAIL_BYTES = 64_000
_PREFIX = re.compile(
    r"^(\([\w .=-]+\)\s*)?(DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+[\d:. -]+\[[^\]]*\]\s*"
)
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_NAMED = re.compile(r"^(\([\w .=-]+\)\s*)")

_ADVICE = (
    ("No module named", "install vLLM for that Python, or name another one with --python"),
    ("Address already in use", "choose another port with --port, or stop what listens there"),
    ("unrecognized arguments", "this vLLM does not know that argument; see `serve.args`"),
    ("out of memory", "use a smaller model, or `--gpu-memory-utilization` in `serve.args`"),
    ("KV cache", "set a smaller `max_model_len` in [backends.NAME.serve]"),
    ("max_model_len", "set a smaller `max_model_len` in [backends.NAME.serve]"),
    ("max_lora_rank", "the rank in an adapter's manifest is too small; write the real one"),
    ("config.json", "the model's folder is not complete, or it is no model; see --model"),
    ("Hugging Face", "download the model first and give its folder with --model"),
    ("Permission denied", "choose a port above 1023 with --port, or mend the file's rights"),
)


def tail(log: Path, lines: int = 20) -> list[str]:
    """Return the last lines of a log that are not empty, without control characters."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    clean = (_CONTROL.sub("", line).rstrip() for line in text.splitlines())
    return [line for line in clean if line.strip()][-lines:]


def last_words(log: Path) -> str:
    """Return the last line that says what the server is doing, without time and source."""
    for line in reversed(tail(log, 40)):
        found = _PREFIX.match(line)
        if found:
            words = line[found.end() :].strip()
            # Banners and bars are drawings, not words.
            if sum(char.isalpha() for char in words) > len(words) / 2:
                return words
    return ""


def advice(log: Path) -> str:
    """Return what to do about a server that did not start."""
    text = "\n".join(tail(log, 200))
    for sign, what in _ADVICE:
        if sign in text:
            return what
    return "see the log for the reason"


def failure(log: Path) -> str:
    """Return the end of a log, as part of an error message."""
    lines = [f"  {_NAMED.sub('', line)}" for line in tail(log)]
    return "\n".join(lines) if lines else "  (the log is empty)"
