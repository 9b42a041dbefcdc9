"""The JavaScript client in Node: each file of tests runs once, against its own lab."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path

import pytest
from jslab import Lab

from palaver import messages
from palaver._version import __version__

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "clients" / "javascript"
FILES = sorted(HERE.glob("*.test.mjs"))
LIMIT_S = 300
"""Ends what hangs; nothing waits for it to pass."""

pytestmark = pytest.mark.timeout(LIMIT_S + 30)


async def run(command: list[str], **environ: str) -> tuple[int, str]:
    """Run a program, and return how it ended and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "NO_COLOR": "1", "NODE_NO_WARNINGS": "1", **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            output, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return process.returncode or 0, output.decode("utf-8", "replace")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.mjs"))
async def test_in_node(file: Path, node: list[str], lab: Lab) -> None:
    """Every test of this file passes in Node, against the real server."""
    code, output = await run([*node, str(file)], PALAVER_LAB=lab.url)
    assert code == 0, output
    counts = dict(
        re.findall(r"^(?:#|\N{INFORMATION SOURCE}) (pass|fail|skipped) (\d+)$", output, re.M)
    )
    assert int(counts["pass"]) > 0, output
    assert counts["fail"] == counts["skipped"] == "0", output


async def test_example_of_the_readme_runs(node: list[str], lab: Lab, tmp_path: Path) -> None:
    """The README's example runs in Node as it stands."""
    readme = (CLIENT / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"<!-- node -->\n```js\n(.*?)```", readme, re.DOTALL)
    server = await lab.server({}, [["Good ", "evening, ", "Ada."]])
    module = (CLIENT / "palaver.js").as_uri()
    text = example.replace('"palaver-client"', f'"{module}"')
    assert module in text
    file = tmp_path / "talk.mjs"
    file.write_text(text.replace("ws://127.0.0.1:8765", server["url"]), encoding="utf-8")
    code, output = await run([*node, str(file)])
    assert (code, output) == (0, "Good evening, Ada.\n")


def test_size_in_the_readme() -> None:
    """The README says how large the module is, within a tenth."""
    import gzip

    source = (CLIENT / "palaver.js").read_bytes()
    readme = (CLIENT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"([\d,]+) bytes, ([\d,]+) with gzip", readme)
    assert found is not None
    raw, packed = (int(number.replace(",", "")) for number in found.groups())
    assert raw == pytest.approx(len(source), rel=0.1)
    assert packed == pytest.approx(len(gzip.compress(source)), rel=0.1)


def test_module_needs_nothing() -> None:
    """The module imports nothing, and uses nothing that only Node has."""
    source = (CLIENT / "palaver.js").read_text(encoding="utf-8")
    for word in (r"^import\b", r"\bimport\(", r"\brequire\(", r"\bBuffer\b", r"\bprocess\."):
        assert not re.search(word, source, re.MULTILINE), word


def test_version_and_types_agree() -> None:
    """Package, module and server have one version, and the types have the messages' fields."""
    assert f'VERSION = "{__version__}"' in (CLIENT / "palaver.js").read_text(encoding="utf-8")
    assert f'"version": "{__version__}"' in (CLIENT / "package.json").read_text(encoding="utf-8")
    types = (CLIENT / "palaver.d.ts").read_text(encoding="utf-8")
    for name in (
        *("TurnDelta", "TurnSentence", "TurnEmotion", "TurnAction", "TurnDone"),
        *("TrailEntry", "LimitsInfo", "SessionReady", "ActionSpec"),
    ):
        body = re.search(rf"export interface {name} {{\n(.*?)^}}", types, re.M | re.DOTALL)
        assert body is not None, name
        fields = set(re.findall(r"^  (\w+)\??:", body[1], re.M))
        assert fields == set(getattr(messages, name).model_fields), name


def test_client_knows_every_message() -> None:
    """The module names every message of the protocol."""
    source = (CLIENT / "palaver.js").read_text(encoding="utf-8")
    for kind in (*messages.CLIENT_MESSAGES, *messages.SERVER_MESSAGES):
        assert f'"{kind}"' in source or f"  {kind}: {{" in source, kind
