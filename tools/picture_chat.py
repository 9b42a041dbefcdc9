"""Makes docs/images/chat.svg: a real chat in a real terminal, as the README shows it.

    python tools/picture_chat.py            write it
    python tools/picture_chat.py --text     only show what it would show

Types into `palaver chat` and draws what comes back; nothing is made up and nothing is cut. Needs
every member installed (requirements-dev.txt) and a system with pseudo-terminals. What characters
say is theirs to choose, so the picture differs a little each time.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from pictures import save
from rich.console import Console
from rich.text import Text
from workspace import ROOT

PICTURE = ROOT / "docs" / "images" / "chat.svg"
COLUMNS = 92
COMMAND = "palaver chat --npc vampire"
TYPED = (
    "Good evening.",
    "What is your price?",
    "I will put a stake through you.",
    "/npc zombie",
    "Who are you?",
    "/npc lich",
    "Goodbye, doctor.",
)
REPLY_S = 30.0
"""Longest wait for anything to be shown, in seconds."""


def record() -> str:
    """Chats, and returns everything the terminal was sent."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    with tempfile.TemporaryDirectory() as folder:
        # Folders of its own: nobody has met these characters before.
        environ = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        environ |= {
            "PALAVER_CONFIG_DIR": folder,
            "PALAVER_DATA_DIR": folder,
            "XDG_STATE_HOME": folder,
            "TERM": "xterm-256color",
        }
        for name in ("COLUMNS", "LINES"):
            environ.pop(name, None)
        process = subprocess.Popen(
            [sys.executable, "-m", *COMMAND.split(), "--set", "server.detect=false"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environ,
            cwd=folder,
        )
        os.close(theirs)
        try:
            shown = _read_until(mine, "> ")
            for line in TYPED:
                os.write(mine, line.encode() + b"\n")
                # A reply ends with its trail; a change of person with who that is.
                end = "You are talking" if line.startswith("/") else "first words"
                shown += _read_until(mine, end, "> ")
            os.write(mine, b"\x04")
            process.wait(REPLY_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(mine)
    return shown


def _read_until(terminal: int, *wanted: str) -> str:
    """Reads until these have come, one after another."""
    shown = ""
    ends_at = time.monotonic() + REPLY_S
    while not re.search(".*".join(map(re.escape, wanted)), shown, re.DOTALL):
        ready, _, _ = select.select([terminal], [], [], max(0, ends_at - time.monotonic()))
        if not ready:
            sys.exit(f"waited for {wanted}, but it showed:\n{shown}")
        shown += os.read(terminal, 65_536).decode("utf-8", "replace")
    return shown


def to_text(shown: str) -> Text:
    """Returns what a terminal would show: colours stay, what readline tells it does not."""
    shown = shown.replace("\r\n", "\n").replace("\r", "")
    shown = re.sub(r"\x1b\[\?\d+[hl]|\x1b\[\d*[JK]|\x1b[=>]", "", shown)
    text = Text.from_ansi(shown)
    # The last prompt, at which nothing was typed.
    text.rstrip()
    text = text[:-1] if text.plain.endswith(">") else text
    text.rstrip()
    return Text.assemble(("$ ", "bold"), COMMAND, "\n", text)


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the picture; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", action="store_true", help="write nothing; show it here")
    parser.add_argument("--out", type=Path, default=PICTURE, help="where to write it")
    args = parser.parse_args(argv)
    text = to_text(record())
    if args.text:
        Console().print(text)
        return 0
    save(text, args.out, title="palaver chat", columns=COLUMNS)
    print(f"wrote {args.out.relative_to(ROOT) if args.out.is_relative_to(ROOT) else args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
