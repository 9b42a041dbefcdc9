"""The docs are true: generated pages are up to date, links resolve, and marked code runs.

A block is marked by a comment on the line above its fence:

    <!-- run -->             runs it, in a folder that all blocks of one page share
    <!-- run: server -->     the same, while a server of the example world runs; its port takes
                             the place of 8765
    <!-- talk -->            the same for a chat: lines that begin with `> ` are typed into it, and
                             of the replies only persona and intent have to be the same
    <!-- file: NAME -->      writes it to that file of the folder
    <!-- append: NAME -->    writes it to the end of that file

A python block is executed. In a console block each line that begins with `$ ` is a command, and
what follows is its output, in which `...` stands for anything.
"""

from __future__ import annotations

import asyncio
import csv
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import palaver
from palaver import hookspecs, messages
from palaver.config import models

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "node_modules" for part in path.parts[1:])
    # Personas are templates, not pages.
    and path.parent.name != "personas"
)
MEMBERS = sorted(path.parent for path in ROOT.glob("*/pyproject.toml")) + sorted(
    path.parent for path in ROOT.glob("*/*/pyproject.toml")
)
PROTOCOL = (ROOT / "docs/reference/protocol.md").read_text(encoding="utf-8")
_MARK = re.compile(r"^\s*<!-- (run|run: server|talk|(?P<how>file|append): (?P<file>[\w./-]+)) -->$")
_FENCE = re.compile(r"^(?P<indent>\s*)(?P<ticks>`{3,})(?P<language>\w*)")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A marked block of a page."""

    page: Path
    line: int
    mark: str
    file: str | None
    language: str
    text: str

    @property
    def where(self) -> str:
        """Page and line, for whoever has to mend it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the marked blocks of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    mark: re.Match[str] | None = None
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            found = _MARK.match(lines[at])
            assert mark is None or not lines[at].strip() or found, (
                f"{page.relative_to(ROOT)}:{at}: a mark stands right above a block"
            )
            mark = found or mark
            at += 1
            continue
        start = at + 1
        at = start
        while lines[at].strip() != fence["ticks"]:
            at += 1
        if mark is not None:
            body = [line.removeprefix(fence["indent"]) for line in lines[start:at]]
            text = "\n".join(body) + "\n"
            yield Block(page, start, mark[1], mark["file"], fence["language"], text)
            mark = None
        at += 1


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a new user: nothing trusted, nothing remembered, no colours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PALAVER_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    home = {
        "PALAVER_CONFIG_DIR": str(folder / ".config"),
        # Where a shipped world keeps its data; one of the reader's own keeps it in its folder.
        "XDG_DATA_HOME": str(folder / ".data"),
    }
    return kept | home | {"PATH": path, "NO_COLOR": "1", "COLUMNS": "100", "TERM": "dumb"}


def run(block: Block, folder: Path, port: int | None) -> None:
    """Run one block and compare what it prints, where it is a console block."""
    text = block.text if port is None else block.text.replace("8765", str(port))
    if block.file is not None:
        target = folder / block.file
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a" if block.mark.startswith("append") else "w", encoding="utf-8") as out:
            out.write(text)
    elif block.language == "python":
        code, output = call([sys.executable, "-X", "utf8", "-c", text], folder)
        assert code == 0, f"{block.where}\n{output}"
    elif block.mark == "talk":
        for command, lines in commands(text):
            typed = "".join(re.findall(r"^> ?(.*\n?)", lines, flags=re.MULTILINE))
            expected = re.sub(r"^> ?.*\n?", "", lines, flags=re.MULTILINE)
            _, output = call(command, folder, typed)
            assert fits(as_kinds(expected), as_kinds(output)), f"{block.where}\n{output}"
    else:
        for command, expected in commands(text):
            _, output = call(command, folder)
            assert fits(expected, output), f"{block.where}\n$ {command}\n{output}"


@cache
def authored() -> dict[str, str]:
    """Return persona and intent of every authored line of the example worlds, longest first."""
    found = {}
    for file in ROOT.glob("prompts/src/palaver_prompts/worlds/*/lines/*.csv"):
        with file.open(encoding="utf-8", newline="") as rows:
            found.update(
                {row["text"]: f"[{file.stem} {row['intent']}]" for row in csv.DictReader(rows)}
            )
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def as_kinds(output: str) -> str:
    """Put persona and intent in the place of each authored line, and `# ms` for each time."""
    output = re.sub(r"(under )?\d+(\.\d+)? ms", "# ms", output)
    for text, kind in authored().items():
        output = output.replace(text, kind)
    return output


def call(command: str | list[str], folder: Path, typed: str = "") -> tuple[int, str]:
    """Run a command and return its exit code and all that it printed."""
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=environment(folder.parent),
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=100,
        encoding="utf-8",
    )
    return done.returncode, done.stdout


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with what it should print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
        yield "\n".join(lines[: end + 1]), "\n".join(lines[end + 1 :])


def fits(expected: str, output: str) -> bool:
    """Return whether an output is the expected one, up to white space and `...`."""
    pieces = (re.escape(" ".join(piece.split())) for piece in expected.split("..."))
    pattern = ".*".join(pieces)
    return re.fullmatch(rf"\s*{pattern}\s*", " ".join(output.split())) is not None


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if next(blocks(page), None)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
@pytest.mark.timeout(300)
async def test_code_runs(page: Path, tmp_path: Path) -> None:
    """What a page tells readers to type does what the page says."""
    folder = tmp_path / "work"
    folder.mkdir()
    port: int | None = None
    async with AsyncExitStack() as stack:
        for block in blocks(page):
            if "curl" in block.text and shutil.which("curl") is None:
                pytest.skip("curl is not installed")
            if port is None and block.mark == "run: server":
                port = (await stack.enter_async_context(example_server(tmp_path))).port
            await asyncio.to_thread(run, block, folder, port)


@asynccontextmanager
async def example_server(folder: Path) -> AsyncIterator[palaver.Server]:
    """Serve the example world, as `palaver serve` does."""
    settings = {"server.port": 0, "server.detect": False}
    environ = {"PALAVER_DATA_DIR": str(folder / "served")}
    parts = await palaver.prepare("body-broker", overrides=settings, environ=environ)
    async with palaver.Gateway(parts) as gateway, palaver.Server(gateway) as server:
        yield server


def test_generated_pages_are_up_to_date() -> None:
    """The reference pages say what the code says now; `python tools/docs.py` makes them."""
    done = subprocess.run(
        [sys.executable, "tools/docs.py", "--check"],
        cwd=ROOT,
        env=environment(ROOT),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Every relative link leads to a file that is there, and to a heading in it."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in _LINK.finditer(re.sub(r"`[^`\n]*`", "", text)):
        target = link["target"]
        if re.match(r"^[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(file), f"{target} has no such heading"


def anchors(page: Path) -> set[str]:
    """Return the anchors that headings make on the usual hosts."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.*)$", text, flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


HOOKS = {
    name: hook
    for name, hook in vars(hookspecs).items()
    if name.startswith("palaver_") and inspect.isfunction(hook)
}


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_are_documented(name: str) -> None:
    """Each hook says when it is called, what its arguments are, since when, with an example."""
    hook = HOOKS[name]
    text = inspect.getdoc(hook) or ""
    assert "Called" in text
    assert "Example:" in text
    assert f"def {name}(" in text
    assert re.search(r"Added in \d+\.\d+\.", text)
    for argument in inspect.signature(hook).parameters:
        assert re.search(rf"^    {argument}: ", text, flags=re.MULTILINE), argument
    if "None" not in str(inspect.signature(hook).return_annotation).split("|")[0]:
        assert "Returns:" in text


def test_settings_are_described() -> None:
    """Each setting says what it means and, where it is a quantity, in which unit."""
    units = {"ms": "milliseconds", "bytes": ("bytes", "JSON"), "tokens": "tokens"}
    for model in (models.Server, models.Token, models.Limits, models.MemorySettings, models.Tier):
        assert model.__doc__, model
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert field.description.endswith("."), field.description
            words = units.get(name.rsplit("_", 1)[-1], "")
            options = words if isinstance(words, tuple) else (words,)
            assert any(word in field.description for word in options), field.description


@pytest.mark.parametrize("kind", [*messages.CLIENT_MESSAGES, *messages.SERVER_MESSAGES])
def test_messages_are_specified(kind: str) -> None:
    """The specification has a row for each message, with each of its fields."""
    row = next(line for line in PROTOCOL.splitlines() if line.startswith(f"| `{kind}` |"))
    model = {**messages.CLIENT_MESSAGES, **messages.SERVER_MESSAGES}[kind]
    # A resume has the fields of a start, a reset those of a ready.
    if kind in ("session.resume", "session.reset"):
        return
    for name in model.model_fields:
        assert name in ("type", "id") or re.search(rf"\b{name}\b", row), f"{name}: {row}"


def test_codes_are_specified() -> None:
    """The specification lists every error code, and every close code the server uses."""
    for code in get_args(messages.ErrorCode):
        assert f"`{code}`" in PROTOCOL
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "core/src/palaver/server").glob("*.py")
    )
    for number in sorted(set(re.findall(r"\b44\d\d\b", source))):
        assert f"| {number} |" in PROTOCOL, number


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_variables_are_documented(member: Path) -> None:
    """Environment variables stand on the page of settings; a plugin's own in its README."""
    pages = (ROOT / "docs/reference/settings.md", member / "README.md")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    for source in member.glob("src/**/*.py"):
        for name in re.findall(r"\bPALAVER_[A-Z_]+[A-Z]\b", source.read_text(encoding="utf-8")):
            assert name.split("__")[0] in text, f"{name} in {source.name}"


@pytest.mark.parametrize("name", [name for name in palaver.__all__ if name != "__version__"])
def test_public_names_are_documented(name: str) -> None:
    """Every public name is there and has a docstring."""
    value = getattr(palaver, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), name
