"""Node, Chromium and a lab for the tests of this folder; see `jslab`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# The lab is a module beside the tests, which no distribution carries.
sys.path.insert(0, str(Path(__file__).parent))

from jslab import Lab, running_lab

OLDEST = 20
SOCKETS_SINCE = 22
"""From here on Node has a WebSocket without being asked for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.js)


@pytest.fixture(scope="session")
def node() -> list[str]:
    """The command that starts Node with a WebSocket; without Node the test is skipped."""
    program = shutil.which("node") or shutil.which("nodejs")
    if program is None:
        pytest.skip("no Node here; on Debian: apt-get install nodejs")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    found = re.match(r"v(\d+)\.", said.stdout)
    if found is None or int(found[1]) < OLDEST:
        pytest.skip(f"this Node is {said.stdout.strip()}; version {OLDEST} or newer is needed")
    return [program] + ["--experimental-websocket"] * (int(found[1]) < SOCKETS_SINCE)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; without one the test is skipped."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no Chromium here; on Debian: apt-get install chromium")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Servers and peers for scripts in JavaScript."""
    async with running_lab(tmp_path) as lab:
        yield lab
