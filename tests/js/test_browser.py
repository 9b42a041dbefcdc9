"""The JavaScript client in a real Chromium, on a page from elsewhere than the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from jslab import Lab

pytestmark = pytest.mark.timeout(300)

LIMIT_S = 200
"""Ends what hangs; nothing waits for it to pass."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REPLIES = [["One. ", {"gate": "cut"}, "Two. ", "Three."]]


@asynccontextmanager
async def browser(program: str, url: str, folder: Path) -> AsyncIterator[None]:
    """Let Chromium show a page."""
    with (folder / "chromium.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            url,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def visit(program: str, lab: Lab, folder: Path, origins: list[str]) -> dict[str, Any]:
    """Return what the page told, which talks to a server that lets these origins in."""
    server = await lab.server({"server.origins": origins}, REPLIES)
    asked = urlencode({"server": server["url"], "number": server["number"]})
    async with browser(program, f"{lab.url}/page.html?{asked}", folder):
        try:
            async with asyncio.timeout(LIMIT_S):
                return await lab.result
        except TimeoutError:
            log = (folder / "chromium.log").read_text(encoding="utf-8", errors="replace")
            raise AssertionError(f"the page said nothing; Chromium said: {log[-4_000:]}") from None


async def test_a_page_talks_to_the_server(chromium: str, lab: Lab, tmp_path: Path) -> None:
    """A web page that imports the module gets a whole reply, over a cut in its middle."""
    result = await visit(chromium, lab, tmp_path, [lab.url])
    assert "error" not in result, result
    assert (result["text"], result["status"]) == ("One. Two. Three.", "completed")
    assert result["cut"] is True
    assert "Chrome" in result["agent"]


async def test_a_page_from_elsewhere_is_refused(chromium: str, lab: Lab, tmp_path: Path) -> None:
    """A page whose origin is not in `server.origins` is told what to look at."""
    result = await visit(chromium, lab, tmp_path, [])
    assert result["error"]["lost"] is True
    assert "server.origins" in result["error"]["message"]
