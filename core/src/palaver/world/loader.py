"""Reading a world's folder into one snapshot.

A file that cannot be read is reported, with line and what to write, and the last good version of
it goes on serving. Nothing outside the folder is read, and nothing that is too large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from palaver.errors import WorldError
from palaver.prompt.library import Library
from palaver.world.lines import Line, read_lines
from palaver.world.manifest import read_manifest
from palaver.world.persona import read_persona
from palaver.world.world import World

__all__ = ["load_world"]

MAX_FILES = 1_000
"""Most files of one kind."""

_T = TypeVar("_T")


def load_world(
    folder: Path,
    template_folders: Sequence[Path] = (),
    *,
    trusted: bool,
    previous: World | None = None,
    name: str | None = None,
) -> World:
    """Read a world.

    Blocks while it reads; call it in a thread.

    Args:
        folder: The world's folder.
        template_folders: Folders with base templates, those of plugins; the world's own
            `templates` folder comes first.
        trusted: Whether its owner trusts it; kept in the world for others to ask.
        previous: The world as it was; what is broken now is taken from it.
        name: Its name; by default the folder's.

    Returns:
        The world; what could not be read is in its `problems`.

    Raises:
        WorldError: There is no such folder, or it holds no persona at all.
    """
    if not folder.is_dir():
        raise WorldError(
            "there is no such folder; write the path of a world, or make one with "
            f"`palaver init {folder}`",
            file=folder,
        )
    library = Library([folder / "templates", *template_folders])
    problems: list[WorldError] = []
    old = previous if previous is not None else World("", folder)
    personas = _read_all(
        _files(folder, "personas", ".md", problems),
        lambda file: read_persona(file, folder=folder, library=library),
        lambda persona: persona.id,
        old.personas,
        problems,
    )
    lines = _read_all_lines(folder, old.lines, problems)
    adapters = _read_all(
        _files(folder, "adapters", ".toml", problems),
        lambda file: read_manifest(file, folder=folder),
        lambda manifest: manifest.id,
        old.adapters,
        problems,
    )
    if not personas and not problems:
        raise WorldError(
            "holds no personas; put one into its folder `personas`, or make a world with "
            "`palaver init DIR`",
            file=folder,
        )
    return World(
        name=name or folder.resolve().name,
        folder=folder,
        personas=personas,
        lines=lines,
        adapters=adapters,
        problems=tuple(problems),
        trusted=trusted,
    )


def _files(folder: Path, part: str, ending: str, problems: list[WorldError]) -> Iterator[Path]:
    """Yield the files of one kind in the order of their names."""
    try:
        files = sorted(path for path in (folder / part).iterdir() if path.suffix == ending)
    except FileNotFoundError:
        return
    except OSError as err:
        problems.append(WorldError(f"cannot be read: {err.strerror}", file=folder / part))
        return
    if len(files) > MAX_FILES:
        problems.append(
            WorldError(f"holds more than {MAX_FILES:,} files; split it up", file=folder / part)
        )
    # Editors put their own files beside the one they write.
    yield from (file for file in files[:MAX_FILES] if not file.name.startswith((".", "#", "~")))


def _read_all(
    files: Iterator[Path],
    read: Callable[[Path], _T],
    key: Callable[[_T], str],
    old: Mapping[str, _T],
    problems: list[WorldError],
) -> dict[str, _T]:
    found: dict[str, _T] = {}
    for file in files:
        try:
            value = read(file)
        except WorldError as err:
            _report(err, problems)
            if file.stem in old:
                found[file.stem] = old[file.stem]
            continue
        found[key(value)] = value
    return found


def _read_all_lines(
    folder: Path, old: Mapping[str, Sequence[Line]], problems: list[WorldError]
) -> dict[str, Sequence[Line]]:
    found: dict[str, Sequence[Line]] = {}
    for file in _files(folder, "lines", ".csv", problems):
        errors: Sequence[WorldError]
        try:
            lines, errors = read_lines(file, folder=folder)
        except WorldError as err:
            lines, errors = [], [err]
        for error in errors:
            _report(error, problems)
        if errors and file.stem in old:
            found[file.stem] = old[file.stem]
        elif lines:
            # Where nothing better is known, the lines that are right are better than silence.
            found[file.stem] = tuple(lines)
    return found


def _report(err: WorldError, problems: list[WorldError]) -> None:
    """Collect an error, and what else is wrong with its file, once each."""
    known = {str(problem) for problem in problems}
    problems.extend(error for error in (err, *err.others) if str(error) not in known)
