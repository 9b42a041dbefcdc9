"""Watching a world's files, so that a saved one is live on the next turn.

A reload makes a new snapshot beside the old one, in a thread; turns that run keep theirs. A file
that is broken is reported once, with line, and its last good version serves on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import watchfiles

from palaver.errors import WorldError
from palaver.prompt.template import BlockTemplate
from palaver.world.loader import load_world
from palaver.world.persona import Persona
from palaver.world.world import World

__all__ = ["WorldStore"]

log = logging.getLogger("palaver.world")

PARTS = {"personas": ".md", "templates": ".j2", "lines": ".csv", "adapters": ".toml"}
"""Folders of a world that are watched, with the ending of the files in them."""
LOOK_MS = 5_000
"""How often to look at the files' times where nothing was reported: network drives are silent."""
_MAX_WATCHED = 10_000
_Stamp = dict[Path, tuple[int, int]]


class WorldStore:
    """The world as it is now.

    Attributes:
        current: The newest snapshot; replaced, never changed.

    Args:
        world: The world as it was loaded.
        template_folders: Folders with base templates, those of plugins.
        on_change: Called with every new snapshot, on the event loop that `watch` runs on.
    """

    def __init__(
        self,
        world: World,
        template_folders: Sequence[Path] = (),
        *,
        on_change: Callable[[World], None] | None = None,
    ) -> None:
        self.current = world
        self.on_change = on_change
        self._template_folders = tuple(template_folders)
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._known: set[str] = set()
        self._report(World("", world.folder), world, quietly=True)

    def reload(self) -> World:
        """Read the world again, now; blocks while it reads.

        Returns:
            The new snapshot, or the old one where the whole folder cannot be read.
        """
        with self._lock:
            stamp = self._look()
            old = self.current
            try:
                world = load_world(
                    old.folder,
                    self._template_folders,
                    trusted=old.trusted,
                    previous=old,
                    name=old.name,
                )
            except WorldError as err:
                if str(err) not in self._known:
                    self._known.add(str(err))
                    log.error("%s; the last good version serves on", err)
                return old
            before, self._stamp = self._stamp, stamp
            self._report(old, world)
            self._report_files(before, old, world)
            self.current = world
            return world

    async def watch(self) -> None:
        """Reload whenever a file is saved, until cancelled."""
        polling = False
        while True:
            try:
                await self._watch(polling=polling)
            except (OSError, RuntimeError) as err:
                if polling:
                    log.error("%s cannot be watched: %s; restart to load changes", self._name, err)
                    return
                # Out of inotify watches, or a file system without them.
                log.info("%s is looked at instead of watched: %s", self._name, err)
                polling = True

    @property
    def _name(self) -> str:
        return str(self.current.folder)

    async def _watch(self, *, polling: bool) -> None:
        folders = [self.current.folder, *(path for path in self._template_folders if path.is_dir())]
        async for changes in watchfiles.awatch(
            *folders,
            watch_filter=self._concerns,
            debounce=400,
            step=50,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            force_polling=polling or None,
        ):
            if changes or await asyncio.to_thread(self._look) != self._stamp:
                old = self.current
                world = await asyncio.to_thread(self.reload)
                if world is not old and self.on_change is not None:
                    self.on_change(world)

    def _concerns(self, change: watchfiles.Change, path: str) -> bool:
        """Return whether a path is one we read; the data folder changes with every turn."""
        file = Path(path)
        for folder in self._template_folders:
            if file.is_relative_to(folder):
                return file.suffix == ".j2"
        for folder in (self.current.folder, self.current.folder.resolve()):
            if file.is_relative_to(folder) and file != folder:
                part = file.relative_to(folder).parts[0]
                # Without an ending it is a folder that came, went or was moved here.
                return part in PARTS and file.suffix in ("", PARTS[part])
        return False

    def _look(self) -> _Stamp:
        """Return time and size of every file we read."""
        found: _Stamp = {}
        for file in self._files():
            try:
                state = file.stat()
            except OSError:
                continue
            found[file] = (state.st_mtime_ns, state.st_size)
            if len(found) >= _MAX_WATCHED:
                break
        return found

    def _files(self) -> Iterator[Path]:
        for part, ending in PARTS.items():
            yield from (self.current.folder / part).rglob(f"*{ending}")
        for folder in self._template_folders:
            yield from folder.rglob("*.j2")

    def _report(self, old: World, new: World, *, quietly: bool = False) -> None:
        """Log what is newly broken, mended or changed, each once."""
        problems = {str(problem): problem for problem in new.problems}
        for text in problems:
            if text not in self._known:
                log.error("%s%s", text, "" if quietly else "; the last good version serves on")
        broken = {problem.file for problem in new.problems}
        for file in {problem.file for problem in old.problems} - broken:
            gone = file is not None and not file.exists()
            log.info("%s is %s", file, "gone" if gone else "live again")
        self._known = set(problems)
        for name, persona in new.personas.items():
            before = old.personas.get(name)
            if before is None or before.version != persona.version:
                if not quietly:
                    log.info("%s is live", persona.file)
                self._warn(persona, new.folder)

    def _report_files(self, before: _Stamp, old: World, new: World) -> None:
        """Log which files that are no personas were taken over, or are gone.

        What was broken, or is, was logged already.
        """
        told = {problem.file for problem in (*old.problems, *new.problems)}
        for file in sorted(before.keys() | self._stamp.keys()):
            if before.get(file) == self._stamp.get(file) or file in told:
                continue
            inside = file.is_relative_to(new.folder)
            name = file.relative_to(new.folder) if inside else file
            if name.parts[0] == "personas" or file.name.startswith((".", "#", "~")):
                continue
            log.info("%s is %s", name.as_posix(), "live" if file in self._stamp else "gone")

    def _warn(self, persona: Persona, folder: Path) -> None:
        if isinstance(persona.template, BlockTemplate):
            for found in persona.template.findings(persona.declared, inside=folder):
                log.warning("%s:%s: %s", found.file, found.line, found.message)
