"""The template files that personas build on, from several folders, read with bounds.

A file of the world's own `templates` folder comes before one of the same name from a plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import BaseLoader, Environment, TemplateNotFound, nodes

from palaver.errors import TemplateError, WorldError
from palaver.hints import did_you_mean
from palaver.prompt.blame import template_error
from palaver.prompt.sandbox import BoundedEnvironment, make_environment

__all__ = ["MAX_TEMPLATE_BYTES", "Library", "Source", "read_text"]

MAX_TEMPLATE_BYTES = 100_000
"""Largest template or persona, in bytes."""
MAX_TEMPLATES = 1_000
"""Most files that one folder of templates may hold."""
_FILES = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
_MAX_REFERENCES = 12


@dataclass(frozen=True, slots=True)
class Source:
    """One file with a template in it.

    Attributes:
        name: Its name for `extends` and `include`.
        file: Where it is.
        text: What is compiled: the text, with line numbers as in the file.
        tree: Its syntax tree, for looking at only; compiling changes a tree.
    """

    name: str
    file: Path
    text: str
    tree: nodes.Template

    def references(self) -> list[tuple[str, int, bool]]:
        """Return the names of the files it uses, with the line, and whether it may be missing."""
        found: list[tuple[str, int, bool]] = []
        for node in self.tree.find_all(_FILES):
            template = node.template  # type: ignore[attr-defined]  # all four have it
            several = isinstance(template, nodes.List | nodes.Tuple)
            optional = several or getattr(node, "ignore_missing", False)
            parts = template.items if several else [template]
            names = [part.value for part in parts if isinstance(part, nodes.Const)]
            found += [(name, node.lineno, optional) for name in names if isinstance(name, str)]
        return found


def read_text(file: Path, *, inside: Path, max_bytes: int) -> str:
    """Read a text file of a world.

    Args:
        file: The file.
        inside: The folder it must lie in, also when links are followed.
        max_bytes: Largest size, in bytes.

    Raises:
        WorldError: It cannot be read, is too large, is no UTF-8, or lies elsewhere.
    """
    try:
        if not file.resolve().is_relative_to(inside.resolve()):
            raise WorldError(
                "this link leaves the folder; put a copy of the file here instead", file=file
            )
        with file.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as err:
        raise WorldError(f"cannot be read: {err.strerror or err}", file=file) from err
    if len(data) > max_bytes:
        raise WorldError(f"larger than {max_bytes:,} bytes; split it up", file=file)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise WorldError("not UTF-8; save the file as UTF-8", file=file, line=line) from err


class Library(BaseLoader):
    """Template files by name, and the sandbox they are compiled in.

    Args:
        folders: Folders to look into, in this order.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self.env: BoundedEnvironment = make_environment(self)
        self._sources: dict[str, Source] = {}

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool] | None]:
        """Find a template, as Jinja asks for it."""
        source = self.source(template)
        return source.text, str(source.file), lambda: True

    def list_templates(self) -> list[str]:
        """Return the names of all templates there are."""
        names: set[str] = set()
        for folder in self.folders:
            for count, path in enumerate(folder.rglob("*.j2")):
                if count >= MAX_TEMPLATES:
                    break
                names.add(path.relative_to(folder).as_posix())
        return sorted(names)

    def source(self, name: str) -> Source:
        """Return the file of that name.

        Raises:
            TemplateNotFound: There is none.
            TemplateError: It cannot be read or has a syntax error.
        """
        known = self._sources.get(name)
        if known is None:
            known = self._sources[name] = self._find(name)
        return known

    def _find(self, name: str) -> Source:
        parts = name.split("/")
        if not name or any(part in ("", ".", "..") or "\\" in part for part in parts):
            raise TemplateNotFound(name)
        for folder in self.folders:
            file = folder.joinpath(*parts)
            if file.is_file():
                try:
                    text = read_text(file, inside=folder, max_bytes=MAX_TEMPLATE_BYTES)
                except WorldError as err:
                    raise TemplateError(err.problem, file=err.file, line=err.line) from err
                return self.parse(name, file, text)
        raise TemplateNotFound(name)

    def parse(self, name: str, file: Path, text: str) -> Source:
        """Parse a text as the template of that name.

        Raises:
            TemplateError: It has a syntax error.
        """
        try:
            return Source(name, file, text, self.env.parse(text, name, str(file)))
        except Exception as err:
            raise template_error(err, file) from err

    def used_by(self, source: Source) -> list[Source]:
        """Return a file and all the files it uses, directly or not.

        Raises:
            TemplateError: One is missing or broken, or uses itself.
        """
        found: dict[str, Source] = {}
        self._collect(source, found, ())
        return list(found.values())

    def _collect(self, source: Source, found: dict[str, Source], path: tuple[str, ...]) -> None:
        found.setdefault(source.name, source)
        for name, line, optional in source.references():
            if name == source.name or name in path:
                raise TemplateError(
                    f"{name!r} uses itself; take this line out", file=source.file, line=line
                )
            if len(path) >= _MAX_REFERENCES:
                raise TemplateError(
                    f"templates use each other more than {_MAX_REFERENCES} deep; join some",
                    file=source.file,
                    line=line,
                )
            if name not in found and (not optional or self._exists(name)):
                self._collect(self._get(name, source.file, line), found, (*path, source.name))

    def _exists(self, name: str) -> bool:
        try:
            self.source(name)
        except TemplateNotFound:
            return False
        return True

    def _get(self, name: str, file: Path, line: int) -> Source:
        try:
            return self.source(name)
        except TemplateNotFound:
            hint = did_you_mean(name, self.list_templates())
            raise TemplateError(
                f"there is no template {name!r}{hint}", file=file, line=line
            ) from None
